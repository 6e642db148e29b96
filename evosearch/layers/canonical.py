"""The canonical form of a whole tree, from the leaves up and without recursion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.layers.forms import Form
    from evosearch.layers.node import Node


def canonical_form(root: Node) -> Form:
    """The canonical form of a tree. Equal forms mean equal functions, once the weights are copied across.

    One exception is `layers.nasbench201.Cell`'s, which follows its benchmark.
    """
    stack = [root]
    while root.form is None:
        node = stack[-1]
        waiting = [part for part in node.parts if part.form is None]
        if waiting:
            stack += waiting
            continue
        stack.pop()
        if node.form is None:
            node.form = node.layer.canonical(node, [part.form for part in node.parts if part.form is not None])
    return root.form
