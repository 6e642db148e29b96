"""Distances to learned examples, which training keeps near to real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

DISTANCES = '''
def squared_distances(x, rows):
    """Of each example to each row: (N, rows)."""
    return x.square().sum(1, keepdim=True) - 2 * x @ rows.to(x.dtype).T + rows.to(x.dtype).square().sum(1)
'''


@register("prototypes")
@dataclass(frozen=True)
class Prototypes(WrittenLeaf):
    """(D,) -> (count,): the squared distance to each of `count` learned vectors (Li et al. 2018).

    pull: how strongly training draws each vector to the example of the batch that is nearest to it, and each example to
    its nearest vector, as shares of the loss; 0 for not at all.
    """

    count: int
    pull: float = 0.05

    def __post_init__(self) -> None:
        require(self.count >= 1, f"at least 1 vector, not {self.count}")
        require(self.pull >= 0, f"the pull is at least 0, not {self.pull}")

    def shape(self, x: Shape) -> Shape:
        if len(x) != 1:
            raise ShapeError("prototypes: {} is not a vector", x)
        return (self.count,)

    def params(self, x: Shape) -> int:
        return self.count * x[0]

    def flops(self, x: Shape) -> int:
        return 2 * x[0] * self.count

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper(DISTANCES)
        rows = build.module(f"nn.Parameter(torch.randn({self.count}, {node.inputs[0]}))", "prototypes")
        x = build.line(f"squared_distances({{}}, {rows})", x, shape=node.output, keeps="in", extra=node.inputs[0])
        if not self.pull:
            return x
        nearest = f"{self.pull!r} * ({{}}.amin(0).mean() + {{}}.amin(1).mean())"
        return build.penalty(x, nearest, extra=2 * self.count)
