"""What networks of stacked cells have in common: cells whose nodes read earlier ones, and costs that are sums of parts.

A cell is said by words: each node reads two of what is there before it, 0 and 1 being the outputs of two earlier cells.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

from evosearch.cost import Cost
from evosearch.layers.base import Leaf, require

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from evosearch.layers.base import Shape
    from evosearch.layers.node import Node


class Read(Protocol):
    """An operation on one of what is there."""

    @property
    def operation(self) -> str: ...
    @property
    def source(self) -> int: ...


class Two(Protocol):
    """A node: the sum of two reads."""

    @property
    def left(self) -> Read: ...
    @property
    def right(self) -> Read: ...


class Stacked(Leaf):
    """A leaf that is made of typed trees, whose costs are its own. A subclass states `planned`."""

    @abstractmethod
    def planned(self, x: Shape) -> Iterable[Node]:
        """The trees that it is made of at input shape `x`. Raises ShapeError."""

    def params(self, x: Shape) -> int:
        return self._cost(x).params

    def flops(self, x: Shape) -> int:
        return self._cost(x).flops

    def saved(self, x: Shape) -> int:
        return self._cost(x).activations

    def cost(self, node: Node) -> Cost:
        return self._cost(node.inputs)

    def _cost(self, x: Shape) -> Cost:
        return sum((part.cost for part in self.planned(x)), Cost())


def require_read(read: Read, operations: Collection[str]) -> None:
    """Raise ValueError where the operation is none of these, or the source none at all."""
    require(read.operation in operations, f"an operation is one of {', '.join(operations)}, not {read.operation!r}")
    require(read.source >= 0, f"a source is at least 0, not {read.source}")


def require_earlier(nodes: Sequence[Two], what: str) -> None:
    """Raise ValueError where a node of a cell reads one that is not there yet. what: a node is called."""
    for number, node in enumerate(nodes, 2):
        for read in (node.left, node.right):
            require(read.source < number, f"{what} {number} cannot read {read.source}, which is not there yet")


def sorted_reads(node: Two) -> tuple[tuple[str, int], ...]:
    """A node's operations and sources in one order: they are added."""
    return tuple(sorted((read.operation, read.source) for read in (node.left, node.right)))
