"""Time series in the UCR/UEA archive's .ts text format (sktime, aeon), plain or compressed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.assemble import Name, Part, assemble
from evosearch.tasks.sources import opened, sibling, stem

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.tasks.base import Array, Reading, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _File:
    path: Path
    cases: list[list[Array]]  # dimensions of each case, (length,) float32 each
    ends: list[str]  # what stands after the last colon: a class or a target
    lines: list[int]
    labels: tuple[str, ...]  # classes as the head states them, () for regression


def load_ts(path: Path, reading: Reading) -> Task:
    """Series as columns (S, D): S time steps (the longest in any file), D dimensions.

    A missing value, and the rest of a series shorter than the longest, get the mean of their own series and dimension.
    A file whose name says TRAIN is joined by the one beside it that says TEST.
    """
    files: dict[Name, _File] = {"train": _read(path)}
    beside = sibling(path, "test")
    if beside is not None:
        log.info("%s is the test split of %s", beside, path)
        files["test"] = _read(beside)
    train = files["train"]
    length = max(len(series) for file in files.values() for case in file.cases for series in case)
    dimensions = len(train.cases[0])
    labels = train.labels
    if reading.kind and reading.kind.classes and not labels:
        raise TaskError(f"{path}: its head states no classes (@classLabel true A B ...)")
    if reading.kind and not reading.kind.classes:
        labels = ()
    parts = {
        title: Part(_stacked(file, dimensions, length), _ends(file, labels), str(file.path), str(file.path))
        for title, file in files.items()
    }
    return assemble(stem(path), parts, reading, labels=labels)


def _read(path: Path) -> _File:
    cases: list[list[Array]] = []
    ends: list[str] = []
    lines: list[int] = []
    labels: tuple[str, ...] = ()
    closed = data = False
    for number, line in enumerate(opened(path).splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(("#", "%")):
            continue
        if not data:
            word, *rest = line.split()
            word = word.lower()
            if not word.startswith("@"):
                raise TaskError(f"{path}: line {number}: values before @data; is this a .ts file?")
            if word == "@timestamps" and rest[:1] != ["false"]:
                raise TaskError(f"{path}: line {number}: series with time stamps are not read; sample them evenly")
            if word == "@classlabel" and rest[:1] == ["true"]:
                labels, closed = tuple(rest[1:]), True
            if word == "@targetlabel" and rest[:1] == ["true"]:
                closed = True
            data = word == "@data"
            continue
        if not closed:
            raise TaskError(f"{path}: its head states neither @classLabel true nor @targetLabel true")
        *dimensions, end = line.split(":")
        if not dimensions or (cases and len(dimensions) != len(cases[0])):
            expected = f"{len(cases[0])} dimensions" if cases else "values, a colon and a class"
            raise TaskError(f"{path}: line {number}: {len(dimensions)} dimensions where {expected} are due; torn?")
        cases.append([_values(text, path, number) for text in dimensions])
        ends.append(end.strip())
        lines.append(number)
    if not cases:
        raise TaskError(f"{path}: no series after @data")
    return _File(path, cases, ends, lines, labels)


def _values(text: str, path: Path, line: int) -> Array:
    """One series; a question mark is a missing value, which gets the mean of the others."""
    try:
        values = np.array([np.nan if cell.strip() == "?" else float(cell) for cell in text.split(",")], np.float32)
    except ValueError as error:
        raise TaskError(f"{path}: line {line}: {error}") from None
    missing = np.isnan(values)
    if missing.all() or np.isinf(values).any():
        raise TaskError(f"{path}: line {line}: a series without values, or with an infinite one")
    values[missing] = values[~missing].mean()
    return values


def _stacked(file: _File, dimensions: int, length: int) -> Array:
    """(N, length, dimensions) float32."""
    x = np.empty((len(file.cases), length, dimensions), np.float32)
    for row, case in enumerate(file.cases):
        if len(case) != dimensions:
            raise TaskError(
                f"{file.path}: line {file.lines[row]}: {len(case)} dimensions, and {dimensions} in the file to train on"
            )
        for index, series in enumerate(case):
            x[row, : len(series), index] = series
            x[row, len(series) :, index] = series.mean()
    return x


def _ends(file: _File, labels: tuple[str, ...]) -> Array:
    numbers = {label: number for number, label in enumerate(labels)}
    y = np.empty(len(file.ends), np.int64 if labels else np.float64)
    for row, end in enumerate(file.ends):
        try:
            y[row] = numbers[end] if labels else float(end)
        except (KeyError, ValueError):
            due = f"one of {', '.join(labels)}" if labels else "a number"
            raise TaskError(f"{file.path}: line {file.lines[row]}: '{end}' where {due} is due") from None
    return y
