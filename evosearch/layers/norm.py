"""Normalisation, by mode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Leaf, Shape, register

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("norm")
@dataclass(frozen=True)
class Norm(Leaf):
    """BatchNorm2d over C in image mode, LayerNorm over the last axis in column and vector mode; the shape stays."""

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return 2 * (x[0] if len(x) == 3 else x[-1])

    def saved(self, x: Shape) -> int:
        if len(x) == 3:
            return math.prod(x)  # the statistics of a batch are shared by its examples
        return math.prod(x) + 2 * math.prod(x[:-1])  # the input, and mean and deviation of every row

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        if len(node.inputs) == 3:
            module = build.module(f"nn.BatchNorm2d({node.inputs[0]})", "norm")
            return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")
        module = build.module(f"nn.LayerNorm({node.inputs[-1]})", "norm")
        extra = 2 * math.prod(node.inputs[:-1])
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in", extra=extra, float32=True)
