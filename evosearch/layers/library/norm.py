"""Normalisation, by mode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, WrittenLeaf, register

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("norm")
@dataclass(frozen=True)
class Norm(WrittenLeaf):
    """BatchNorm2d over C in image mode, LayerNorm over the last axis in column and vector mode; the shape stays."""

    keeps_steps: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True
    scales: ClassVar[bool] = True

    def channelwise(self, x: Shape) -> bool:
        return len(x) == 3

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return 2 * (x[0] if len(x) == 3 else x[-1])

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        if len(node.inputs) == 3:
            module = build.module(f"nn.BatchNorm2d({node.inputs[0]})", "norm")
            return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")  # examples share the statistics
        module = build.module(f"nn.LayerNorm({node.inputs[-1]})", "norm")
        extra = 2 * math.prod(node.inputs[:-1])  # mean and deviation of every row
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in", extra=extra, float32=True)
