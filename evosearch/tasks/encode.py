"""Rows of a table as numbers, by a description that JSON can hold; needs numpy alone, and stands in model.py as it is.

A column of the description is one of

    {"name": "age", "type": "number", "decimal": ".", "fill": 38.6, "flag": false}
    {"name": "job", "type": "category", "categories": ["clerk", "nurse", "smith"]}
    {"name": "hired", "type": "date", "order": "ymd", "fill": 15706.0, "flag": false, "periods": [365.2425, 7.0]}

A number may have "thousands" too, the mark that its texts may have between groups of three digits: "." where "decimal"
is ",".

A number is one number; where `flag` says so a second one is 1 where it is missing, and 0 elsewhere; a missing number is
`fill`. A category is one 0/1 number for each of its categories, all of them 0 for any other. A date is the days since
1970 began, a number like any other, and sine and cosine of its place in each of its periods, which are in days; these
are 0 where it is missing.
"""

import math
import re
from datetime import timedelta
from typing import Any

import numpy as np

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
GROUPED = {mark: re.compile(rf"[+-]?[1-9][0-9]{{0,2}}(?:[{mark}][0-9]{{3}})+", re.ASCII) for mark in ".,"}  # 1.234
WRITTEN = re.compile(f"(?:(?:{NUMBER.pattern})\\n)*+", re.ASCII)
MISSING = ("", "?", "na", "n/a", "#n/a", "<na>", "nan", "null", "none")
LONGEST = max(map(len, MISSING))
ORDERS = ("ymd", "dmy", "mdy")  # of year, month and day in a date
PARTS = {"y": "(?P<y>[0-9]{4})", "m": "(?P<m>[0-9]{1,2})", "d": "(?P<d>[0-9]{1,2})"}
CLOCK = (
    r"(?:[ T](?P<time>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)"
    r"(?:Z|(?P<east>[+-][0-9]{2}):?(?P<more>[0-9]{2}))?)?"
)
DATES = {one: re.compile("[-/.]".join(PARTS[part] for part in one) + CLOCK, re.ASCII) for one in ORDERS}
DAY = np.timedelta64(1, "D")


class RowError(ValueError):
    """A row that the description does not admit. row: its number from 0. column: whose cell is of another type."""

    def __init__(self, row: int, message: str, column: str = "") -> None:
        super().__init__(f"row {row}: {message}")
        self.row, self.message, self.column = row, message, column


def missing(cell: Any) -> bool:
    """Whether a cell says that there is no value: None, NaN, nothing, or one of the words of MISSING."""
    if isinstance(cell, str):
        text = cell.strip(" \t")
        return len(text) <= LONGEST and text.lower() in MISSING
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(cell, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(cell))
    return isinstance(cell, (float, np.floating)) and math.isnan(cell)


def plain(text: str, decimal: str = ".", thousands: str = "") -> str:
    """The text of a number as Python writes it, from one with this mark before decimals and perhaps that one between
    groups of three digits; "?" where it is none.
    """
    text = text.strip(" \t")
    if thousands and thousands in text:
        whole, mark, rest = text.partition(decimal)
        text = whole.replace(thousands, "") + mark + rest if GROUPED[thousands].fullmatch(whole) else "?"
    if decimal != ".":
        text = text.replace(decimal, ".") if "." not in text else "?"
    return text if NUMBER.fullmatch(text) else "?"


def number(cell: Any, decimal: str = ".", thousands: str = "") -> float | None:
    """The number that a cell is, or writes in ASCII digits, marked as `plain` has it: no 1_10, no infinity. Of a length
    of time its days. None where it is none.
    """
    if not isinstance(cell, str):
        if isinstance(cell, (np.timedelta64, timedelta)):
            return float(np.timedelta64(cell) / DAY)
        if isinstance(cell, (complex, np.complexfloating)):
            return None
        try:
            return float(cell)
        except (TypeError, ValueError):
            return None
    text = plain(cell, decimal, thousands)
    return float(text) if text != "?" else None


def written(cells: Any) -> Any:
    """(N,) float64, the numbers of a whole column at once, where each cell is a text that writes a finite one and
    nothing else, with a point before decimals; else None: then they are to be asked for one by one.
    """
    try:
        text = "\n".join([*cells, ""])
    except TypeError:  # a cell that is no text
        return None
    if text.count("\n") != len(cells) or not WRITTEN.fullmatch(text):
        return None
    values = np.array([*map(float, cells)], np.float64)
    return values if np.isfinite(values).all() else None


def days(cell: Any, order: str = "ymd") -> float | None:
    """Days since 1970 began, UTC, of a date or time: Python's, NumPy's, or written as 2024-12-31, with 08:30 behind it
    perhaps and +01:00 behind that; also with year, month and day in this order. None of all else.
    """
    if not isinstance(cell, str):
        cell = cell.isoformat() if hasattr(cell, "isoformat") else str(cell)
    text = cell.strip(" \t")
    found = DATES["ymd"].fullmatch(text) or DATES[order].fullmatch(text)
    if found is None:
        return None
    date, clock = f"{found['y']}-{found['m']:0>2}-{found['d']:0>2}", found["time"] or "00:00"
    try:
        stamp = np.datetime64(f"{date}T{clock:0>{len(clock) + (clock[1] == ':')}}") - np.datetime64(0, "D")
    except ValueError:  # no such day, or hour
        return None
    east = (int(found["east"]) * 60 + int(f"{found['east'][0]}{found['more']}")) / 1440 if found["east"] else 0.0
    return float(stamp / DAY) - east


def spellings(cell: Any) -> tuple[str, ...]:
    """The texts that a cell may stand for, the likeliest first: a column of 1 and 2 may come back as 1.0 and 2.0."""
    if isinstance(cell, str):
        return (cell.strip(" \t"),)
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return (str(int(cell)), str(float(cell)))
    if isinstance(cell, (bool, np.bool_)):
        return (str(bool(cell)), str(bool(cell)).lower(), str(bool(cell)).upper(), str(int(cell)))
    return (str(cell),)


def width(columns: Any) -> int:
    """How many numbers a row becomes."""
    return sum(
        len(one["categories"]) if one["type"] == "category" else 1 + bool(one["flag"]) + 2 * len(one.get("periods", ()))
        for one in columns
    )


def encode(columns: Any, rows: Any, names: Any = ()) -> Any:
    """Rows as float64 (N, width): a list of mappings by column, a DataFrame, or rows of cells in the order of `names`.

    names: of the cells of a row, where rows are no mappings; those of `columns` where there are as many cells. Raises
    RowError for a cell that is no number where one is due, and ValueError for a column that is not there.
    """
    count, cells_of = _by_column([one["name"] for one in columns], rows, names)
    x, at = np.zeros((count, width(columns))), 0
    fill = {"number": _numbers, "category": _words, "date": _dates}
    for one in columns:
        end = at + width([one])
        fill[one["type"]](one, cells_of(one["name"]), x[:, at:end])
        at = end
    return x


def _numbers(one: Any, cells: Any, x: Any) -> None:
    decimal, thousands = one["decimal"], one.get("thousands", "")
    if (values := written(cells)) is not None and (decimal == "." or not any("." in cell for cell in cells)):
        x[:, 0] = values
        return
    pointed = None  # looked at once, and only where it matters
    for row, cell in enumerate(cells):
        if missing(cell):
            _fill(one, x[row])
            continue
        value = number(cell, decimal, thousands)
        if value is None and not thousands:
            value = number(cell)  # the column was trained on with a comma before its decimals, and here is a point
            if value is not None and GROUPED["."].fullmatch(cell.strip(" \t")):
                pointed = _pointed(cells) if pointed is None else pointed
                if not pointed:
                    said = "may be a thousand and more, or a number with three decimals; write"
                    texts = f"{cell.replace('.', '')} or {cell.replace('.', ',')}"
                    raise RowError(row, f"'{cell}' in column '{one['name']}' {said} {texts}")
        if value is None:
            how = f" as 1{thousands}234{decimal}5" if thousands else ""
            raise RowError(row, f"'{cell}' in column '{one['name']}', which holds numbers{how}", one["name"])
        if not math.isfinite(value):
            raise RowError(row, f"{cell} in column '{one['name']}' is too large")
        x[row, 0] = value


def _pointed(cells: Any) -> bool:
    """Whether points stand before decimals: no comma anywhere, and a point in a cell that no thousand is written as."""
    texts = [cell.strip(" \t") for cell in cells if isinstance(cell, str)]
    pointed = [text for text in texts if "." in text and number(text) is not None]
    return not any("," in text for text in texts) and not all(map(GROUPED["."].fullmatch, pointed))


def _fill(one: Any, x: Any) -> None:
    """What stands for a number or a date that is missing."""
    x[0] = one["fill"]
    if one["flag"]:
        x[1] = 1.0


def _words(one: Any, cells: Any, x: Any) -> None:
    places = {text: place for place, text in enumerate(one["categories"])}
    absent = [place for text, place in places.items() if missing(text)][:1]
    amounts: dict[float, list[int]] = {}  # of those that write a number: 7 may stand for 007, where nothing else does
    for text, place in places.items():
        if (value := number(text)) is not None:
            amounts.setdefault(value, []).append(place)
    for row, cell in enumerate(cells):
        found = [places[text] for text in spellings(cell) if text in places][:1]
        if not found and missing(cell):
            found = absent
        elif not found and not isinstance(cell, str) and (value := number(cell)) is not None:
            found = amounts.get(value, [])
        if len(found) == 1:
            x[row, found[0]] = 1.0


def _dates(one: Any, cells: Any, x: Any) -> None:
    after = 1 + bool(one["flag"])
    for row, cell in enumerate(cells):
        if missing(cell):
            _fill(one, x[row])
            continue
        value = days(cell, one["order"])
        if value is None:
            raise RowError(row, f"'{cell}' in column '{one['name']}', which holds dates, as 2024-12-31", one["name"])
        x[row, 0] = value
        for place, period in enumerate(one["periods"]):
            angle = 2 * math.pi * math.fmod(value, period) / period
            x[row, after + 2 * place : after + 2 * place + 2] = math.sin(angle), math.cos(angle)


def cells_of(column: Any) -> Any:
    """A DataFrame's column as a list of cells."""
    values = column.to_numpy()
    return list(values) if values.dtype.kind in "mM" else values.tolist()


def titles(columns: Any) -> Any:
    """The names by which a DataFrame's columns are known, as in a file: without spaces around; of none its number."""
    said = [str(name).strip(" \t") for name in columns]
    return [one or (str(at) if str(at) not in said else f"unnamed {at}") for at, one in enumerate(said)]


def _by_column(wanted: Any, rows: Any, names: Any) -> Any:
    """How many rows, and a function that gives the cells of a column."""
    if hasattr(rows, "columns"):  # a DataFrame, of pandas or polars
        there = dict(zip(titles(rows.columns), rows.columns, strict=True))
        lacking = [name for name in wanted if name not in there]
        if lacking:
            raise ValueError(f"no column '{lacking[0]}'; there are {', '.join(there)}")
        return len(rows), lambda name: cells_of(rows[there[name]]) if len(rows) else []
    if hasattr(rows, "keys"):  # one row by itself
        rows = [rows]
    rows = rows.tolist() if isinstance(rows, np.ndarray) else list(rows)
    if rows and hasattr(rows[0], "keys"):
        for row, mapping in enumerate(rows):
            lacking = [name for name in wanted if name not in mapping]
            if lacking:
                raise RowError(row, f"no value for column '{lacking[0]}'")
        return len(rows), lambda name: [mapping[name] for mapping in rows]
    for row, cells in enumerate(rows):
        if isinstance(cells, str) or not hasattr(cells, "__len__"):
            raise RowError(row, f"{cells!r} is no row; a row is a mapping by column, or a list of cells")
        if len(cells) not in (len(wanted), len(names)) or len(cells) != len(rows[0]):
            raise RowError(row, f"{len(cells)} values; the columns are {', '.join(wanted)}")
    order = wanted if not rows or len(rows[0]) == len(wanted) else names
    places = {name: place for place, name in enumerate(order)}
    return len(rows), lambda name: [cells[places[name]] for cells in rows]
