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
    forms: dict[int, Form] = {}
    stack = [root]
    while stack:
        node = stack[-1]
        if id(node) in forms:
            stack.pop()
            continue
        waiting = [part for part in node.parts if id(part) not in forms]
        if waiting:
            stack += waiting
            continue
        stack.pop()
        forms[id(node)] = node.layer.canonical(node, [forms[id(part)] for part in node.parts])
    return forms[id(root)]
