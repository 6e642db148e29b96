"""A column of a table, and by which marks its cells are numbers: 1234.5, 1,234.5 or 1.234,5."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.cells import COMMA
from evosearch.tasks.encode import GROUPED, missing, number, written

if TYPE_CHECKING:
    from evosearch.tasks.base import Array
    from evosearch.tasks.cells import Cells

MARKS = {".": (".", ","), ",": (",", ".")}  # before decimals, and between thousands, where the settings say it
CODE = re.compile(r"[+-]*0[0-9]+", re.ASCII)  # 007 is a name, no number
WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table, by its place."""

    table: Cells
    index: int

    @property
    def name(self) -> str:
        return self.table.names[self.index]

    @cached_property
    def cells(self) -> list[str]:
        return [row[self.index] for row in self.table.rows]

    @cached_property
    def known(self) -> list[str]:
        """The cells that have a value."""
        return self.cells if self._written is not None else [cell for cell in self.cells if not missing(cell)]

    @cached_property
    def coded(self) -> bool:
        """Whether its numbers are names, since one of them begins with a nought."""
        return any(map(CODE.fullmatch, {cell for cell in self.known if cell[:1] in "0+-"}))

    @property
    def is_digits(self) -> bool:
        """Whether all its names are such numbers."""
        return self.coded and all(cell.isascii() and cell.isdigit() for cell in self.known)

    @cached_property
    def numbers(self) -> Array | None:
        """(K,) float64, what the cells that have a value write; None where one writes none, or they are names."""
        if not self.known or self.coded:
            return None
        if self._written is not None:
            return self._written
        found = [value for cell in self.known if (value := number(cell, *self.marks)) is not None]
        return np.array(found, np.float64) if len(found) == len(self.known) else None

    @cached_property
    def _written(self) -> Array | None:
        found: Array | None = written(self.cells) if self.table.decimal != "," else None
        return found

    @cached_property
    def commas(self) -> list[str]:
        """The cells with a comma before their decimals, where looks tell that, and all known are numbers so written."""
        found = [cell for cell in self.known if DECIMAL_COMMA.fullmatch(cell)] if self.table.undecided else []
        return found if found and all(number(cell, ",") is not None for cell in self.known) else []

    @cached_property
    def marks(self) -> tuple[str, str]:
        """What stands before its decimals, and between its thousands: as the settings say; else a point, or where
        commas do not separate cells perhaps a comma, and nothing.

        Raises TaskError where a mark may stand before decimals or behind thousands.
        """
        if self.table.decimal:
            return MARKS[self.table.decimal]
        if not self.table.undecided:
            return ".", ""
        if self.commas:
            if all(map(GROUPED[","].fullmatch, self.commas)):
                raise self._ambiguous(self.commas[0])
            return ",", ""
        self.require_points(self)
        read = [cell for cell in self.known if COMMA.search(cell) and number(cell, ",", ".") is not None]
        most = len(read) >= sum("." in cell and number(cell) is not None for cell in self.known)
        return ("," if read and most else "."), ""  # there are words or thousands too, which the caller tells

    def require_points(self, train: Column) -> None:
        """Raise TaskError where the points of a column of numbers may all be behind thousands, as in 901 and 1.877, in
        a table with decimal commas. A point before decimals in the column to train on shows what they are.
        """
        if not (self.table.has_commas or train.table.has_commas):
            return
        shown = (
            not (WHOLE.fullmatch(cell) or GROUPED["."].fullmatch(cell) or missing(cell))
            for cells in (self.cells, train.cells)
            for cell in cells
        )
        pointed = next((cell for cell in self.cells if "." in cell), None)
        if pointed is not None and not any(shown):
            raise self._ambiguous(pointed)

    def _ambiguous(self, cell: str) -> TaskError:
        line = self.table.lines[self.cells.index(cell)]
        return TaskError(
            f"{self.table.path}: line {line}: '{cell}' in column '{self.name}' may be a thousand and more, or a "
            "number with three decimals; --set data.decimal=, or --set data.decimal=. says which mark is before the "
            "decimals of all columns"
        )

    def amount(self, cell: str) -> float | None:
        """The number that a cell may write: by the column's marks, with a point, or with a comma that cuts no cells."""
        value = number(cell, *self.marks)
        if value is None:
            value = number(cell)
        if value is None and "," in cell and (self.table.decimal or self.table.undecided):
            value = number(cell, *MARKS[","])
        return value

    def no_number(self, row: int, cure: str) -> TaskError:
        """That the column holds numbers, and none in a row; cure: what to do, beside what `data.decimal` has to do."""
        cell, decimal = self.cells[row], self.table.decimal
        other = "," if self.marks[0] == "," or "," not in cell else "."
        if decimal and self.amount(cell) is not None:
            cure = f"data.decimal is '{decimal}'; {cure}"
        elif not decimal and number(cell, *self.marks) is None and number(cell, *MARKS[other]) is not None:
            cure = f"--set data.decimal={other} reads it as a number; {cure}"
        return self.wrong(row, f"holds numbers, and here '{cell}'; {cure}")

    def wrong(self, row: int, message: str) -> TaskError:
        """What is to be said of the cell in a row."""
        return TaskError(f"{self.table.path}: line {self.table.lines[row]}: column '{self.name}' {message}")
