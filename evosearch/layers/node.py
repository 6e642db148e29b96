"""One use of a layer in a typed tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.layers.base import Layer, Shape, show

if TYPE_CHECKING:
    from evosearch.cost import Cost
    from evosearch.grammar.core import Derivation


class Node:
    """One use of a layer: its input and output shapes, its parts in the order they are called, what it all costs.

    A part that a layer calls twice at one shape is the same Node twice. slots: for each call, which part it was.
    """

    __slots__ = ("cost", "derivation", "inputs", "layer", "output", "parts", "slots")

    layer: Layer
    inputs: Shape
    output: Shape
    parts: tuple[Node, ...]
    slots: tuple[int, ...]
    derivation: Derivation
    cost: Cost

    def __init__(
        self,
        layer: Layer,
        inputs: Shape,
        output: Shape,
        parts: tuple[Node, ...] = (),
        slots: tuple[int, ...] = (),
        derivation: Derivation | None = None,
    ) -> None:
        self.layer, self.inputs, self.output, self.parts, self.slots = layer, inputs, output, parts, slots
        if derivation is not None:
            self.derivation = derivation
        self.cost = layer.cost(self)

    def __repr__(self) -> str:
        return f"<Node {self.layer.name} {show(self.inputs)} -> {show(self.output)}>"
