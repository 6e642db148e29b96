"""A part whose linear and convolution layers have their weights, and what they read, in a number format or sparse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Combinator, Part, Shape, Want, register
from evosearch.layers.formatting import formatted_cost
from evosearch.layers.modifiers import named

if TYPE_CHECKING:
    from evosearch.cost import Cost
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("as_format")
@dataclass(frozen=True)
class AsFormat(Combinator):
    """`as(w4a8; part)`: a format of evosearch/layers/modifiers; inside another one the outer one holds.

    For example "w8a8".
    """

    format: str

    def __post_init__(self) -> None:
        named(self.format)

    def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
        return part(x, want)

    def cost(self, node: Node) -> Cost:
        """The part's, with what its own formats spare taken back, and what this one spares."""
        (part,) = node.parts
        return formatted_cost(part, self.format)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        outer = build.format
        build.format = outer or named(self.format)
        x = yield node.parts[0], x
        build.format = outer
        return x
