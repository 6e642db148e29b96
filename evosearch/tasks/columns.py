"""Tables of mixed columns: CSV files, plain or compressed. Numbers are kept, words become one column for each.

What a column is, is told from the file to train on, written down as `encode` describes it, and every file, and every
row that the model is ever given, is made numbers by that same description.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.assemble import Name, Part, assemble
from evosearch.tasks.cells import Cells, place, read
from evosearch.tasks.encode import ORDERS, RowError, days, encode, missing, number, plain
from evosearch.tasks.groups import GAP, gap, settle
from evosearch.tasks.kinds import are_classes, looks
from evosearch.tasks.labels import MOST_CLASSES
from evosearch.tasks.marks import CODE, MARKS, Column
from evosearch.tasks.rows import PRECISION
from evosearch.tasks.sources import sibling, stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from evosearch.tasks.base import Array, Reading, Task, Value

MOST_WORDS = 1000  # a column of more different words is an identifier, or text
LISTED = 20  # columns that an error names
ALIKE = 5  # notes that say the same of columns
LACKS, COMMAS = ": its mean instead", " has a comma before its decimals"
PERIODS = (365.2425, 7.0, 1.0)  # days of a year, a week, a day
MANY_WORDS = 20  # of which a column says perhaps nothing, where they are as many as half of its rows
# What people read as an amount or a time, and is a word all the same: 1,234.50, 12%, $3, (4.5), 08:30, 31 Jan 24.
AMOUNT = re.compile(
    r"[-+\u2212(]?[^\w\s(]?[-+\u2212]?\s?[0-9](?:[.,'\u2019\s]?[0-9])*(?:[eEdD][-+]?[0-9]+)?\s?[^\w\s(]?\)?", re.ASCII
)
TIME = re.compile(r".*[0-9]:[0-9]{2}.*|[0-9]{1,4}[-/. ](?:[0-9]{1,2}|[A-Za-z]{3,9})[-/. ,]+[0-9]{2,4}.*")


def load_csv(path: Path, reading: Reading) -> Task:
    """A CSV's columns as vectors (D,): each numeric column one number, a column of dates a number and its place in the
    year, the week and the day, each other column one 0/1 number for every word that occurs in the file to train on (a
    word met only later is all zeros). A missing number or date is the column's mean, and a 0/1 number beside it says
    that it was missing.

    A file whose name says train is joined by those beside it that say test and validation, column by name.
    """
    settings = reading.settings
    train = read(path, settings)
    tables: dict[Name, Cells] = {"train": train}
    notes = []
    for title in ("validation", "test"):
        beside = sibling(path, title)
        if beside is not None:
            notes.append(f"{beside.name} is the {title} split of {path.name}")
            tables[title] = read(beside, settings, train)
    target = _index(train, settings.target) if settings.target else len(train.names) - 1
    dropped = {_index(train, name) for name in settings.drop} | {target}
    grouped = _index(train, settings.groups) if settings.groups else None
    if grouped == target:
        raise TaskError(
            f"{path}: column '{train.names[target]}' is to be predicted, as the last one is or one that was named, and "
            "data.groups names it too; --target COLUMN says which to predict"
        )
    inputs = [index for index in range(len(train.names)) if index not in (*dropped, grouped)]
    words = {_index(train, name) for name in settings.words}
    if not inputs:
        raise TaskError(f"{path}: no column is left beside the target '{train.names[target]}'")
    columns = [
        _words(one, notes, said=True) if one.index in words else _column(one, notes)
        for one in (Column(train, index) for index in inputs)
    ]
    for ending in (LACKS, COMMAS):
        notes = _gathered(notes, ending)
    goal = _target(Column(train, target), reading, notes, words=target in words)
    if not goal.labels and goal.decimal == ".":
        for table in tables.values():
            Column(table, target).require_points(Column(train, target))
    parts = {}
    for title, table in tables.items():
        try:
            x = encode(columns, table.rows, table.names)
            y = goal.numbers(Column(table, target), notes)
        except RowError as error:
            otherwise = f"; {_keep(error.column)}" if error.column else ""
            raise TaskError(f"{table.path}: line {table.lines[error.row]}: {error.message}{otherwise}") from None
        of = () if grouped is None else (_groups(table, grouped), f"column '{train.names[grouped]}'")
        parts[title] = Part(x, y, str(table.path), str(table.path), *of)
    if grouped is None:
        notes += _belonging((Column(train, index) for index in inputs), Column(train, target))
    return assemble(
        stem(path),
        parts,
        reading,
        labels=goal.labels,
        values=goal.values,
        columns=columns,
        names=train.names,
        target=train.names[target],
        notes=notes,
    )


def _index(table: Cells, name: str) -> int:
    if (index := place(table.names, name)) is None:
        raise TaskError(f"{table.path}: no column '{name}'; {_there(name, table.names)}")
    return index


def _groups(table: Cells, index: int) -> Array:
    """(N,) names of the groups that rows belong to. Raises TaskError where one has none."""
    names = np.array([row[index] for row in table.rows], object)
    if (row := gap(names)) is not None:
        raise TaskError(f"{table.path}: line {table.lines[row]}: no group in column '{table.names[index]}'; {GAP}")
    return names


def _belonging(columns: Iterable[Column], target: Column) -> Iterator[str]:
    """A line where a column looks like the name of what rows belong to: the first one that settles the target."""
    for column in columns:
        begins = column.table.rows[:MANY_WORDS]
        measured = any("." in row[column.index] or "," in row[column.index] for row in begins)
        if not measured and settle(column.cells, target.cells):
            yield (
                f"all rows of one '{column.name}' have the same '{target.name}': where they belong together, as those "
                f"of one patient do, --set 'data.groups={column.name}' keeps them on one side of every split"
            )
            return


def _there(name: str, names: Sequence[str]) -> str:
    """The columns that there are; of more than a person would read those that are called alike."""
    if len(names) <= LISTED:
        return f"there are {', '.join(names)}"
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(one) for one in near)}?"
    return f"there are {len(names)}, from '{names[0]}' to '{names[-1]}'"


def _gathered(notes: list[str], ending: str) -> list[str]:
    """The notes, but of those that end alike the first few, and how many more there are."""
    alike = [note for note in notes if note.endswith(ending)]
    if len(alike) <= ALIKE:
        return notes
    more = f"{len(alike) - ALIKE} more columns like these: '{alike[0]}'"
    return [note for note in notes if note not in alike[ALIKE:]] + [more]


def _column(column: Column, notes: list[str]) -> dict[str, Any]:
    """A column as `encode` describes it. Raises TaskError where it is neither numbers nor a few words."""
    name, cells, known, marks = column.name, column.cells, column.known, column.marks
    if column.commas:
        notes.append(f"column '{name}'{COMMAS}")
    if (values := column.numbers) is not None:
        _require_apart(column, values)
        finite = values[np.isfinite(values)]
        if len(values) > MANY_WORDS and (np.diff(values) == 1).all():
            notes.append(f"column '{name}' counts the rows; if it is no more than that, {_drop(name)}")
        scale = np.abs(finite).max(initial=0) or 1.0  # a sum of the largest doubles would be none
        fill = float((finite / scale).mean() * scale) if len(finite) else 0.0
        flag = _lacking(column, notes)
        if column.table.has_commas and not any("." in cell for cell in known):
            marks = ",", ""  # of whole numbers too: a point in another file may be behind thousands
        thousands = {"thousands": marks[1]} if marks[1] else {}
        return {"name": name, "type": "number", "decimal": marks[0], **thousands, "fill": fill, "flag": flag}
    if order := _order(column, notes):
        return _date(column, order, _lacking(column, notes))
    if not column.is_digits and sum(column.amount(cell) is not None for cell in known) > len(cells) / 2:
        words = (number(cell, *marks) is None or CODE.fullmatch(cell) for cell in cells)
        row = next(row for row, word in enumerate(words) if word and not missing(cells[row]))
        raise column.no_number(row, f"fill or leave out such rows, or drop the column; {_keep(name)}")
    dates = {word for word in set(known) if any(days(word, order) is not None for order in ORDERS)}
    odd = next((row for row, cell in enumerate(cells) if not missing(cell) and cell not in dates), None)
    if odd is not None and sum(cell in dates for cell in known) > len(known) / 2:
        cure = f"put right or leave out such rows, or drop the column; {_keep(name)}"
        raise column.wrong(odd, f"holds dates, and here '{cells[odd]}'; {cure}")
    if not column.is_digits:
        notes += _said(f"column '{name}'", known)
    return _words(column, notes)


def _said(what: str, known: Sequence[str]) -> list[str]:
    """What of words may be meant otherwise: amounts and times, numbers among words, words that differ by their look."""
    words = sorted(set(known))
    if len(words) > 2 and (all(map(AMOUNT.fullmatch, words)) or all(map(TIME.fullmatch, words))):
        measured = "numbers as 1234.5, dates as 2024-12-31"
        reads = [one for one, marks in MARKS.items() if all(number(word, *marks) is not None for word in words)]
        said = "".join(f"; --set data.decimal={one} makes them numbers" for one in reads[:1])
        return [f"{what} has words, as '{known[0]}', that read as amounts or times; {measured} would be measured{said}"]
    numbers = [word for word in words if number(word) is not None]
    if len(numbers) > 2:
        other = next(word for word in words if word not in numbers)
        return [f"{what} has numbers, as '{numbers[0]}', and words, as '{other}': all of them are words"]
    seen: dict[str, str] = {}
    for word in words:
        folded = " ".join(unicodedata.normalize("NFKC", word).casefold().split())
        if seen.setdefault(folded, word) != word:
            return [f"{what} has '{seen[folded]}' and '{word}', which are two words, since letters or spaces differ"]
    return []


def _words(column: Column, notes: list[str], *, said: bool = False) -> dict[str, Any]:
    """A column of words; of too many the most frequent, where the settings said that it is one, else a TaskError."""
    cells, name = column.cells, column.name
    words = sorted(set(cells))
    found = f"column '{name}' has {len(words)} different words"
    if len(words) > max(MANY_WORDS, len(cells) / 2):
        notes.append(f"{found} on {len(cells)} rows; if they say nothing, {_drop(name)}")
    if len(words) > MOST_WORDS:
        if not said:
            raise TaskError(
                f"{column.table.path}: {found}; drop it: {_drop(name)}, or {_keep(name)}, the {MOST_WORDS} of most rows"
            )
        times = Counter(cells)
        words = sorted(sorted(words, key=times.__getitem__, reverse=True)[:MOST_WORDS])
        notes.append(f"{found}: the {MOST_WORDS} of most rows are told apart, all others are one")
    return {"name": name, "type": "category", "categories": words}


def _drop(name: str) -> str:
    """What leaves a column out."""
    return f"--set 'data.drop=[\"{name}\"]' leaves it out"


def _keep(name: str) -> str:
    """What makes words of a column, whatever it looks like."""
    return f"--set 'data.words=[\"{name}\"]' keeps it as words"


def _lacking(column: Column, notes: list[str]) -> bool:
    """Whether some of a column's values are missing, which is noted."""
    lacking, count = len(column.cells) - len(column.known), len(column.cells)
    if lacking:
        notes.append(f"column '{column.name}' lacks {lacking} of {count} values{LACKS}")
    return lacking > 0


def _order(column: Column, notes: list[str]) -> str:
    """The order of year, month and day in a column of dates, one of `encode.ORDERS`; empty where it holds others."""
    name, cells = column.name, column.known
    found = [order for order in ORDERS if cells and all(days(cell, order) is not None for cell in cells)]
    alike = found == ["dmy", "mdy"] and not all("." in cell for cell in cells)  # with points the day is the first
    if alike:
        notes.append(f"column '{name}': day and month look alike, so its dates are words; write them as 2024-12-31")
    return found[0] if found and not alike else ""


def _date(column: Column, order: str, flag: bool) -> dict[str, Any]:
    """A column of dates, in days, with the periods in which they differ and that they span."""
    values = np.array([days(cell, order) for cell in column.known], np.float64)
    spread = np.ptp(values)
    periods = [one for one in PERIODS if spread >= one and np.ptp(values % one) > 0]
    fill = float(values.mean())
    return {"name": column.name, "type": "date", "order": order, "fill": fill, "flag": flag, "periods": periods}


def _require_apart(column: Column, values: Array) -> None:
    """Raise TaskError where whole numbers beyond 2^53 are other ones as floating-point numbers, and that would show."""
    if np.abs(values).max() < 2**53 or not np.isfinite(values).all():  # an infinite one is told by its row
        return
    limit = PRECISION * float(values.std())
    for row, cell in enumerate(column.cells):
        if re.fullmatch(r"[+-]?[0-9]{16,}", cell) and abs(int(cell) - int(float(cell))) > limit:
            cure = "take away their smallest, or drop the column"
            raise column.wrong(row, f"holds whole numbers too close together for their size, as {cell}; {cure}")


@dataclass(frozen=True)
class _Target:
    """What the target column is: classes by name and in their own type, or numbers."""

    labels: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    decimal: str = "."
    thousands: str = ""

    def numbers(self, column: Column, notes: list[str]) -> Array:
        """(N,) class numbers, or (N, 1) numbers. Raises TaskError and RowError."""
        cells = column.cells
        if not self.labels:
            return np.array([[self._number(row, cell, column.name)] for row, cell in enumerate(cells)])
        known = set(self.labels)
        if cells and all(cell.endswith(".") for cell in cells) and {cell[:-1] for cell in cells} <= known:
            notes.append(f"{column.table.path.name}: a full stop after every class is left out")
            cells = [cell[:-1] for cell in cells]  # as in UCI Adult's test file
        numeric = isinstance(self.values[0], int | float) and not isinstance(self.values[0], bool)
        numbers = {_exact(name) if numeric else name: place for place, name in enumerate(self.labels)}
        if numeric and self.thousands:
            cells = [plain(cell, self.decimal, self.thousands) for cell in cells]
        named = [_exact(cell) if numeric and number(cell) is not None else cell for cell in cells]
        for row, name in enumerate(named):
            if name not in numbers:
                said = ", ".join(self.labels[:10])
                raise RowError(row, f"class '{column.cells[row]}' is not one of {said}")
        return np.array([numbers[name] for name in named], np.int64)

    def _number(self, row: int, cell: str, name: str) -> float:
        value = number(cell, self.decimal, self.thousands)
        if value is None:
            what = "no value" if missing(cell) else f"'{cell}'"
            raise RowError(row, f"{what} in column '{name}', which is the number to predict; leave out such rows")
        if not np.isfinite(value):
            raise RowError(row, f"{cell} in column '{name}' is too large")
        return value


def _exact(cell: str) -> int | float:
    """The number that a cell writes; whole ones exactly, however large, so that different ones stay different."""
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def _require_words(column: Column) -> None:
    """Raise TaskError where most cells are numbers, not all of them whole, and one is a word: that is a mistake."""
    cells = column.cells
    known = [value for cell in cells if (value := column.amount(cell)) is not None]
    if len(known) > len(cells) / 2 and not all(value.is_integer() for value in known):
        row = next(row for row, cell in enumerate(cells) if number(cell, *column.marks) is None)
        raise column.no_number(row, "leave out such rows, or say kind = classification")


def _target(column: Column, reading: Reading, notes: list[str], *, words: bool = False) -> _Target:
    """What the column to predict is, as the settings say it, or as it looks; words: classes, and no numbers."""
    table, name, cells, known = column.table, column.name, column.cells, column.known
    if not any(cells):
        raise TaskError(
            f"{table.path}: column '{name}' is to be predicted and empty, as the last one is where lines end with "
            f"'{table.separator}'; name another: --target COLUMN"
        )
    marks = (".", "") if words else column.marks
    numbers = not words and column.numbers is not None
    if numbers and table.decimal:  # as Python writes them
        cells = [cell if missing(cell) else plain(cell, *marks) for cell in cells]
        known = [cell for cell in cells if not missing(cell)]
    decimal = "." if table.decimal else marks[0]
    whole = numbers and decimal == "." and all(float(cell).is_integer() for cell in known)
    classes = reading.kind.classes if reading.kind else not numbers
    if reading.kind is None and whole:
        amounts = np.array([float(cell) for cell in known])
        classes = are_classes(amounts)
        if note := looks(np.unique(amounts), len(known), classes):
            notes.append(note)
    if not classes:
        return _Target(decimal=marks[0], thousands=marks[1])
    if reading.kind is None and not (numbers or words or column.coded):
        _require_words(column)
    for row, cell in enumerate(cells):
        if cell in ("", "?") or (numbers and missing(cell)):
            raise TaskError(f"{table.path}: line {table.lines[row]}: no class in column '{name}'; leave out such rows")
    if numbers and decimal == ".":  # equal ones are one class, named as the first of those who write it
        names = {_exact(cell): cell for cell in sorted(set(cells), reverse=True)}
        values: list[Value] = [int(one) if whole else one for one in sorted(names)]
        labels = [names[value] for value in sorted(names)]
    else:
        labels = sorted(set(cells))
        truths = {"true": True, "false": False}
        boolean = len(labels) == 2 and {word.lower() for word in labels} == set(truths)
        values = [truths[word.lower()] if boolean else word for word in labels]
        notes += [] if words or column.is_digits else _said(f"the target '{name}'", known)
    if len(labels) > MOST_CLASSES:
        said = "say kind = regression" if numbers else "choose another target"
        raise TaskError(f"{table.path}: {len(labels)} different classes in column '{name}'; {said}")
    if reading.kind is None and len(labels) > max(MANY_WORDS, len(cells) / 2):
        raise TaskError(
            f"{table.path}: {len(labels)} different classes on {len(cells)} rows in column '{name}', which is the last "
            "one or was named; --target COLUMN says which column to predict"
        )
    return _Target(tuple(labels), tuple(values), *marks)
