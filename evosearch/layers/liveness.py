"""What inference needs of memory for one example: counted from the lines of the network, before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.layers.builder import Builder
from evosearch.layers.writing import repeated, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.node import Node


def peak_scalars(nodes: Sequence[Node]) -> int:
    """Scalars that are live at once, at the most, where the trees compute one after the other. See Builder.peak."""
    build = Builder(repeated=repeated(nodes))
    start = end = build.start(nodes[0].inputs)
    for node in nodes:
        end = write(node, end, build)
    return build.peak(start, end)
