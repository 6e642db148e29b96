"""Series of unequal length in arrays: one that ended before the last step has NaN from there on (as aeon, tslearn)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, np.dtype[Any]]


def side_by_side(series: Sequence[Array]) -> Array | None:
    """Series (S_i, D) as one array (N, S, D) of floats, NaN behind the end of each; None where they are none of as many
    dimensions each. Bytes are images, and arrays of one axis rows of a table, of which one lacks a number.
    """
    if not all(one.ndim == 2 and one.dtype.kind in "biuf" and one.dtype != np.uint8 for one in series):
        return None
    if len({one.shape[1] for one in series}) > 1:
        return None
    dtype = np.result_type(np.float32, *series)
    found = np.full((len(series), max(map(len, series)), series[0].shape[1]), np.nan, dtype)
    for row, one in zip(found, series, strict=True):
        row[: len(one)] = one
    return found


def with_ends(parts: Sequence[Array]) -> list[Array] | None:
    """Of arrays (N, S, D): those of series of unequal length, where there are such, else None.

    Each is (N, S, D + 1) then, S that of the longest: a short series begins again, as often as it takes, and the last
    number of a step is 1 where the series is there and 0 behind its end. Other NaN stay.
    """
    if not any(x.ndim == 3 and x.dtype.kind == "f" and x.size and np.isnan(x[:, -1]).all(1).any() for x in parts):
        return None
    steps = max(int(_lengths(x).max()) for x in parts)
    return [_with_ends(x, steps) for x in parts]


def _with_ends(x: Array, steps: int) -> Array:
    dtype, lengths, at = np.result_type(np.float32, x), _lengths(x)[:, None], np.arange(steps)
    again = x[np.arange(len(x))[:, None], at % np.maximum(lengths, 1)]
    return np.concatenate([again, (at < lengths)[:, :, None]], axis=2, dtype=dtype)


def _lengths(x: Array) -> Array:
    """(N,) steps of each series of an array (N, S, D) up to the last that is not NaN alone."""
    there = ~np.isnan(x.astype(np.result_type(np.float32, x), copy=False)).all(2)
    lengths: Array = (there * np.arange(1, x.shape[1] + 1)).max(1, initial=0)
    return lengths


def note(parts: Sequence[Array]) -> str:
    """What is to be told of such series. parts: as `with_ends` gives them."""
    lengths = np.concatenate([x[:, :, -1].sum(1) for x in parts]).astype(int)
    return told(lengths.min(), lengths.max())


def told(shortest: int, longest: int) -> str:
    says = "the last number of a step says whether it is there (1) or behind the end (0)"
    return f"series of {shortest} to {longest} steps; {says}"
