"""Layers whose parts are layers: one after the other, and side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.cost import Cost
from evosearch.layers.base import (
    MAX_COPIES,
    Combinator,
    Form,
    Part,
    Series,
    Shape,
    ShapeError,
    Want,
    register,
    require,
)
from evosearch.layers.forms import sum_of
from evosearch.layers.library.merges import Merge  # noqa: TC001 - the vocabulary reads the fields' types
from evosearch.layers.library.splits import Split  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("sequential")
@dataclass(frozen=True)
class Sequential(Series):
    """The second part after the first."""

    def shape(self, x: Shape, first: Part, second: Part, *, want: Want = None) -> Shape:
        return second(first(x), want)


@register("branching")
@dataclass(frozen=True)
class Branching(Combinator):
    """Two branches, each its own part, between a split in two and a merge."""

    split: Split
    merge: Merge

    @property
    def keeps_steps(self) -> bool:
        return self.split.keeps_steps and self.merge.keeps_steps

    def shape(self, x: Shape, left: Part, right: Part, *, want: Want = None) -> Shape:
        split, merge = self.split, self.merge
        if split.factor != 2:
            raise ShapeError("a split in {} for two branches", split.factor)
        branch = split.shape(x)
        first = left(branch, merge.first(want))
        return merge.pair(first, right(branch, merge.mate(first, want)))

    def cost(self, node: Node) -> Cost:
        left, right = node.parts
        return left.cost + right.cost + self.merge.cost((left.output, right.output), node.output)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        shapes = [part.output for part in node.parts]
        return self.merge.canonical(self.split, parts, shapes, node.inputs, node.output)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        branches = self.split.emit(x, node.inputs, build)
        outputs = []
        for part, start in zip(node.parts, branches, strict=True):
            output = yield part, start
            path = self.merge.additive and part.cost.params > 0
            outputs.append(build.dropped(output) if path else output)
        return self.merge.emit(outputs, node.output, build)


@register("branching_repeated")
@dataclass(frozen=True)
class BranchingRepeated(Combinator):
    """As many branches as the split makes, all with the structure of one part, each with its own weights."""

    split: Split
    merge: Merge

    @property
    def keeps_steps(self) -> bool:
        return self.split.keeps_steps and self.merge.keeps_steps

    def shape(self, x: Shape, branch: Part, *, want: Want = None) -> Shape:
        count = self.split.factor
        return self.merge.many(branch(self.split.shape(x), self.merge.each(want, count)), count)

    def cost(self, node: Node) -> Cost:
        (branch,), count = node.parts, self.split.factor
        return branch.cost * count + self.merge.cost((branch.output,) * count, node.output)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        count = self.split.factor
        shapes = [node.parts[0].output] * count
        return self.merge.canonical(self.split, [parts[0]] * count, shapes, node.inputs, node.output)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        outputs = []
        for start in self.split.emit(x, node.inputs, build):
            outputs.append((yield node.parts[0], start))  # noqa: PERF401 - a comprehension cannot yield
        return self.merge.emit(outputs, node.output, build)


@register("chain")
@dataclass(frozen=True)
class Chain(Series):
    """Any number of parts, one after the other."""

    def shape(self, x: Shape, *parts: Part, want: Want = None) -> Shape:
        for part in parts[:-1]:
            x = part(x)
        return parts[-1](x, want) if parts else x

    def cost(self, node: Node) -> Cost:
        return super().cost(node) if node.parts else Cost()


@register("repeat")
@dataclass(frozen=True)
class Repeat(Series):
    """A part `times` times in a row, each time with its own weights."""

    times: int

    def __post_init__(self) -> None:
        require(1 <= self.times <= MAX_COPIES, f"1 to {MAX_COPIES} times, not {self.times}")

    def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
        for _ in range(self.times - 1):
            x = part(x)
        return part(x, want)


@register("residual")
@dataclass(frozen=True)
class Residual(Combinator):
    """Its input added to its part's output; the part keeps the shape."""

    keeps_steps: ClassVar[bool] = True

    def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
        if part(x, x) != x:
            raise ShapeError("residual: its part must keep {}", x)
        return x

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        return sum_of([(), parts[0]], node.inputs, node.output)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        output = build.dropped((yield node.parts[0], x))
        return build.line("{} + {}", x, output, shape=node.output)
