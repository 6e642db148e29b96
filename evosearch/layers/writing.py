"""Writing a typed tree into a Builder."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

from evosearch.layers.builder import Origin

if TYPE_CHECKING:
    from collections.abc import Generator

    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


def write(root: Node, x: str, build: Builder) -> str:
    """Have every layer of the tree write its lines, without recursion; returns the output's variable."""
    above = build.place
    stack = [_Open(root, x, build)]
    try:
        while True:
            top = stack[-1]
            build.place = top.place
            if (asked := top.next()) is not None:
                part, x = asked
                build.place = Origin(top.place, *top.use(part))
                stack.append(_Open(part, x, build))
                continue
            stack.pop()
            if not stack:
                return top.output
            stack[-1].output = top.output
    finally:
        build.place = above


class _Open:
    """A layer in the midst of writing: where it stands, and the variable that it is sent next."""

    __slots__ = ("node", "output", "place", "uses", "written")

    def __init__(self, node: Node, x: str, build: Builder) -> None:
        self.node, self.place = node, build.place
        self.uses: Counter[int] = Counter()
        self.output = cast("str", None)
        self.written: Generator[tuple[Node, str], str, str] | None = None
        written = node.layer.emit(node, x, build)
        if isinstance(written, str):
            self.output = written
        else:
            self.written = written

    def next(self) -> tuple[Node, str] | None:
        """The part to write next and its input; None once the layer is done."""
        if self.written is None:
            return None
        try:
            return self.written.send(self.output)
        except StopIteration as stop:
            self.output = stop.value
            return None

    def use(self, part: Node) -> tuple[int, int]:
        """(index among the node's parts, which copy): the first of these parts that was written least often."""
        among = [index for index, one in enumerate(self.node.parts) if one is part] or [len(self.uses)]
        index = min(among, key=self.uses.__getitem__)
        self.uses[index] += 1
        return index, self.uses[index] - 1
