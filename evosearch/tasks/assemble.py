"""From the parts that files hold to a task: everything checked, missing splits made."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.base import Array, Kind, Split, Task, TaskSettings, cut, make_task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

MOST_CLASSES = 1000  # more are surely a number to predict, or an identifier

Name = Literal["train", "validation", "test"]


@dataclass(frozen=True, eq=False)
class Part:
    """What one split's files hold: x (N, ...), y (N,) classes or (N, outputs) numbers, and the files, for errors."""

    x: Array
    y: Array
    x_file: str
    y_file: str


def assemble(
    name: str,
    parts: Mapping[Name, Part],
    settings: TaskSettings,
    *,
    labels: Sequence[str] = (),
    images: bool = False,
) -> Task:
    """The task of these parts; a validation or test split that no file brings is cut from the others' rows.

    labels: the classes' names, where y holds their numbers. Raises TaskError with file and row.
    """
    kind = _kind(parts["train"], settings)
    splits = {title: _checked(part, kind, len(labels)) for title, part in parts.items()}
    if kind == "classification" and not labels:
        _numbered_from_0(parts["train"].y_file, splits)
    shares: dict[Name, float] = {"validation": settings.validation, "test": settings.test}
    missing = {title: share for title, share in shares.items() if title not in splits}
    if missing:
        whole = splits["train"]
        titles: list[Name] = [*missing, "train"]
        stratify = kind == "classification"
        rows = cut(
            whole.y if stratify else whole.y[:, 0], tuple(missing.values()), settings.split_seed, stratify=stratify
        )
        splits |= {title: Split(whole.x[chosen], whole.y[chosen]) for title, chosen in zip(titles, rows, strict=True)}
        log.info(
            "%s brings no %s split: cut from its train rows by seed %d", name, " or ".join(missing), settings.split_seed
        )
    return make_task(
        name,
        splits["train"],
        splits["validation"],
        splits["test"],
        kind=kind,
        metric=settings.metric,
        labels=tuple(labels) if kind == "classification" else (),
        images=images,
    )


def _kind(part: Part, settings: TaskSettings) -> Kind:
    if settings.kind != "auto":
        return settings.kind
    return "classification" if part.y.dtype.kind in "biu" else "regression"


def _checked(part: Part, kind: Kind, classes: int) -> Split:
    if len(part.x) != len(part.y):
        raise TaskError(
            f"{part.y_file}: {len(part.y)} targets for {len(part.x)} examples in {part.x_file}; they must be as many"
        )
    if not len(part.x):
        raise TaskError(f"{part.x_file}: holds no examples")
    y = _classes(part, classes) if kind == "classification" else _targets(part)
    return Split(_examples(part), y)


def _examples(part: Part) -> Array:
    """x in a dtype that torch has: uint8, small integers and float16 as they are, other numbers as float32."""
    x, kind = part.x, part.x.dtype.kind
    if kind not in "biuf":
        raise TaskError(f"{part.x_file}: examples of dtype {x.dtype}; save them as integers or floats")
    if kind == "f":
        finite_rows(x, part.x_file)
        with np.errstate(over="ignore"):  # told below, with its row
            stored = x if x.dtype in (np.float16, np.float32) else x.astype(np.float32)
        if x.dtype.itemsize > 4:
            finite_rows(stored, part.x_file, "is too large for float32")
        return np.ascontiguousarray(stored)
    if kind == "b":
        return np.ascontiguousarray(x.astype(np.uint8))
    narrow = {"uint16": np.int32, "uint32": np.float32, "uint64": np.float32, "int64": np.float32, "int32": np.float32}
    return np.ascontiguousarray(x.astype(narrow.get(x.dtype.name, x.dtype)))


def finite_rows(x: Array, file: str, said: str = "is not a finite number") -> None:
    """Raise TaskError that names the first row holding NaN or infinity. Looks at blocks, so as not to double x."""
    for start in range(0, len(x), 4096):
        block = x[start : start + 4096]
        bad = ~np.isfinite(block).reshape(len(block), -1).all(1)
        if bad.any():
            raise TaskError(f"{file}: row {start + int(bad.argmax())}: a value {said}; fill or leave out such rows")


def _classes(part: Part, classes: int) -> Array:
    y, file = part.y, part.y_file
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise TaskError(f"{file}: class labels of shape {y.shape}; one whole number for each example is needed")
    if y.dtype.kind == "f":
        finite_rows(y, file)
        if (broken := y != np.round(y)).any():
            row = int(broken.argmax())
            raise TaskError(f"{file}: row {row}: {y[row]} is no class number; use whole numbers, or kind = regression")
    elif y.dtype.kind not in "biu":
        raise TaskError(f"{file}: class labels of dtype {y.dtype}; number the classes from 0")
    y = y.astype(np.int64)
    if len(y) and y.min() < 0 and not classes:
        raise _misnumbered(file, y)
    most = classes or MOST_CLASSES
    if len(y) and (y.min() < 0 or y.max() >= most):
        row = int(((y < 0) | (y >= most)).argmax())
        raise TaskError(
            f"{file}: row {row}: class {y[row]}; there are {classes} classes, numbered from 0"
            if classes
            else f"{file}: row {row}: class {y[row]} of over {MOST_CLASSES}; is this a number to predict? "
            "Say kind = regression"
        )
    return y


def _numbered_from_0(file: str, splits: Mapping[Name, Split]) -> None:
    """Raise TaskError where no split has class 0; one alone may well lack it."""
    if min(int(split.y.min()) for split in splits.values()) > 0:
        raise _misnumbered(file, splits["train"].y)


def _misnumbered(file: str, y: Array) -> TaskError:
    row = int(y.argmin())
    return TaskError(f"{file}: row {row}: the smallest class is {y[row]}; number the classes from 0")


def _targets(part: Part) -> Array:
    y = part.y
    if y.dtype.kind not in "biuf":
        raise TaskError(f"{part.y_file}: targets of dtype {y.dtype}; regression needs numbers")
    y = y.astype(np.float32).reshape(len(y), -1)
    finite_rows(y, part.y_file)
    return y


def as_examples(x: Array, file: str) -> tuple[Array, bool]:
    """Arrays as examples: (N, ...) to (N, C, H, W), (N, S, D) or (N, D); and whether they are images.

    Four axes are images, channels first, or last where only the last axis is as small as channels are (1, 3, 4).
    Three axes are grey images where they hold bytes, else sequences. Two axes are vectors.
    """
    if x.ndim == 4:
        last = x.shape[3] in (1, 3, 4) and x.shape[1] > 4
        return (x.transpose(0, 3, 1, 2) if last else x), True
    if x.ndim == 3:
        return (x[:, None], True) if x.dtype == np.uint8 else (x, False)
    if x.ndim == 2:
        return x, False
    raise TaskError(
        f"{file}: an array of shape {x.shape}; examples are rows of (N, C, H, W), (N, H, W), (N, S, D) or (N, D)"
    )
