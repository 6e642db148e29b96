"""What readers and kinds do to all rows of an array, by blocks, so as not to double it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[Any]]

BLOCK = 4096  # rows


def finite_rows(x: Array, file: str, said: str = "is not a finite number") -> None:
    """Raise TaskError that names the first row holding NaN or infinity."""
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        bad = ~np.isfinite(block).reshape(len(block), -1).all(1)
        if bad.any():
            raise TaskError(f"{file}: row {start + int(bad.argmax())}: a value {said}; fill or leave out such rows")


def moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and standard deviation over axes in float64, as float32.

    A constant channel gets deviation 1: it carries nothing, and dividing by its zero would make NaN of it.
    """
    count = np.prod([x.shape[axis] for axis in axes])

    def total(function: Callable[[Array], Array]) -> Array:
        blocks = (x[start : start + BLOCK].astype(np.float64) for start in range(0, len(x), BLOCK))
        return np.asarray(sum(function(part).sum(axes) for part in blocks))

    mean = total(lambda part: part) / count
    keep = tuple(None if axis in axes else slice(None) for axis in range(x.ndim))
    std = np.sqrt(total(lambda part: (part - mean[keep]) ** 2) / count)
    return mean.astype(np.float32), np.where(std > 1e-12, std, 1.0).astype(np.float32)
