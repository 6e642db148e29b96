"""Time series in the UCR/UEA archive's .ts text format (sktime, aeon), plain or compressed."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks import ends
from evosearch.tasks.assemble import Name, Part, assemble
from evosearch.tasks.encode import missing, number
from evosearch.tasks.rows import channel_axes, stored
from evosearch.tasks.sources import opened, sibling, stem, typed

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.tasks.base import Array, Reading, Task


@dataclass(frozen=True)
class _File:
    path: Path
    cases: list[list[Array]]  # dimensions of each case, (length,) float64 each, NaN where a value is missing
    ends: list[str]  # what stands after the last colon: a class or a target
    lines: list[int]
    labels: tuple[str, ...]  # classes as the head states them, () for regression


def load_ts(path: Path, reading: Reading) -> Task:
    """Series as columns (S, D): S time steps (the longest in any file), D dimensions.

    A missing value gets the mean of its own series and dimension. A series shorter than the longest begins again, as
    often as it takes (circular padding): what it holds on average over time stays what it was. Where there are such,
    a step has a further number, 1 where the series is still there and 0 behind its end: networks are told by it.
    A file whose name says TRAIN is joined by the one beside it that says TEST.
    """
    notes = []
    files: dict[Name, _File] = {"train": _read(path, reading)}
    beside = sibling(path, "test")
    if beside is not None:
        notes.append(f"{beside.name} is the test split of {path.name}")
        files["test"] = _read(beside, reading)
    train = files["train"]
    lengths = {len(series) for file in files.values() for case in file.cases for series in case}
    if len(lengths) > 1:
        notes.append(ends.told(min(lengths), max(lengths)))
    dimensions = len(train.cases[0])
    labels = train.labels
    if reading.kind and reading.kind.classes and not labels:
        raise TaskError(f"{path}: its head states no classes (@classLabel true A B ...)")
    if reading.kind and not reading.kind.classes:
        labels = ()
    exact = [(_stacked(file, dimensions, max(lengths), np.float64), str(file.path)) for file in files.values()]
    dtype = stored(exact, channel_axes(3))[0].dtype
    masked = len(lengths) > 1
    parts = {
        title: Part(
            _stacked(file, dimensions, max(lengths), dtype, masked=masked),
            _ends(file, labels),
            str(file.path),
            str(file.path),
        )
        for title, file in files.items()
    }
    return assemble(stem(path), parts, reading, labels=labels, values=typed(labels), notes=notes, masked=masked)


def examples(path: Path, reading: Reading, steps: int, numbers: int, *, circular: bool, masked: bool) -> Array:
    """The series of a file as (N, steps, numbers), as `load_ts` makes them. Raises TaskError for a longer one.

    circular: whether short ones begin again; they go on with their mean where not, as they did in earlier versions.
    masked: whether the last number of a step says that the series is still there.
    """
    file = _read(path, reading)
    for case, line in zip(file.cases, file.lines, strict=True):
        if (most := max(map(len, case))) > steps:
            raise TaskError(f"{path}: line {line}: {most} steps, and the longest to train on had {steps}")
    return _stacked(file, numbers - masked, steps, np.float64, circular=circular, masked=masked)


def _read(path: Path, reading: Reading) -> _File:
    cases: list[list[Array]] = []
    ends: list[str] = []
    lines: list[int] = []
    labels: tuple[str, ...] = ()
    closed = data = False
    for line_number, line in enumerate(StringIO(opened(path, reading.settings.encoding), newline=None), 1):
        line = line.strip()
        if not line or line.startswith(("#", "%")):
            continue
        if not data:
            word, *rest = line.split()
            word, said = word.lower(), [text.lower() for text in rest[:1]]
            if not word.startswith("@"):
                raise TaskError(f"{path}: line {line_number}: values before @data; is this a .ts file?")
            if word == "@timestamps" and said != ["false"]:
                raise TaskError(f"{path}: line {line_number}: series with time stamps are not read; sample them evenly")
            if word == "@classlabel" and said == ["true"]:
                labels, closed = tuple(rest[1:]), True
                _require_once(labels, path, line_number)
            if word == "@targetlabel" and said == ["true"]:
                closed = True
            data = word == "@data"
            continue
        if not closed:
            raise TaskError(f"{path}: its head states neither @classLabel true nor @targetLabel true")
        *dimensions, end = line.split(":")
        if not dimensions or (cases and len(dimensions) != len(cases[0])):
            expected = f"{len(cases[0])} dimensions" if cases else "values, a colon and a class"
            raise TaskError(f"{path}: line {line_number}: {len(dimensions)} dimensions where {expected} are due; torn?")
        cases.append([_values(text, path, line_number) for text in dimensions])
        ends.append(end.strip())
        lines.append(line_number)
    if not cases:
        raise TaskError(f"{path}: no series after @data")
    return _File(path, cases, ends, lines, labels)


def _require_once(labels: tuple[str, ...], path: Path, line: int) -> None:
    """Raise TaskError for a class that is there twice; 1 and 1.0 are one class."""
    seen: dict[str | float, str] = {}
    for label in labels:
        known = seen.setdefault(_named(label), label)
        if known is not label:
            raise TaskError(f"{path}: line {line}: the class '{label}' is listed twice, as '{known}' too; list it once")


def _named(label: str) -> str | float:
    """What a class is known by: its number, if it is one, since files write 1 in the head and 1.0 in a row."""
    value = number(label)
    return label if value is None else value


def _values(text: str, path: Path, line: int) -> Array:
    """One series, NaN where a value is missing."""
    values = np.empty(text.count(",") + 1, np.float64)
    for place, cell in enumerate(text.split(",")):
        value = np.nan if missing(cell) and cell.strip() else number(cell.strip())
        if value is None:
            raise TaskError(f"{path}: line {line}: '{cell.strip()}' is no number")
        if np.isinf(value):
            raise TaskError(f"{path}: line {line}: {cell.strip()} is too large")
        values[place] = value
    if np.isnan(values).all():
        raise TaskError(f"{path}: line {line}: a series without values")
    return values


def _stacked(
    file: _File, dimensions: int, length: int, dtype: Any, *, circular: bool = True, masked: bool = False
) -> Array:
    """(N, length, dimensions), with means for what is missing; circular, masked: as in `examples`."""
    x = np.zeros((len(file.cases), length, dimensions + masked), dtype)
    for row, case in enumerate(file.cases):
        if len(case) != dimensions:
            raise TaskError(
                f"{file.path}: line {file.lines[row]}: {len(case)} dimensions, and {dimensions} in the file to train on"
            )
        for index, values in enumerate(case):
            series = values.astype(dtype)
            empty = np.isnan(series)
            if empty.any():
                series[empty] = series[~empty].mean()
            x[row, :, index] = np.resize(series, length) if circular else series.mean()
            x[row, : len(series), index] = series
        if masked:
            x[row, : max(map(len, case)), -1] = 1
    return x


def _ends(file: _File, labels: tuple[str, ...]) -> Array:
    places = {_named(label): place for place, label in enumerate(labels)}
    y = np.empty(len(file.ends), np.int64 if labels else np.float64)
    for row, end in enumerate(file.ends):
        value = places.get(_named(end)) if labels else number(end)
        if value is None or np.isinf(value):
            due = f"one of {', '.join(labels)}" if labels else "a number"
            raise TaskError(f"{file.path}: line {file.lines[row]}: '{end}' where {due} is due")
        y[row] = value
    return y
