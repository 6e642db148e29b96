"""Class labels of arrays, whatever they are: words, truths, whole numbers from anywhere; each keeps its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.rows import finite_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.tasks.base import Value

Array = np.ndarray[Any, np.dtype[Any]]

MOST_CLASSES = 1000  # more are surely a number to predict, or an identifier


def classes_of(targets: Sequence[tuple[Array, str]]) -> tuple[list[Array], tuple[str, ...], tuple[Value, ...]]:
    """Class numbers (N,) of each split, the classes' names in the order of their numbers, and these in their own type.

    targets: (array, file) of each, of the split to train on first. Whole numbers that begin at 0 are class numbers
    already, and their names are left empty. Raises TaskError with file and row.
    """
    arrays = [_one_each(y, file) for y, file in targets]
    kinds = {y.dtype.kind for y in arrays}
    if "U" not in kinds:
        low, high = min(int(y.min()) for y in arrays), max(int(y.max()) for y in arrays)
        if low == 0 and high < MOST_CLASSES:
            makes: type = bool if kinds == {"b"} and high == 1 else float if "f" in kinds else int
            return [y.astype(np.int64) for y in arrays], (), tuple(makes(number) for number in range(high + 1))
    elif kinds != {"U"}:
        raise TaskError(f"{targets[0][1]}: class labels are words in one file and numbers in another; write them alike")
    known = np.unique(arrays[0])
    if len(known) > MOST_CLASSES:
        said = "say kind = regression" if "U" not in kinds else "choose another target"
        raise TaskError(f"{targets[0][1]}: {len(known)} different classes; {said}")
    numbers = []
    for y, (_, file) in zip(arrays, targets, strict=True):
        place = np.minimum(np.searchsorted(known, y), len(known) - 1)
        if (unknown := known[place] != y).any():
            row = int(unknown.argmax())
            there = ", ".join(map(str, known[:10].tolist()))
            raise TaskError(f"{file}: row {row}: class '{y[row]}' is not one of {there}")
        numbers.append(place.astype(np.int64))
    values = known.tolist()
    return numbers, tuple(map(str, values)), tuple(values)


def _one_each(y: Array, file: str) -> Array:
    """(N,) words, truths, whole numbers, or floating-point numbers that are whole."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise TaskError(f"{file}: class labels of shape {y.shape}; one label for each example is needed")
    if y.dtype.kind == "f":
        finite_rows(y, file)
        if (broken := y != np.round(y)).any():
            row = int(broken.argmax())
            raise TaskError(f"{file}: row {row}: {y[row]} is no class number; use whole numbers, or kind = regression")
    elif y.dtype.kind == "S":
        try:
            y = np.char.decode(y, "utf-8")
        except UnicodeDecodeError as error:  # two of them could become one
            said = f"{file}: class {bytes(error.object)!r} is not UTF-8 text"
            raise TaskError(f"{said}; save classes as words: y.astype(str)") from None
    elif y.dtype.kind not in "biuU":
        raise TaskError(f"{file}: class labels of dtype {y.dtype}; use words or whole numbers")
    return y
