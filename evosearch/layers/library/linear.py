"""Linear layers over the last axis, with bias."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission, Form
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("linear")
@dataclass(frozen=True)
class Linear(WrittenLeaf):
    """(..., d) -> (..., width)."""

    width: int

    def __post_init__(self) -> None:
        require(self.width >= 1, f"the width is at least 1, not {self.width}")

    def shape(self, x: Shape) -> Shape:
        return (*x[:-1], self.width)

    def params(self, x: Shape) -> int:
        return (x[-1] + 1) * self.width

    def flops(self, x: Shape) -> int:
        return 2 * math.prod(x) * self.width

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        module = build.module(f"nn.Linear({node.inputs[-1]}, {node.output[-1]})", "linear")
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")


@register("linear_relative")
@dataclass(frozen=True)
class LinearRelative(WrittenLeaf):
    """(..., d) -> (..., width) with the width told by the input's: "x4" is four times, "/4" a quarter of it."""

    scale: str

    def __post_init__(self) -> None:
        require(re.fullmatch("[x/][1-9][0-9]*", self.scale) is not None, f"x4 or /4 say a scale, not {self.scale!r}")

    def fixed(self, x: Shape) -> Linear:
        """The linear layer that this one is at input shape `x`."""
        times, factor = self.scale[0], int(self.scale[1:])
        width, rest = (x[-1] * factor, 0) if times == "x" else divmod(x[-1], factor)
        if rest or not width:
            raise ShapeError("linear({}): the last dimension of {} does not divide", self.scale, x)
        return Linear(width)

    def shape(self, x: Shape) -> Shape:
        return self.fixed(x).shape(x)

    def params(self, x: Shape) -> int:
        return self.fixed(x).params(x)

    def flops(self, x: Shape) -> int:
        return self.fixed(x).flops(x)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        return self.fixed(node.inputs).canonical(node, parts)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return self.fixed(node.inputs).emit(node, x, build)
