"""Shapes: tuples of sizes after the batch axis. (C, H, W) image mode, (S, D) column mode, (D,) vector mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Shape = tuple[int, ...]
Want = tuple[int | None, ...] | None  # a wanted output; None on an axis stands for any size
Part = Callable[..., Shape]  # part(x) or part(x, want) -> output shape

MODES = {1: "vector", 2: "column", 3: "image"}


def mode(shape: Sequence[int | None]) -> str:
    """The mode of a shape: (D,) vector, (S, D) column, (C, H, W) image."""
    return MODES[len(shape)]


def show(shape: Sequence[int | None]) -> str:
    """A shape as people write it: 3x32x32, with * for any size."""
    return "x".join("*" if size is None else str(size) for size in shape)


def matches(shape: Shape, want: Want) -> bool:
    """Whether a shape is the wanted one; None wants nothing, and on an axis stands for any size."""
    if want is None:
        return True
    if len(shape) != len(want):
        return False
    for there, wanted in zip(shape, want, strict=True):  # noqa: SIM110 - `all` takes twice as long, and this is asked often
        if wanted is not None and there != wanted:
            return False
    return True


def size(shape: Shape) -> int:
    """Scalars in one example of this shape."""
    return math.prod(shape)


def width(shape: Shape) -> int:
    """The features of a shape: the channels of an image, else the last axis."""
    return shape[0] if len(shape) == 3 else shape[-1]
