"""The cells of a CSV file as text, with the line of each row: what every table of columns begins with.

pandas reads them. Alone it fills a row that is too short with cells that nobody can tell from empty ones, and knows no
lines; so each line is given one cell more at its end, the line's number, and comes back with it (docs/decisions.md).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING

from evosearch.errors import TaskError
from evosearch.tasks.encode import missing, number, titles, written
from evosearch.tasks.sources import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from evosearch.tasks.base import TaskSettings

SEPARATORS = (",", ";", "\t", "|")  # the likelier first
FEW_COLUMNS = 8  # of which a first row 0, 1, 2 above whole numbers may be data
HEAD = 200  # lines that are looked at for a separator
PRIVATE = tuple(map(chr, range(0xE000, 0xF900)))  # of Unicode's private use: one that the text does not hold is a mark
COMMA = re.compile("[0-9],[0-9]", re.ASCII)


@dataclass(frozen=True, eq=False)
class Cells:
    """A CSV file's rows, all of one length; lines: where each ends in the file; names: of the columns.

    headed: whether the file's first row is the names; else they are the columns' numbers from 0.
    decimal: what stands before decimals, as the settings say; empty where each column is to be looked at.
    """

    path: Path
    rows: list[list[str]]
    lines: list[int]
    names: list[str]
    headed: bool
    separator: str
    decimal: str = ""

    @property
    def undecided(self) -> bool:
        """Whether a column's looks tell what stands before its decimals: nothing is said, and commas cut no cells."""
        return not self.decimal and self.separator != ","

    @cached_property
    def has_commas(self) -> bool:
        """Whether some column's looks tell a comma before its decimals, be there words in it too."""
        columns = ([row[index] for row in self.rows] for index in range(len(self.names)))
        return self.undecided and any(map(_mostly_commas, columns))


def _mostly_commas(cells: Sequence[str]) -> bool:
    """Whether most cells that have a value are numbers with a comma, or with none and no point before decimals."""
    if not any(map(COMMA.search, cells)):
        return False
    known = [cell for cell in cells if not missing(cell)]
    found = [cell for cell in known if number(cell, ",", ".") is not None]
    return len(found) > len(known) / 2 and any(map(COMMA.search, found))


def place(names: Sequence[str], name: str) -> int | None:
    """The column that a setting names: by its name, or by its number, from the end where negative; None of no other."""
    if name in names:
        return names.index(name)
    if name.lstrip("-").isdecimal() and -len(names) <= int(name) < len(names):
        return int(name) % len(names)
    return None


def read(path: Path, settings: TaskSettings, beside: Cells | None = None, *, fewest: int = 2) -> Cells:
    """A file's cells; beside: the file that it belongs to, whose columns it must have, in any order if they have names.

    fewest: rows that it must have, a header among them, where it stands by itself. Raises TaskError with file and line.
    """
    text = opened(path, settings.encoding)
    separator = settings.separator or (beside.separator if beside else _separator(path, text, settings.decimal))
    rows, lines = [], []
    for row, line in _records(path, text, separator):
        rows.append(row)
        lines.append(line)
    if not rows:
        raise TaskError(f"{path}: it is empty; a table has a line for each example, and one with names above them")
    if len(rows) < fewest and not beside:
        raise TaskError(f"{path}: {len(rows)} rows; there is nothing to learn from")
    width = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise TaskError(f"{path}: line {line}: {len(row)} cells, and {width} in the first row")
    if beside and width != len(beside.names):
        raise TaskError(f"{path}: {width} columns, and {len(beside.names)} in {beside.path}")
    headed = settings.header == "yes" or (settings.header == "auto" and _headed(rows, beside, path))
    if not headed:
        return Cells(path, rows, lines, [str(index) for index in range(width)], False, separator, settings.decimal)
    names = titles(rows[0])
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TaskError(f"{path}: line {lines[0]}: two columns are called '{twice[0]}'; give them names of their own")
    found = Cells(path, rows[1:], lines[1:], names, True, separator, settings.decimal)
    return _in_order(found, beside) if beside and beside.headed else found


def _in_order(cells: Cells, beside: Cells) -> Cells:
    """The columns in the order of the file beside."""
    lacking = [name for name in beside.names if name not in cells.names]
    if lacking:
        there = ", ".join(cells.names)
        raise TaskError(f"{cells.path}: no column '{lacking[0]}', as {beside.path} has it; there are {there}")
    order = [cells.names.index(name) for name in beside.names]
    rows = [[row[index] for index in order] for row in cells.rows] if cells.names != beside.names else cells.rows
    return Cells(cells.path, rows, cells.lines, beside.names, True, cells.separator, cells.decimal)


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[list[str], int]]:
    """Each row that holds anything, its cells without spaces around them, and the line that it ends on.

    Lines end where the file says so, and nowhere else: a form feed, U+2028 or NEL is part of its cell.
    """
    if (end := _well_quoted(text, separator)) < len(text):
        line = len(re.findall("\r\n?|\n", text[:end])) + 1
        raise TaskError(
            f"{path}: line {line}: a quoted cell that ends before its text does, or nowhere; write quotes in it twice"
        )
    mark = separator + next(letter for letter in PRIVATE if letter not in text)
    numbered = "".join(_numbered(text, mark))
    inner = re.compile(f"{re.escape(mark)}[0-9]+(?=[\r\n])") if '"' in text else None
    for row in _parsed(path, numbered, separator):
        while row and not row[-1]:
            row.pop()  # what a short row was filled with
        last = row.pop()[1:] if row else ""
        cells = [(inner.sub("", cell) if inner else cell).strip(" \t") for cell in row]
        if any(cells):
            yield cells, int(last)


def _parsed(path: Path, text: str, separator: str) -> list[list[str]]:
    """The rows as pandas reads them, all as long as the longest. Raises TaskError."""
    import pandas as pd
    from pandas.errors import EmptyDataError, ParserError

    names = None  # as many as the first row has cells
    while True:
        try:
            frame = pd.read_csv(
                StringIO(text, newline=""),
                sep=separator,
                header=None,
                names=names,
                dtype=object,
                na_filter=False,
                skipinitialspace=True,
                encoding_errors="surrogatepass",
                engine="c",
            )
        except EmptyDataError:
            return []
        except ParserError as error:
            if not (longer := re.search("saw ([0-9]+)", str(error))):
                raise TaskError(f"{path}: {' '.join(str(error).split())}") from None
            names = range(2 * int(longer[1]))  # a row is longer than the first one, which the caller tells
            continue
        rows: list[list[str]] = frame.to_numpy().tolist()
        return rows


def _numbered(text: str, mark: str) -> Iterator[str]:
    """The lines that hold anything, each with the mark and its number at its end; others as they are."""
    for place, line in enumerate(StringIO(text, newline=""), 1):
        body = line.rstrip("\r\n")
        yield f"{body}{mark}{place}{line[len(body) :]}" if body.strip(" \t") else line


def _well_quoted(text: str, separator: str) -> int:
    """How far each cell that begins with a quote ends with one: readers differ in what any other says."""
    if '"' not in text:
        return len(text)
    space = " *+" if separator != " " else ""  # before a quote; a tab there belongs to the cell
    blank = " \t".replace(separator, "")
    cell = f'{space}(?:"(?:[^"]|"")*+"[{blank}]*+|(?!")[^{re.escape(separator)}\r\n]*+)'
    good = re.match(f"(?:{cell}[{re.escape(separator)}\r\n])*+", text)
    end = good.end() if good else 0
    return len(text) if re.compile(cell).fullmatch(text, end) else end


def _separator(path: Path, text: str, decimal: str) -> str:
    """What cuts the first rows into equally many cells, two at least; where several do, what gives more numbers.

    A comma where nothing does. decimal: as the settings say; where it is a comma, that is the least likely.
    """
    best, chosen = (0, 0.0), ","
    head = "".join(islice(StringIO(text, newline=""), HEAD))
    for separator in sorted(SEPARATORS, key=decimal.__eq__):
        try:
            rows = [row for row, _ in _records(path, head[: _well_quoted(head, separator)], separator)]
        except TaskError:
            continue  # told when the file is read
        width = len(rows[0]) if rows else 0
        if width < 2:
            continue
        alike = [row for row in rows if len(row) == width]
        reads = _is_point_number if separator == "," else _is_number
        cells = [cell for row in alike for cell in row]
        numbers = sum(map(reads, cells))
        if (found := (len(alike), numbers / len(cells))) > best:
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


def counted(row: Sequence[str]) -> bool:
    """Whether a first row is the columns' numbers from 0, as frames without names are written; behind an empty cell
    where their index is written too. Two numbers may be data.
    """
    names = row[1:] if row and not row[0] else row
    return len(names) > 2 and list(names) == [str(number) for number in range(len(names))]


def _are_whole(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all cells are whole numbers, of which a first row 0, 1, 2 may be one as well as it may be a header."""
    return all(cell.strip().lstrip("+-").isdigit() for row in rows for cell in row)


def _has_header(rows: Sequence[list[str]]) -> bool:
    """The first row holds names where it says a word over a column of numbers, or counts the columns; in a table
    without numbers, where none of its words comes again below. A mark for a missing value is no name."""
    first, rest = rows[0], rows[1:1000]
    if counted(first) and not (first[0] and len(first) <= FEW_COLUMNS and _are_whole(rest)):
        return True
    numeric = [_are_numbers([row[index] for row in rest]) for index in range(len(first))]
    if any(numeric):
        return any(
            numbers and not _is_number(cell) and not missing(cell) for cell, numbers in zip(first, numeric, strict=True)
        )
    if not rest:
        return False
    return all(cell not in {row[index] for row in rows[1:]} for index, cell in enumerate(first))


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether more than half of them are."""
    return bool(cells) and (written(cells) is not None or sum(map(_is_number, cells)) > len(cells) / 2)


def _is_point_number(cell: str) -> bool:
    return number(cell) is not None


def _is_number(cell: str) -> bool:
    """Whether it is one in any of the notations that `data.decimal` may say."""
    return number(cell, ".", ",") is not None or number(cell, ",", ".") is not None
