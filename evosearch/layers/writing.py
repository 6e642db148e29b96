"""Writing a typed tree into a Builder."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, cast

from evosearch.layers.builder import Origin, Outlined
from evosearch.layers.shapes import show

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Emission, Node


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
                build.place = Origin(top.place, *top.use(part), part)
                stack.append(_Open(part, x, build))
                continue
            stack.pop()
            if not stack:
                return top.output
            stack[-1].output = top.output
    finally:
        build.place = above


def repeated(nodes: Iterable[Node]) -> frozenset[tuple[object, ...]]:
    """(layer, input shape) of the outermost blocks that stand at least twice in the trees."""
    counts: Counter[tuple[object, ...]] = Counter()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node.layer.inside(node.inputs) is None:
            stack += node.parts
        else:
            counts[node.layer, node.inputs] += 1
    return frozenset(key for key, count in counts.items() if count > 1)


def outline(node: Node, x: str, build: Builder) -> str | None:
    """Have a repeated block call a class of its own, written when it is first met; None where it is to stand in line.

    A block with a layer that has a `module` and no code stands in line: that layer is made outside of the source.
    """
    if (node.layer, node.inputs) not in build.repeated:
        return None
    around = (*build.contexts, build.stride(x)) if build.contexts else ()
    key = (node.layer, node.inputs, build.format, around, build.reached(x))
    found = build.outlined.get(key)
    if found is None:
        inner = build.nested()
        start = inner.begin(node.inputs, build, x, trained=build.reached(x))
        inside = node.layer.inside(node.inputs)
        assert inside is not None
        end = write(inside, start, inner)
        if inner.owned:
            return None
        twin = build.outlined.get((*key[:-1], not key[-1]))
        alike = twin is not None and twin.build.forward(twin.start, twin.end) == inner.forward(start, end)
        name = twin.name if twin and alike else _fresh(type(node.layer).__name__, build)
        title = f"{show(node.inputs)} to {show(node.output)}"
        found = build.outlined[key] = Outlined(name, title, inner, start, end)
    return build.call(found, node.layer.name, x, node.output)


def _fresh(name: str, build: Builder) -> str:
    """The class's name, numbered where another has it."""
    taken = {one.name for one in build.outlined.values()} | {"Network"}
    name = build.prefix + name
    numbered = (f"{name}{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)


class _Open:
    """A layer in the midst of writing: where it stands, and the variable that it is sent next."""

    __slots__ = ("build", "node", "output", "place", "uses", "written")

    def __init__(self, node: Node, x: str, build: Builder) -> None:
        self.node, self.place, self.build = node, build.place, build
        self.uses: Counter[int] = Counter()
        self.output = cast("str", None)
        self.written: Generator[tuple[Node, str], str, str] | None = None
        written: Emission | None = outline(node, x, build) if build.repeated else None
        if written is None:
            build.writing = node.layer
            written = node.layer.emit(node, x, build)
        if isinstance(written, str):
            self.output = written
        else:
            self.written = written

    def next(self) -> tuple[Node, str] | None:
        """The part to write next and its input; None once the layer is done."""
        if self.written is None:
            return None
        self.build.writing = self.node.layer
        try:
            return self.written.send(self.output)
        except StopIteration as stop:
            self.output = stop.value
            return None

    def use(self, part: Node) -> tuple[int, int]:
        """(index among the node's parts, which copy): the first of these parts that was written least often. What is
        none of them has a place of its own behind them.
        """
        parts = self.node.parts
        others = sum(index >= len(parts) for index in self.uses)
        among = [index for index, one in enumerate(parts) if one is part] or [len(parts) + others]
        index = min(among, key=self.uses.__getitem__)
        self.uses[index] += 1
        return index, self.uses[index] - 1
