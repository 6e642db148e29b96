"""Merges: how a branching puts its branches' outputs together.

`pair` and `many` are the rules for two branches and for several of one shape. `first`, `mate` and `each` are their
inverses, hints to the sampler: what a branch should put out, given the wanted output and the branches before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.cost import Cost
from evosearch.layers.base import (
    Form,
    Operation,
    Shape,
    ShapeError,
    Want,
    Word,
    canonical_argument,
    register,
    require,
    size,
)
from evosearch.layers.forms import digest, keeps_zero, sum_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.builder import Builder
    from evosearch.layers.library.splits import Split


class Merge(Word):
    additive: ClassVar[bool] = False  # whether a branch may be left out: what the others give is still an output

    @property
    def keeps_steps(self) -> bool:
        """Of columns, whether the steps of its output are those of its branches."""
        return False

    def pair(self, left: Shape, right: Shape) -> Shape:
        """The output shape of two branches; raises ShapeError where they do not go together."""
        raise NotImplementedError

    def many(self, part: Shape, count: int) -> Shape:
        """The output shape of `count` branches that all have the shape `part`."""
        output = self.pair(part, part) if count > 1 else part
        for _ in range(count - 2):
            output = self.further(output, part)
        return output

    def further(self, output: Shape, branch: Shape) -> Shape:
        """The output shape with one more branch than the two or more that gave `output`; raises ShapeError."""
        return self.pair(output, branch)

    def first(self, want: Want) -> Want:
        """What the first of two branches should put out where `want` is wanted."""
        del want
        return None

    def mate(self, left: Shape, want: Want) -> Want:
        """What the second branch should put out, given the first one's output and what is wanted."""
        del left, want
        return None

    def each(self, want: Want, count: int) -> Want:
        """What each of `count` branches of one shape should put out where `want` is wanted."""
        del want, count
        return None

    def cost(self, parts: Sequence[Shape], output: Shape) -> Cost:
        del parts, output
        return Cost()

    def canonical(
        self, split: Split, branches: Sequence[Form], parts: Sequence[Shape], inputs: Shape, output: Shape
    ) -> Form:
        """The form of a branching: its branches' forms, `parts` their output shapes."""
        words = (canonical_argument(split), canonical_argument(self), inputs, *parts)
        zero = all(map(keeps_zero, branches))
        return (Operation("branching", (*words, *map(digest, branches)), output, keeps_zero=zero),)

    def emit(self, branches: Sequence[str], output: Shape, build: Builder) -> str:
        raise NotImplementedError


@register("add")
@dataclass(frozen=True)
class Add(Merge):
    """The sum of equal shapes."""

    keeps_steps: ClassVar[bool] = True
    additive: ClassVar[bool] = True

    def pair(self, left: Shape, right: Shape) -> Shape:
        if left != right:
            raise ShapeError("add: {} and {} differ", left, right)
        return left

    def many(self, part: Shape, count: int) -> Shape:
        return part

    def first(self, want: Want) -> Want:
        return want

    def mate(self, left: Shape, want: Want) -> Want:
        return left

    def each(self, want: Want, count: int) -> Want:
        return want

    def canonical(
        self, split: Split, branches: Sequence[Form], parts: Sequence[Shape], inputs: Shape, output: Shape
    ) -> Form:
        if split.shared:
            return sum_of(branches, inputs, output)
        return super().canonical(split, branches, parts, inputs, output)

    def emit(self, branches: Sequence[str], output: Shape, build: Builder) -> str:
        return build.line(" + ".join(["{}"] * len(branches)), *branches, shape=output)


@register("cat")
@dataclass(frozen=True)
class Cat(Merge):
    """Concatenation along a dimension, counted from 1 after the batch axis; the other dimensions must be equal."""

    axis: int

    def __post_init__(self) -> None:
        require(self.axis in (1, 2, 3), f"the dimension is 1, 2 or 3, not {self.axis}")

    @property
    def keeps_steps(self) -> bool:
        return self.axis == 2

    def pair(self, left: Shape, right: Shape) -> Shape:
        axis = self.axis
        if len(left) != len(right) or axis > len(left):
            raise ShapeError("cat{}: {} and {}", axis, left, right)
        head, tail = left[: axis - 1], left[axis:]
        if head != right[: axis - 1] or tail != right[axis:]:
            raise ShapeError("cat{}: {} and {} differ in another dimension", axis, left, right)
        return (*head, left[axis - 1] + right[axis - 1], *tail)

    def many(self, part: Shape, count: int) -> Shape:
        axis = self.axis
        if axis > len(part):
            raise ShapeError("cat{}: {} has no dimension {}", axis, part, axis)
        return (*part[: axis - 1], count * part[axis - 1], *part[axis:])

    def first(self, want: Want) -> Want:
        if want is None:
            return None
        if self.axis > len(want):
            raise ShapeError("cat{}: {} has no dimension {}", self.axis, want, self.axis)
        return (*want[: self.axis - 1], None, *want[self.axis :])

    def mate(self, left: Shape, want: Want) -> Want:
        axis = self.axis
        if axis > len(left):
            raise ShapeError("cat{}: {} has no dimension {}", axis, left, axis)
        rest = None
        if want is not None and len(want) == len(left):
            wanted = want[axis - 1]
            if wanted is not None:
                rest = wanted - left[axis - 1]
                if rest <= 0:
                    raise ShapeError("cat{}: {} is more than {}", axis, left, want)
        return (*left[: axis - 1], rest, *left[axis:])

    def each(self, want: Want, count: int) -> Want:
        if want is None:
            return None
        if self.axis > len(want):
            raise ShapeError("cat{}: {} has no dimension {}", self.axis, want, self.axis)
        wanted = want[self.axis - 1]
        part = None
        if wanted is not None:
            part, rest = divmod(wanted, count)
            if rest:
                raise ShapeError("cat{}: {} does not divide by {}", self.axis, want, count)
        return (*want[: self.axis - 1], part, *want[self.axis :])

    def emit(self, branches: Sequence[str], output: Shape, build: Builder) -> str:
        listed = ", ".join(["{}"] * len(branches))
        return build.line(f"torch.cat([{listed}], dim={self.axis})", *branches, shape=output)


@register("dot")
@dataclass(frozen=True)
class Dot(Merge):
    """a @ b of exactly two branches: the last axis of a is the last but one of b, leading axes are equal."""

    scaled: ClassVar[bool] = False

    def pair(self, left: Shape, right: Shape) -> Shape:
        if len(left) < 2 or len(left) != len(right) or left[-1] != right[-2] or left[:-2] != right[:-2]:
            raise ShapeError("dot: {} and {}", left, right)
        return (*left[:-1], right[-1])

    def many(self, part: Shape, count: int) -> Shape:
        raise ShapeError("dot: it takes exactly two branches, here are {}", count)

    def further(self, output: Shape, branch: Shape) -> Shape:
        raise ShapeError("dot: it takes exactly two branches, here is {} beside them", branch)

    def first(self, want: Want) -> Want:
        if want is None:
            return None
        if len(want) < 2:
            raise ShapeError("dot: its output is never {}", want)
        return (*want[:-1], None)

    def mate(self, left: Shape, want: Want) -> Want:
        if len(left) < 2:
            raise ShapeError("dot: {} is not a matrix", left)
        return (*left[:-2], left[-1], None if want is None else want[-1])

    def each(self, want: Want, count: int) -> Want:
        raise ShapeError("dot: it takes exactly two branches, here are {}", count)

    def cost(self, parts: Sequence[Shape], output: Shape) -> Cost:
        left, right = parts
        return Cost(flops=2 * size(left) * right[-1], activations=size(left) + size(right), modules=1)

    def emit(self, branches: Sequence[str], output: Shape, build: Builder) -> str:
        return build.line("{} @ {}", *branches, shape=output, keeps="in")


@register("scaled_dot")
@dataclass(frozen=True)
class ScaledDot(Dot):
    """a @ b / sqrt(d), with d the last axis of a."""

    def emit(self, branches: Sequence[str], output: Shape, build: Builder) -> str:
        d = build.shape(branches[0])[-1]
        return build.line(f"{{}} @ {{}} / {d} ** 0.5", *branches, shape=output, keeps="in")
