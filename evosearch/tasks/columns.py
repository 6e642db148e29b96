"""Tables of mixed columns: CSV files, plain or compressed. Numbers are kept, words become one column for each."""

from __future__ import annotations

import csv
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.assemble import Name, Part, assemble
from evosearch.tasks.sources import opened, sibling, stem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evosearch.tasks.base import Array, Reading, Task

log = logging.getLogger(__name__)

MOST_WORDS = 1000  # a column of more different words is an identifier, or text


@dataclass(frozen=True)
class _Table:
    """A CSV file's rows, all of one length; lines: where each stands in the file; names: of the columns."""

    path: Path
    rows: list[list[str]]
    lines: list[int]
    names: list[str]

    def column(self, index: int) -> list[str]:
        return [row[index] for row in self.rows]


def load_csv(path: Path, reading: Reading) -> Task:
    """A CSV's columns as vectors (D,): each numeric column one number, each other column one 0/1 number for every word
    that occurs in the file to train on (a word met only later is all zeros).

    A file whose name says train is joined by those beside it that say test and validation.
    """
    tables: dict[Name, _Table] = {"train": _read(path, reading)}
    for title in ("validation", "test"):
        beside = sibling(path, title)
        if beside is not None:
            log.info("%s is the %s split of %s", beside, title, path)
            tables[title] = _read(beside, reading)
    train = tables["train"]
    target = _index(train, reading.settings.target) if reading.settings.target else len(train.names) - 1
    dropped = {_index(train, name) for name in reading.settings.drop} | {target}
    inputs = [index for index in range(len(train.names)) if index not in dropped]
    if not inputs:
        raise TaskError(f"{path}: no column is left beside the target '{train.names[target]}'")
    for table in tables.values():
        if len(table.names) != len(train.names):
            raise TaskError(f"{table.path}: {len(table.names)} columns, and {len(train.names)} in {path}")
    words = {index: _words(train, index) for index in inputs}
    labels = _labels(train, target, reading)
    parts = {
        title: Part(
            np.concatenate([_encoded(table, index, words[index]) for index in inputs], axis=1),
            _targets(table, target, labels),
            str(table.path),
            str(table.path),
        )
        for title, table in tables.items()
    }
    return assemble(stem(path), parts, reading, labels=labels or ())


def _read(path: Path, reading: Reading) -> _Table:
    reader = csv.reader(opened(path).splitlines(), skipinitialspace=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise TaskError(f"{path}: line {reader.line_num}: {error}") from None
    if len(rows) < 2:
        raise TaskError(f"{path}: {len(rows)} rows; there is nothing to learn from")
    width = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise TaskError(f"{path}: line {line}: {len(row)} cells, and {width} in the first row")
    if reading.settings.header == "yes" or (reading.settings.header == "auto" and _has_header(rows)):
        return _Table(path, rows[1:], lines[1:], rows[0])
    return _Table(path, rows, lines, [str(index) for index in range(width)])


def _has_header(rows: list[list[str]]) -> bool:
    """The first row holds names where it says a word over a column of numbers; in a table without numbers, where
    none of its words comes again below."""
    first, rest = rows[0], rows[1:1000]
    numeric = [sum(_is_number(row[index]) for row in rest) > len(rest) / 2 for index in range(len(first))]
    if any(numeric):
        return any(numbers and not _is_number(cell) for cell, numbers in zip(first, numeric, strict=True))
    return all(cell not in {row[index] for row in rows[1:]} for index, cell in enumerate(first))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _all_numbers(cells: Sequence[str]) -> bool:
    return all(_is_number(cell) for cell in cells)


def _number(cell: str) -> float:
    """The number that a cell writes; whole ones exactly, however large, so that different ones stay different."""
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def _index(table: _Table, name: str) -> int:
    if name in table.names:
        return table.names.index(name)
    if name.lstrip("-").isdigit() and -len(table.names) <= int(name) < len(table.names):
        return int(name) % len(table.names)
    raise TaskError(f"{table.path}: no column '{name}'; there are {', '.join(table.names)}")


def _words(table: _Table, index: int) -> list[str] | None:
    """The column's words in order, None for a column of numbers."""
    cells = table.column(index)
    if _all_numbers(cells):
        return None
    words = sorted(set(cells))
    numbers = sum(_is_number(cell) for cell in cells)
    if numbers > len(cells) / 2:
        row = next(row for row, cell in enumerate(cells) if not _is_number(cell))
        raise TaskError(
            f"{table.path}: line {table.lines[row]}: column '{table.names[index]}' holds numbers, "
            f"and here '{cells[row]}'; fill or leave out such rows, or drop the column"
        )
    if len(words) > MOST_WORDS:
        raise TaskError(
            f"{table.path}: column '{table.names[index]}' has {len(words)} different words; "
            f'drop it (drop = ["{table.names[index]}"])'
        )
    return words


def _encoded(table: _Table, index: int, words: list[str] | None) -> Array:
    """(N, 1) float32 numbers, or (N, len(words)) zeros and ones."""
    cells = table.column(index)
    if words is not None:
        known = np.array(words)
        at = np.minimum(np.searchsorted(known, cells), len(words) - 1)
        hot: Array = (known[at] == np.array(cells))[:, None] & (at[:, None] == np.arange(len(words)))
        return hot.astype(np.float32)
    return _numbers(table, index)[:, None].astype(np.float32)


def _numbers(table: _Table, index: int) -> Array:
    values = np.empty(len(table.rows), np.float64)
    for row, cell in enumerate(table.column(index)):
        try:
            values[row] = float(cell)
        except ValueError:
            raise TaskError(
                f"{table.path}: line {table.lines[row]}: '{cell}' in column '{table.names[index]}', which holds numbers"
            ) from None
        if not np.isfinite(values[row]):
            raise TaskError(f"{table.path}: line {table.lines[row]}: {cell} in column '{table.names[index]}'")
    return values


def _labels(table: _Table, target: int, reading: Reading) -> list[str] | None:
    """The classes' names in order; None for regression."""
    cells = table.column(target)
    numbers = _all_numbers(cells)
    whole = numbers and all(float(cell).is_integer() for cell in cells)
    if not (reading.kind.classes if reading.kind else whole or not numbers):
        return None
    for row, cell in enumerate(cells):
        if cell in ("", "?") or (numbers and math.isnan(float(cell))):
            raise TaskError(f"{table.path}: line {table.lines[row]}: no class in column '{table.names[target]}'")
    if numbers:  # equal ones are one class, named as the first of those who write it
        names = {_number(cell): cell for cell in sorted(set(cells), reverse=True)}
        labels = [names[number] for number in sorted(names)]
    else:
        labels = sorted(set(cells))
    if len(labels) > MOST_WORDS:
        said = "say kind = regression" if numbers else "choose another target"
        raise TaskError(f"{table.path}: {len(labels)} different classes in column '{table.names[target]}'; {said}")
    return labels


def _targets(table: _Table, target: int, labels: list[str] | None) -> Array:
    if labels is None:
        return _numbers(table, target)[:, None]
    cells = table.column(target)
    if all(cell.endswith(".") for cell in cells) and {cell[:-1] for cell in cells} <= set(labels):
        log.info("%s: a full stop after every class is left out", table.path)  # as in UCI Adult's test file
        cells = [cell[:-1] for cell in cells]
    numeric = _all_numbers(labels)
    numbers = {_number(label) if numeric else label: number for number, label in enumerate(labels)}
    named = [_number(cell) if numeric and _is_number(cell) else cell for cell in cells]
    for row, name in enumerate(named):
        if name not in numbers:
            known = ", ".join(labels[:10])
            raise TaskError(f"{table.path}: line {table.lines[row]}: class '{cells[row]}' is not one of {known}")
    return np.array([numbers[name] for name in named], np.int64)
