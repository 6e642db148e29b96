"""What number formats and sparsity change of a tree's cost: told by the lines that its layers write."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from evosearch.layers.builder import Builder
from evosearch.layers.modifiers import named
from evosearch.layers.writing import write

if TYPE_CHECKING:
    from evosearch.cost import Cost
    from evosearch.layers.modifiers import Spared
    from evosearch.layers.node import Node


def formatted_cost(node: Node, format: str) -> Cost:
    """The tree's cost under a format: what formats inside it spare is taken back, for the outer one holds."""
    return _spared(_spared(node.cost, _written(node), -1), _written(node, format))


def _written(node: Node, format: str = "") -> Spared:
    """What the formats spare of a tree that is written under a format; "" for its own ones alone."""
    build = Builder(format=named(format) if format else None)
    write(node, build.start(node.inputs, trained=True), build)
    return build.spared


def _spared(cost: Cost, spared: Spared, sign: int = 1) -> Cost:
    """The cost with what formats change of it; sign: -1 takes it back."""
    return replace(
        cost,
        params=cost.params + sign * spared.params,
        activations=cost.activations + sign * spared.activations,
        spared_bits=cost.spared_bits + sign * spared.bits,
        spared_bitops=cost.spared_bitops + sign * spared.bitops,
    )
