"""Rows of a table as numbers, by a description that JSON can hold; needs numpy alone, and stands in model.py as it is.

A column of the description is one of

    {"name": "age", "type": "number", "decimal": ".", "fill": 38.6, "flag": false}
    {"name": "job", "type": "category", "categories": ["clerk", "nurse", "smith"]}

A number is one number; where `flag` says so a second one is 1 where it is missing, and 0 elsewhere; a missing number is
`fill`. A category is one 0/1 number for each of its categories, all of them 0 for any other.
"""

import math
import re
from typing import Any

import numpy as np

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
MISSING = ("", "?", "na", "n/a", "#n/a", "<na>", "nan", "null", "none")


class RowError(ValueError):
    """A row that the description does not admit. row: its number from 0."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(f"row {row}: {message}")
        self.row, self.message = row, message


def missing(cell: Any) -> bool:
    """Whether a cell says that there is no value: None, NaN, nothing, or one of the words of MISSING."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(cell, str):
        return cell.strip(" \t").lower() in MISSING
    return isinstance(cell, (float, np.floating)) and math.isnan(cell)


def number(cell: Any, decimal: str = ".") -> float | None:
    """The number that a cell is, or writes in ASCII digits: no 1_10, no infinity. None where it is none."""
    if not isinstance(cell, str):
        try:
            return float(cell)
        except (TypeError, ValueError):
            return None
    text = cell.strip(" \t")
    if decimal != ".":
        text = text.replace(decimal, ".") if "." not in text else "?"
    return float(text) if NUMBER.fullmatch(text) else None


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
    return sum(1 + bool(one["flag"]) if one["type"] == "number" else len(one["categories"]) for one in columns)


def encode(columns: Any, rows: Any, names: Any = ()) -> Any:
    """Rows as float64 (N, width): a list of mappings by column, a DataFrame, or rows of cells in the order of `names`.

    names: of the cells of a row, where rows are no mappings; those of `columns` where there are as many cells. Raises
    RowError for a cell that is no number where one is due, and ValueError for a column that is not there.
    """
    count, cells_of = _by_column([one["name"] for one in columns], rows, names)
    x, at = np.zeros((count, width(columns))), 0
    for one in columns:
        cells = cells_of(one["name"])
        if one["type"] == "number":
            at += _numbers(one, cells, x[:, at:])
        else:
            places = {text: place for place, text in enumerate(one["categories"])}
            for row, cell in enumerate(cells):
                texts = one["categories"] if missing(cell) and not isinstance(cell, str) else spellings(cell)
                for text in texts:
                    if text in places and (texts is not one["categories"] or missing(text)):
                        x[row, at + places[text]] = 1.0
                        break
            at += len(places)
    return x


def _numbers(one: Any, cells: Any, x: Any) -> int:
    """Fill the first columns of x; how many they are."""
    for row, cell in enumerate(cells):
        if missing(cell):
            x[row, 0] = one["fill"]
            if one["flag"]:
                x[row, 1] = 1.0
            continue
        value = number(cell, one["decimal"])
        if value is None:
            raise RowError(row, f"'{cell}' in column '{one['name']}', which holds numbers")
        if not math.isfinite(value):
            raise RowError(row, f"{cell} in column '{one['name']}' is too large")
        x[row, 0] = value
    return 2 if one["flag"] else 1


def _by_column(wanted: Any, rows: Any, names: Any) -> Any:
    """How many rows, and a function that gives the cells of a column."""
    if hasattr(rows, "columns"):  # a DataFrame, of pandas or polars
        lacking = [name for name in wanted if name not in list(rows.columns)]
        if lacking:
            raise ValueError(f"no column '{lacking[0]}'; there are {', '.join(map(str, rows.columns))}")
        return len(rows), lambda name: rows[name].to_numpy().tolist() if len(rows) else []
    rows = rows.tolist() if isinstance(rows, np.ndarray) else list(rows)
    if rows and hasattr(rows[0], "keys"):
        for row, mapping in enumerate(rows):
            lacking = [name for name in wanted if name not in mapping]
            if lacking:
                raise RowError(row, f"no value for column '{lacking[0]}'")
        return len(rows), lambda name: [mapping[name] for mapping in rows]
    for row, cells in enumerate(rows):
        if len(cells) not in (len(wanted), len(names)):
            raise RowError(row, f"{len(cells)} values; the columns are {', '.join(wanted)}")
    order = wanted if not rows or len(rows[0]) == len(wanted) else list(names)
    return len(rows), lambda name: [cells[order.index(name)] for cells in rows]
