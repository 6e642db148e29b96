"""The cells of a CSV file as text, with the line of each row: what every table of columns begins with.

Python's own csv module reads them: it tells a row that is too short or too long, and on which line, where pandas and
polars fill a short one with missing values in silence (docs/decisions.md).
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from evosearch.errors import TaskError
from evosearch.tasks.encode import missing, number
from evosearch.tasks.sources import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from evosearch.tasks.base import TaskSettings

SEPARATORS = (",", ";", "\t", "|")  # the likelier first
HEAD = 200  # rows that are looked at for a separator
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True, eq=False)
class Cells:
    """A CSV file's rows, all of one length; lines: where each ends in the file; names: of the columns.

    headed: whether the file's first row is the names; else they are the columns' numbers from 0.
    """

    path: Path
    rows: list[list[str]]
    lines: list[int]
    names: list[str]
    headed: bool
    separator: str

    def column(self, index: int) -> list[str]:
        return [row[index] for row in self.rows]


def read(path: Path, settings: TaskSettings, beside: Cells | None = None) -> Cells:
    """A file's cells; beside: the file that it belongs to, whose columns it must have, in any order if they have names.

    Raises TaskError with file and line.
    """
    text = opened(path, settings.encoding)
    separator = settings.separator or (beside.separator if beside else _separator(text))
    rows, lines = [], []
    try:
        for row, line in _records(text, separator):
            rows.append(row)
            lines.append(line)
    except _Broken as error:
        raise TaskError(f"{path}: line {error.line}: {error}") from None
    if len(rows) < 2 and not (rows and beside):
        raise TaskError(f"{path}: {len(rows)} rows; there is nothing to learn from")
    width = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise TaskError(f"{path}: line {line}: {len(row)} cells, and {width} in the first row")
    if beside and width != len(beside.names):
        raise TaskError(f"{path}: {width} columns, and {len(beside.names)} in {beside.path}")
    headed = settings.header == "yes" or (settings.header == "auto" and _headed(rows, beside, path))
    if not headed:
        return Cells(path, rows, lines, [str(index) for index in range(width)], False, separator)
    names = [name or str(index) for index, name in enumerate(rows[0])]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TaskError(f"{path}: line {lines[0]}: two columns are called '{twice[0]}'; give them names of their own")
    found = Cells(path, rows[1:], lines[1:], names, True, separator)
    return _in_order(found, beside) if beside and beside.headed else found


def _in_order(cells: Cells, beside: Cells) -> Cells:
    """The columns in the order of the file beside."""
    lacking = [name for name in beside.names if name not in cells.names]
    if lacking:
        there = ", ".join(cells.names)
        raise TaskError(f"{cells.path}: no column '{lacking[0]}', as {beside.path} has it; there are {there}")
    order = [cells.names.index(name) for name in beside.names]
    rows = [[row[index] for index in order] for row in cells.rows] if cells.names != beside.names else cells.rows
    return Cells(cells.path, rows, cells.lines, beside.names, True, cells.separator)


class _Broken(Exception):
    """What the csv module makes of a file that is none, with the line."""

    def __init__(self, error: csv.Error, line: int) -> None:
        super().__init__(str(error))
        self.line = line


def _records(text: str, separator: str) -> Iterator[tuple[list[str], int]]:
    """Each row that holds anything, its cells without spaces around them, and the line that it ends on.

    Lines end where the file says so, and nowhere else: a form feed, U+2028 or NEL is part of its cell.
    """
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            cells = [cell.strip(" \t") for cell in row]
            if any(cells):
                yield cells, reader.line_num
    except csv.Error as error:
        raise _Broken(error, reader.line_num) from None


def _separator(text: str) -> str:
    """What cuts the first rows into equally many cells, two at least; where several do, what gives more numbers.

    A comma where nothing does.
    """
    best, chosen = (0.0, 0.0), ","
    for separator in SEPARATORS:
        rows = []
        try:
            for row, _ in _records(text, separator):
                rows.append(row)
                if len(rows) == HEAD:
                    break
        except _Broken:
            pass  # told when the file is read
        usual, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        if usual < 2:
            continue
        decimal = "." if separator == "," else ","
        cells = [cell for row in rows if len(row) == usual for cell in row]
        numbers = sum(number(cell) is not None or number(cell, decimal) is not None for cell in cells)
        if (found := (count / len(rows), numbers / len(cells))) > best:
            best, chosen = found, separator
    return chosen


def _headed(rows: Sequence[list[str]], beside: Cells | None, path: Path) -> bool:
    """Whether the first row holds names. Raises TaskError where that differs from the file beside."""
    says = _has_header(rows)
    if beside is None:
        return says
    if beside.headed and (sorted(rows[0]) == sorted(beside.names) or says):
        return True  # whether they are the right ones is looked at later
    if beside.headed or (says and _has_header([rows[0], *beside.rows])):  # it would be a header there too
        has, lacks = (beside.path, path) if beside.headed else (path, beside.path)
        raise TaskError(f"{lacks}: no header, and {has} has one; give both files the same first line")
    return False


def _has_header(rows: Sequence[list[str]]) -> bool:
    """The first row holds names where it says a word over a column of numbers; in a table without numbers, where
    none of its words comes again below. A mark for a missing value is no name."""
    first, rest = rows[0], rows[1:1000]
    numeric = [sum(_is_number(row[index]) for row in rest) > len(rest) / 2 for index in range(len(first))]
    if any(numeric):
        return any(
            numbers and not _is_number(cell) and not missing(cell) for cell, numbers in zip(first, numeric, strict=True)
        )
    if not rest:
        return False
    return all(cell not in {row[index] for row in rows[1:]} for index, cell in enumerate(first))


def _is_number(cell: str) -> bool:
    return number(cell) is not None or number(cell, ",") is not None
