"""Linear layers over the last axis, with bias."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Derived, Shape, ShapeError, WrittenLeaf, larger, register, require

if TYPE_CHECKING:
    from evosearch.layers.base import Emission, Leaf
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@dataclass(frozen=True)
class Projection(WrittenLeaf):
    """(..., d) -> (..., width) by one matrix, d x width."""

    keeps_steps: ClassVar[bool] = True
    mixes_channels: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True
    scales: ClassVar[bool] = True

    width: int

    def __post_init__(self) -> None:
        require(self.width >= 1, f"the width is at least 1, not {self.width}")

    def grows(self, small: Leaf) -> bool:
        return larger(self, small, ("width",))

    def shape(self, x: Shape) -> Shape:
        return (*x[:-1], self.width)

    def flops(self, x: Shape) -> int:
        return 2 * math.prod(x) * self.width


@register("linear")
@dataclass(frozen=True)
class Linear(Projection):
    """(..., d) -> (..., width)."""

    def params(self, x: Shape) -> int:
        return (x[-1] + 1) * self.width

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        module = build.module(f"nn.Linear({node.inputs[-1]}, {node.output[-1]})", "linear")
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")


@register("linear_relative")
@dataclass(frozen=True)
class LinearRelative(Derived):
    """(..., d) -> (..., width) with the width told by the input's: "x4" is four times, "/4" a quarter of it."""

    keeps_steps: ClassVar[bool] = True

    scale: str

    def __post_init__(self) -> None:
        require(re.fullmatch("[x/][1-9][0-9]*", self.scale) is not None, f"x4 or /4 say a scale, not {self.scale!r}")

    def at(self, x: Shape) -> Linear:
        times, factor = self.scale[0], int(self.scale[1:])
        width, rest = (x[-1] * factor, 0) if times == "x" else divmod(x[-1], factor)
        if rest or not width:
            raise ShapeError("linear({}): the last dimension of {} does not divide", self.scale, x)
        return Linear(width)
