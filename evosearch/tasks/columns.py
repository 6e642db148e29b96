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
from evosearch.tasks.cells import COMMA, Cells, place, read, with_commas
from evosearch.tasks.encode import GROUPED, ORDERS, RowError, days, encode, missing, number, plain, written
from evosearch.tasks.groups import GAP, gap
from evosearch.tasks.kinds import are_classes, looks
from evosearch.tasks.labels import MOST_CLASSES
from evosearch.tasks.rows import PRECISION
from evosearch.tasks.sources import sibling, stem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evosearch.tasks.base import Array, Reading, Task, Value

MOST_WORDS = 1000  # a column of more different words is an identifier, or text
LISTED = 20  # columns that an error names
ALIKE = 5  # notes that say the same of columns
LACKS, COMMAS = ": its mean instead", " has a comma before its decimals"
CODE = re.compile(r"0[0-9]+", re.ASCII)  # 007 is a name, no number
PERIODS = (365.2425, 7.0, 1.0)  # days of a year, a week, a day
MANY_WORDS = 20  # of which a column says perhaps nothing, where they are as many as half of its rows
WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
MARKS = {".": (".", ","), ",": (",", ".")}  # before decimals, and between thousands, where the settings say it
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
    columns = [_column(train, index, notes, words=index in words) for index in inputs]
    for ending in (LACKS, COMMAS):
        notes = _gathered(notes, ending)
    goal = _target(train, target, reading, notes, words=target in words)
    if not goal.labels and goal.decimal == ".":
        for table in tables.values():
            _require_points(table, target, train)
    parts = {}
    for title, table in tables.items():
        try:
            x = encode(columns, table.rows, table.names)
            y = goal.numbers(table, target, notes)
        except RowError as error:
            otherwise = f"; {_keep(error.column)}" if error.column else ""
            raise TaskError(f"{table.path}: line {table.lines[error.row]}: {error.message}{otherwise}") from None
        of = () if grouped is None else (_groups(table, grouped), f"column '{train.names[grouped]}'")
        parts[title] = Part(x, y, str(table.path), str(table.path), *of)
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
    names = np.array(table.column(index), object)
    if (row := gap(names)) is not None:
        raise TaskError(f"{table.path}: line {table.lines[row]}: no group in column '{table.names[index]}'; {GAP}")
    return names


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


def _decimal(table: Cells, index: int, known: Sequence[str], notes: list[str]) -> tuple[str, str]:
    """What stands before the decimals of a column, and between its thousands: as the settings say; else a point, or
    where commas do not separate cells perhaps a comma, and nothing.

    known: its cells that have a value. Raises TaskError where a mark may stand before decimals or behind thousands.
    """
    if table.decimal:
        return MARKS[table.decimal]
    if table.separator == ",":
        return ".", ""
    commas = with_commas(known)
    if not commas:
        _require_points(table, index, table)
        read = [cell for cell in known if COMMA.search(cell) and number(cell, ",", ".") is not None]
        most = len(read) >= sum("." in cell and number(cell) is not None for cell in known)
        return ("," if read and most else "."), ""  # there are words or thousands too, which the caller tells
    if all(GROUPED[","].fullmatch(cell) for cell in commas):
        raise _grouped(table, index, commas[0])
    notes.append(f"column '{table.names[index]}'{COMMAS}")
    return ",", ""


def _require_points(table: Cells, index: int, train: Cells) -> None:
    """Raise TaskError where the points of a column of numbers may all be behind thousands, as in 901 and 1.877, in a
    table with decimal commas. A point before decimals in the table to train on shows what they are.
    """
    if table.decimal or table.separator == "," or not (table.has_commas or train.has_commas):
        return
    cells = table.column(index)
    shown = (
        not (WHOLE.fullmatch(cell) or GROUPED["."].fullmatch(cell) or missing(cell))
        for one in (cells, train.column(index))
        for cell in one
    )
    pointed = next((cell for cell in cells if "." in cell), None)
    if pointed is not None and not any(shown):
        raise _grouped(table, index, pointed)


def _grouped(table: Cells, index: int, cell: str) -> TaskError:
    line = table.lines[table.column(index).index(cell)]
    return TaskError(
        f"{table.path}: line {line}: '{cell}' in column '{table.names[index]}' may be a thousand and more, or a "
        "number with three decimals; --set data.decimal=, or --set data.decimal=. says which mark is before the "
        "decimals of all columns"
    )


def _amount(table: Cells, cell: str, marks: tuple[str, str]) -> float | None:
    """The number that a cell may write: with the column's marks, a point, or where commas do not separate cells one."""
    value = number(cell, *marks)
    if value is None:
        value = number(cell)
    if value is None and "," in cell and (table.decimal or table.separator != ","):
        value = number(cell, ",", ".")
    return value


def _otherwise(table: Cells, cell: str, marks: tuple[str, str]) -> str:
    """What the setting has to do with a cell that is no number by the marks of its column; empty where nothing."""
    if table.decimal:
        return f"data.decimal is '{table.decimal}'; " if _amount(table, cell, marks) is not None else ""
    found = ["," if marks[0] == "," or "," not in cell else "."]
    found = [one for one in found if number(cell, *marks) is None and number(cell, *MARKS[one]) is not None]
    return f"--set data.decimal={found[0]} reads it as a number; " if found else ""


def _column(table: Cells, index: int, notes: list[str], *, words: bool = False) -> dict[str, Any]:
    """A column as `encode` describes it; words: whatever it looks like. Raises TaskError where it is neither numbers
    nor a few words.
    """
    cells, name = table.column(index), table.names[index]
    if words:
        return _categories(table, index, notes, said=True)
    at_once = written(cells) if table.decimal != "," else None
    known = [cell for cell in cells if not missing(cell)] if at_once is None else cells
    marks = _decimal(table, index, known, notes)
    coded = _coded(known)
    numbers = [number(cell, *marks) for cell in known] if at_once is None else at_once.tolist()
    if known and not coded and None not in numbers:
        values = np.array(numbers, np.float64)
        _require_apart(table, index, values)
        finite = values[np.isfinite(values)]
        if len(values) > MANY_WORDS and (np.diff(values) == 1).all():
            notes.append(f"column '{name}' counts the rows; if it is no more than that, {_drop(name)}")
        scale = np.abs(finite).max(initial=0) or 1.0  # a sum of the largest doubles would be none
        fill = float((finite / scale).mean() * scale) if len(finite) else 0.0
        flag = _lacking(name, cells, known, notes)
        if not table.decimal and table.separator != "," and not any("." in cell for cell in known) and table.has_commas:
            marks = ",", ""  # of whole numbers too: a point in another file may be behind thousands
        thousands = {"thousands": marks[1]} if marks[1] else {}
        return {"name": name, "type": "number", "decimal": marks[0], **thousands, "fill": fill, "flag": flag}
    if order := _order(name, known, notes):
        values = np.array([days(cell, order) for cell in known], np.float64)
        return _date(name, order, values, _lacking(name, cells, known, notes))
    digits = coded and _are_digits(known)
    if not digits and sum(_amount(table, cell, marks) is not None for cell in known) > len(cells) / 2:
        row = next(row for row, cell in enumerate(cells) if not missing(cell) and _odd(cell, marks))
        raise TaskError(
            f"{table.path}: line {table.lines[row]}: column '{name}' holds numbers, and here '{cells[row]}'; "
            f"{_otherwise(table, cells[row], marks)}fill or leave out such rows, or drop the column; {_keep(name)}"
        )
    dates = {word for word in set(known) if any(days(word, order) is not None for order in ORDERS)}
    odd = next((row for row, cell in enumerate(cells) if not missing(cell) and cell not in dates), None)
    if odd is not None and sum(cell in dates for cell in known) > len(known) / 2:
        raise TaskError(
            f"{table.path}: line {table.lines[odd]}: column '{name}' holds dates, and here '{cells[odd]}'; "
            f"put right or leave out such rows, or drop the column; {_keep(name)}"
        )
    if not digits:
        notes += _said(f"column '{name}'", known)
    return _categories(table, index, notes)


def _coded(cells: Sequence[str]) -> bool:
    """Whether a column's numbers are names, since one of them begins with a nought."""
    return any(CODE.fullmatch(cell.lstrip("+-")) for cell in {cell for cell in cells if cell[:1] in "0+-"})


def _are_digits(cells: Sequence[str]) -> bool:
    return all(cell.isascii() and cell.isdigit() for cell in cells)


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


def _categories(table: Cells, index: int, notes: list[str], *, said: bool = False) -> dict[str, Any]:
    """A column of words; of too many the most frequent, where the settings said that it is one, else a TaskError."""
    cells, name = table.column(index), table.names[index]
    words = sorted(set(cells))
    found = f"column '{name}' has {len(words)} different words"
    if len(words) > max(MANY_WORDS, len(cells) / 2):
        notes.append(f"{found} on {len(cells)} rows; if they say nothing, {_drop(name)}")
    if len(words) > MOST_WORDS:
        if not said:
            raise TaskError(
                f"{table.path}: {found}; drop it: {_drop(name)}, or {_keep(name)}, the {MOST_WORDS} of most rows"
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


def _lacking(name: str, cells: Sequence[str], known: Sequence[str], notes: list[str]) -> bool:
    """Whether some of a column's values are missing, which is noted."""
    if len(known) < len(cells):
        notes.append(f"column '{name}' lacks {len(cells) - len(known)} of {len(cells)} values{LACKS}")
    return len(known) < len(cells)


def _order(name: str, cells: Sequence[str], notes: list[str]) -> str:
    """The order of year, month and day in a column of dates, one of `encode.ORDERS`; empty where it holds others."""
    found = [order for order in ORDERS if cells and all(days(cell, order) is not None for cell in cells)]
    alike = found == ["dmy", "mdy"] and not all("." in cell for cell in cells)  # with points the day is the first
    if alike:
        notes.append(f"column '{name}': day and month look alike, so its dates are words; write them as 2024-12-31")
    return found[0] if found and not alike else ""


def _date(name: str, order: str, values: Array, flag: bool) -> dict[str, Any]:
    """A column of dates, in days, with the periods in which they differ and that they span."""
    spread = np.ptp(values)
    periods = [one for one in PERIODS if spread >= one and np.ptp(values % one) > 0]
    return {
        "name": name, "type": "date", "order": order, "fill": float(values.mean()), "flag": flag, "periods": periods,
    }  # fmt: skip


def _odd(cell: str, marks: tuple[str, str]) -> bool:
    return number(cell, *marks) is None or _coded([cell])


def _require_apart(table: Cells, index: int, values: Array) -> None:
    """Raise TaskError where whole numbers beyond 2^53 are other ones as floating-point numbers, and that would show."""
    if np.abs(values).max() < 2**53 or not np.isfinite(values).all():  # an infinite one is told by its row
        return
    limit = PRECISION * float(values.std())
    for row, cell in enumerate(table.column(index)):
        if re.fullmatch(r"[+-]?[0-9]{16,}", cell) and abs(int(cell) - int(float(cell))) > limit:
            raise TaskError(
                f"{table.path}: line {table.lines[row]}: column '{table.names[index]}' holds whole numbers too close "
                f"together for their size, as {cell}; take away their smallest, or drop the column"
            )


@dataclass(frozen=True)
class _Target:
    """What the target column is: classes by name and in their own type, or numbers."""

    labels: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    decimal: str = "."
    thousands: str = ""

    def numbers(self, table: Cells, index: int, notes: list[str]) -> Array:
        """(N,) class numbers, or (N, 1) numbers. Raises TaskError and RowError."""
        cells = table.column(index)
        if not self.labels:
            return np.array([[self._number(row, cell, table.names[index])] for row, cell in enumerate(cells)])
        known = set(self.labels)
        if cells and all(cell.endswith(".") for cell in cells) and {cell[:-1] for cell in cells} <= known:
            notes.append(f"{table.path.name}: a full stop after every class is left out")  # as in UCI Adult's test file
            cells = [cell[:-1] for cell in cells]
        numeric = isinstance(self.values[0], int | float) and not isinstance(self.values[0], bool)
        numbers = {_exact(name) if numeric else name: place for place, name in enumerate(self.labels)}
        if numeric and self.thousands:
            cells = [plain(cell, self.decimal, self.thousands) for cell in cells]
        named = [_exact(cell) if numeric and number(cell) is not None else cell for cell in cells]
        for row, name in enumerate(named):
            if name not in numbers:
                said = ", ".join(self.labels[:10])
                raise RowError(row, f"class '{table.column(index)[row]}' is not one of {said}")
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


def _require_words(table: Cells, index: int, cells: Sequence[str], marks: tuple[str, str]) -> None:
    """Raise TaskError where most cells are numbers, not all of them whole, and one is a word: that is a mistake."""
    known = [value for cell in cells if (value := _amount(table, cell, marks)) is not None]
    if len(known) > len(cells) / 2 and not all(value.is_integer() for value in known):
        row = next(row for row, cell in enumerate(cells) if number(cell, *marks) is None)
        raise TaskError(
            f"{table.path}: line {table.lines[row]}: column '{table.names[index]}' holds numbers, and here "
            f"'{cells[row]}'; {_otherwise(table, cells[row], marks)}leave out such rows, or say kind = classification"
        )


def _target(table: Cells, index: int, reading: Reading, notes: list[str], *, words: bool = False) -> _Target:
    """What the column to predict is, as the settings say it, or as it looks; words: classes, and no numbers."""
    cells, name = table.column(index), table.names[index]
    known = [cell for cell in cells if not missing(cell)]
    if not any(cells):
        raise TaskError(
            f"{table.path}: column '{name}' is to be predicted and empty, as the last one is where lines end with "
            f"'{table.separator}'; name another: --target COLUMN"
        )
    coded = words or _coded(known)
    marks = (".", "") if words else _decimal(table, index, known, [])
    numbers = bool(known) and not coded and all(number(cell, *marks) is not None for cell in known)
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
    if reading.kind is None and not numbers and not coded:
        _require_words(table, index, cells, marks)
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
        notes += [] if words or (coded and _are_digits(known)) else _said(f"the target '{name}'", known)
    if len(labels) > MOST_CLASSES:
        said = "say kind = regression" if numbers else "choose another target"
        raise TaskError(f"{table.path}: {len(labels)} different classes in column '{name}'; {said}")
    if reading.kind is None and len(labels) > max(MANY_WORDS, len(cells) / 2):
        raise TaskError(
            f"{table.path}: {len(labels)} different classes on {len(cells)} rows in column '{name}', which is the last "
            "one or was named; --target COLUMN says which column to predict"
        )
    return _Target(tuple(labels), tuple(values), *marks)
