"""An architecture as a tree of lines: what `evolve show` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evosearch.cost import Cost
from evosearch.layers.base import Shape, described, show

if TYPE_CHECKING:
    from evosearch.architecture import Architecture
    from evosearch.layers.node import Node


def rows(architecture: Architecture) -> list[dict[str, Any]]:
    """One row per layer in preorder: its words, depth, shapes, and what it costs with its parts.

    `drawn` is the words behind the branches of the tree. A part that is used several times at one shape is one row
    per use. Sequences are drawn flat: the steps of nested sequences stand below one another.
    """
    found = [_row(Cost(), "input", "input", 0, architecture.input, architecture.input)]
    if (stem := architecture.stem) is not None:
        found.append(_row(stem.cost, "stem", f"stem: {stem.layer.title(stem.inputs)}", 0, stem.inputs, stem.output))
    stack = [(node, "", "", 0) for node in reversed(steps(architecture.root))]
    while stack:
        node, mark, indent, depth = stack.pop()
        words = describe(node)
        found.append(_row(node.cost, words, indent + mark + words, depth, node.inputs, node.output))
        below = []
        inner = indent + {"": "", "├─ ": "│  ", "└─ ": "   "}.get(mark, mark)
        for index, part in enumerate(node.parts):
            last = index == len(node.parts) - 1
            marks = ("└─ ", "   ") if last else ("├─ ", "│  ")
            below += [(step, marks[number > 0], inner, depth + 1) for number, step in enumerate(steps(part))]
        stack += reversed(below)
    if (head := architecture.head) is not None:
        found.append(_row(head.cost, "head", f"head: {head.layer.title(head.inputs)}", 0, head.inputs, head.output))
    return found


def steps(node: Node) -> list[Node]:
    """A node as the steps that follow one another: nested sequentials laid flat."""
    found: list[Node] = []
    stack = [node]
    while stack:
        top = stack.pop()
        if top.layer.name == "sequential":
            stack += reversed(top.parts)
        else:
            found.append(top)
    return found


def describe(node: Node) -> str:
    """A layer as a grammar's author would name it: `linear 64`, `branching clone 2, add`."""
    return described(node.layer)


def _row(cost: Cost, words: str, drawn: str, depth: int, inputs: Shape, output: Shape) -> dict[str, Any]:
    return {
        "layer": words,
        "drawn": drawn,
        "depth": depth,
        "input": list(inputs),
        "output": list(output),
        "shape": show(output),
        "params": cost.params,
        "flops": cost.flops,
    }
