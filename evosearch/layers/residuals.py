"""Which layers add something to their input, told by their canonical form whatever they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.layers.canonical import canonical_form
from evosearch.layers.forms import Sum, digest

if TYPE_CHECKING:
    from evosearch.layers.node import Node

IDENTITY = digest(())  # as a term of a sum: the input itself


def is_residual(node: Node) -> bool:
    """Whether the node's output is a sum, one of whose terms is its input."""
    form = canonical_form(node)
    return len(form) == 1 and isinstance(form[0], Sum) and IDENTITY in form[0].terms


def added(node: Node) -> list[int]:
    """Of a residual, the indices of its parts that are not the identity: those whose outputs are added."""
    return [index for index, part in enumerate(node.parts) if canonical_form(part)]


def is_multiple(node: Node, parts: int) -> bool:
    """Whether the node's output is the sum of so many equal parts, each of which sees all of its input."""
    form, inner = canonical_form(node), [canonical_form(part) for part in node.parts]
    if len(form) != 1 or not isinstance(form[0], Sum) or not inner or any(one != inner[0] for one in inner[1:]):
        return False
    each = len(inner[0][0].terms) if len(inner[0]) == 1 and isinstance(inner[0][0], Sum) else 1
    return len(form[0].terms) == parts * each


__all__ = ["added", "is_multiple", "is_residual"]
