"""Learnable positional encoding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, WrittenLeaf, register, require

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("positional_encoding")
@dataclass(frozen=True)
class PositionalEncoding(WrittenLeaf):
    """x + a parameter of x's shape, drawn from N(0, deviation^2)."""

    keeps_steps: ClassVar[bool] = True

    deviation: float = 1.0

    def __post_init__(self) -> None:
        require(self.deviation > 0, f"the deviation is above 0, not {self.deviation}")

    def arguments(self) -> tuple[object, ...]:
        """Without a deviation of 1: the keys from before there was one stay."""
        return () if self.deviation == 1 else (self.deviation,)

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return math.prod(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        sizes = ", ".join(map(str, node.inputs))
        scale = "" if self.deviation == 1 else f" * {self.deviation!r}"
        parameter = build.module(f"nn.Parameter(torch.randn({sizes}){scale})", "position")
        # Under autocast x may be bfloat16; a float32 parameter would make float32 of all that follows.
        return build.line(f"{{0}} + {parameter}.to({{0}}.dtype)", x, shape=node.output)
