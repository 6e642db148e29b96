"""What readers and kinds do to all rows of an array: nothing of what its numbers mean is lost on the way.

Numbers are kept in float32 where that tells a channel's values apart to a ten-thousandth of their own deviation, and in
float64 where it does not: time stamps, large offsets, values beyond float32's range. What not even float64 tells apart
is refused. Rows are looked at by blocks, so as not to double them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

BLOCK = 4096  # rows
FARTHEST = 1e38  # deviations; what is normalised is float32
PRECISION = 1e-4  # of a channel's deviation: the largest rounding that is taken for none


def finite_rows(x: Array, file: str, said: str = "is not a finite number") -> None:
    """Raise TaskError that names the first row holding NaN or infinity."""
    for start, block in _blocks(x):
        bad = ~np.isfinite(block).reshape(len(block), -1).all(1)
        if bad.any():
            raise TaskError(f"{file}: row {start + int(bad.argmax())}: a value {said}; fill or leave out such rows")


def channel_axes(axes: int) -> tuple[int, ...]:
    """The axes of (N, C, H, W), (N, S, D) or (N, D) that one channel, dimension or number goes over."""
    return (0, 2, 3) if axes == 4 else (0, 1) if axes == 3 else (0,)


def stored(parts: Sequence[tuple[Array, str]], axes: tuple[int, ...]) -> list[Array]:
    """Numbers of all splits in one native dtype that keeps them: float32, or float64 where that loses something.

    parts: (finite numbers, file) of each, of the split to train on first; axes: those of one channel. Raises TaskError
    where 64-bit whole numbers lie too close together for their size.
    """
    native = [(x.astype(x.dtype.newbyteorder("="), copy=False), file) for x, file in parts]
    if all(x.dtype in (np.float16, np.float32) for x, _ in native):
        return [np.ascontiguousarray(x) for x, _ in native]
    deviation = moments(native[0][0], axes)[1].astype(np.float64)
    wide = False
    for x, file in native:
        keep = tuple(None if axis in axes else slice(None) for axis in range(x.ndim))
        limit = PRECISION * deviation[keep]
        for start, block in _blocks(x):
            exact = block.astype(np.float64)
            if x.dtype.kind in "iu" and x.dtype.itemsize == 8:
                _require_kept(block, exact, limit, file, start)
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                lost = np.abs(exact - exact.astype(np.float32))
            wide = wide or not bool((lost <= limit).all())
    dtype = np.float64 if wide else np.float32
    return [np.ascontiguousarray(x.astype(dtype)) for x, _ in native]


def _require_kept(block: Array, exact: Array, limit: Array, file: str, start: int) -> None:
    """Raise TaskError where a whole number as float64 is another one, and the channel would show it."""
    bounded = np.clip(exact, -(2.0**63), 2.0**64 - 2048 if block.dtype.kind == "u" else 2.0**63 - 1024)
    back = bounded.astype(block.dtype)
    lost = np.where(back > block, back - block, block - back).astype(np.float64)
    wrong = (lost > np.broadcast_to(limit, lost.shape)).reshape(len(block), -1).any(1)
    if wrong.any():
        raise TaskError(
            f"{file}: row {start + int(wrong.argmax())}: whole numbers of this size lie too close together for "
            "floating-point numbers to tell them apart; take away their smallest first"
        )


def moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and standard deviation over axes, summed in float64; float32 where that tells them, else float64.

    A constant channel gets deviation 1: it carries nothing, and dividing by its zero would make NaN of it. Constant is
    what varies by no more than rounding does at the channel's own size.
    """
    count = np.prod([x.shape[axis] for axis in axes])
    keep = tuple(None if axis in axes else slice(None) for axis in range(x.ndim))
    low, high = (_over(x, axes, function) for function in (np.minimum, np.maximum))
    largest = np.maximum(np.abs(low), np.abs(high))
    # Squares of numbers beyond 1e150 or below 1e-150 leave float64: such channels are summed in a unit of their own,
    # a power of two, which rounds nothing. Any other is summed as it is.
    with np.errstate(divide="ignore"):
        unit = np.exp2(np.clip(np.floor(np.log2(largest)), -1000, 1000))
    unit = np.where((largest > 1e100) | ((largest < 1e-100) & (largest > 0)), unit, 1.0)

    def total(function: Callable[[Array], Array]) -> Array:
        return np.asarray(sum(function(part.astype(np.float64) / unit[keep]).sum(axes) for _, part in _blocks(x)))

    mean = total(lambda part: part) / count
    std = np.sqrt(total(lambda part: (part - mean[keep]) ** 2) / count)
    mean, std = np.where(low == high, low, mean * unit), std * unit
    std = np.where((low == high) | (std <= 4 * np.finfo(np.float64).eps * largest), 1.0, std)
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.abs(mean - mean.astype(np.float32)) <= PRECISION * std
    tame = (std > 1e-36) & (std < 1e36)  # so that float32 holds its reciprocal too
    if x.dtype != np.float64 and bool((rounded & tame).all()):
        return mean.astype(np.float32), std.astype(np.float32)
    return mean, std


def require_near(x: Array, mean: Array, std: Array, axes: tuple[int, ...], where: str) -> None:
    """Raise TaskError where a number lies so far from those that mean and std are of that float32 cannot say it."""
    if x.dtype.kind != "f":
        return
    low, high = (_over(x, axes, function) for function in (np.minimum, np.maximum))
    with np.errstate(over="ignore"):
        reach = [np.abs((end - mean.ravel()) / std.ravel()) for end in (low, high)]
    for end, far in zip((low, high), reach, strict=True):
        if (bad := ~(far < FARTHEST)).any():
            place = int(bad.argmax())
            raise TaskError(
                f"{where}: a value of {end[place]:.4g} among some of mean {mean.ravel()[place]:.4g} and deviation "
                f"{std.ravel()[place]:.4g}, too far to be normalised; leave out such rows"
            )


def _over(x: Array, axes: tuple[int, ...], function: np.ufunc) -> Array:
    """The least or the largest over axes, float64."""
    found = None
    for _, block in _blocks(x):
        part = function.reduce(block, axis=axes)
        found = part if found is None else function(found, part)
    return np.asarray(found, np.float64)


def _blocks(x: Array) -> Iterator[tuple[int, Array]]:
    return ((start, x[start : start + BLOCK]) for start in range(0, len(x), BLOCK))
