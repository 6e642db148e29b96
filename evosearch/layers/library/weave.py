"""Combinators whose parts read more than what stands before them: all earlier outputs, or the input beside theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.cost import Cost
from evosearch.layers.base import Combinator, Form, Node, Part, Shape, ShapeError, Want, register, size
from evosearch.layers.library.merges import Cat
from evosearch.layers.library.splits import Clone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder

WOVEN = '''
def woven(weights, *features):
    """The features added, each times its weight."""
    return sum(weight.to(x.dtype) * x for weight, x in zip(weights, features))
'''


@register("weave")
@dataclass(frozen=True)
class Weave(Combinator):
    """Each part reads a learned mixture of the input and of all outputs before it; so does what comes behind.

    At first each part reads the output before it alone (weighted averaging of earlier features, MambaMixer, Behrouz et
    al. 2024). The parts keep the shape.
    """

    def shape(self, x: Shape, first: Part, *others: Part, want: Want = None) -> Shape:
        for part in (first, *others):
            if part(x, x) != x:
                raise ShapeError("weave: its parts must keep {}", x)
        return x

    def cost(self, node: Node) -> Cost:
        weights = (len(node.parts) + 1) * (len(node.parts) + 2) // 2
        return super().cost(node) + Cost(weights, 0, weights * size(node.inputs), 1)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper(WOVEN)
        features = [x]
        for part in node.parts:
            features.append((yield part, self._mixed(features, node.output, build)))
        return self._mixed(features, node.output, build)

    def _mixed(self, features: list[str], shape: Shape, build: Builder) -> str:
        start = [0.0] * (len(features) - 1) + [1.0]
        weights = build.module(f"nn.Parameter(torch.tensor({start}))", "weave")
        listed = ", ".join(["{}"] * len(features))
        return build.line(f"woven({weights}, {listed})", *features, shape=shape, keeps="in")


@register("dense")
@dataclass(frozen=True)
class Dense(Combinator):
    """The input and the part's output side by side: channels of an image, features of a column or vector (DenseNet)."""

    def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
        return self._cat(x).pair(x, part(x, self._cat(x).mate(x, want)))

    def _cat(self, x: Shape) -> Cat:
        return Cat(1 if len(x) == 3 else len(x))

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """That of the branching it is."""
        shapes = [node.inputs, node.parts[0].output]
        return self._cat(node.inputs).canonical(Clone(2), [(), parts[0]], shapes, node.inputs, node.output)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        output = yield node.parts[0], x
        return self._cat(node.inputs).emit([x, output], node.output, build)
