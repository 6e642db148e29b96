"""Splits: how a branching hands its input to its branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import MAX_COPIES, Shape, ShapeError, Word, register, require

if TYPE_CHECKING:
    from evosearch.layers.builder import Builder


class Split(Word):
    """factor: the number of branches. shared: whether every branch gets the same input."""

    factor: int
    shared: ClassVar[bool]

    @property
    def keeps_steps(self) -> bool:
        """Of columns, whether every branch gets all steps."""
        return self.shared

    def shape(self, x: Shape) -> Shape:
        """The input shape of every branch."""
        raise NotImplementedError

    def emit(self, x: str, inputs: Shape, build: Builder) -> tuple[str, ...]:
        """The variables that the branches start from."""
        raise NotImplementedError


@register("clone")
@dataclass(frozen=True)
class Clone(Split):
    """Every branch gets the whole input."""

    factor: int
    shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(2 <= self.factor <= MAX_COPIES, f"into 2 to {MAX_COPIES} branches, not {self.factor}")

    def shape(self, x: Shape) -> Shape:
        return x

    def emit(self, x: str, inputs: Shape, build: Builder) -> tuple[str, ...]:
        return (x,) * self.factor


@register("group")
@dataclass(frozen=True)
class Group(Split):
    """Equal parts along a dimension, counted from 1 after the batch axis; the dimension must divide."""

    factor: int
    axis: int
    shared: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require(2 <= self.factor <= MAX_COPIES, f"into 2 to {MAX_COPIES} branches, not {self.factor}")
        require(self.axis in (1, 2, 3), f"the dimension is 1, 2 or 3, not {self.axis}")

    @property
    def keeps_steps(self) -> bool:
        return self.axis == 2

    def shape(self, x: Shape) -> Shape:
        axis, factor = self.axis, self.factor
        if axis > len(x):
            raise ShapeError("group{}: {} has no dimension {}", factor, x, axis)
        part, rest = divmod(x[axis - 1], factor)
        if rest:
            raise ShapeError("group{}: dimension {} of {} does not divide by {}", factor, axis, x, factor)
        return (*x[: axis - 1], part, *x[axis:])

    def emit(self, x: str, inputs: Shape, build: Builder) -> tuple[str, ...]:
        shape = self.shape(inputs)
        return build.lines(f"{{}}.chunk({self.factor}, dim={self.axis})", x, count=self.factor, shape=shape)
