"""Dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, WrittenLeaf, register, require, size

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@dataclass(frozen=True)
class Dropping(WrittenLeaf):
    """Something of each example is zero with probability `rate` while training, the rest is scaled up."""

    keeps_steps: ClassVar[bool] = True

    rate: float
    keeps_zero: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(0 <= self.rate < 1, f"the rate is at least 0 and below 1, not {self.rate}")

    def channelwise(self, x: Shape) -> bool:
        return True

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return 0


@register("dropout")
@dataclass(frozen=True)
class Dropout(Dropping):
    """Each scalar is zero with probability `rate` while training, the others are scaled up."""

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        module = build.module(f"nn.Dropout({self.rate!r})", "dropout", trained=False)
        return build.line(f"{module}({{}})", x, shape=node.output, extra=size(node.output))  # the mask
