"""evaluations.csv: a row for each score, in columns that a spreadsheet shows."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from evosearch.logs.follow import Following
from evosearch.logs.rows import COLUMNS, Row, finite, measured, one_line, share_of

if TYPE_CHECKING:
    from evosearch.logs import Session

MOST_NAMES = 100  # objectives and metrics that have a column: a task that invents names makes no table
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # what a spreadsheet takes a cell for a formula by


class CommaSeparated(Following):
    """Its columns grow to the right: a name that is met for the first time gets a place behind those there are.

    Then the file is written anew, which happens once or twice at the beginning of a run. Names beyond MOST_NAMES
    stand in the JSON Lines alone.
    """

    name = "evaluations.csv"
    lead = 1

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.columns: dict[str, None] = dict.fromkeys(COLUMNS)

    def begin(self) -> bytes:
        self.columns = dict.fromkeys(COLUMNS)
        shares: dict[int, dict[str, Any]] = {}
        for record in self.run.records():
            if record["kind"] == "proposal" and (share := share_of(record)):
                shares[record["number"]] = share
            if record["kind"] == "score" and len(self.columns) < len(COLUMNS) + MOST_NAMES:
                names = [*shares.pop(record["number"], ()), *(name for name, _ in measured(record))]
                self.columns |= dict.fromkeys(names)
        self.columns = dict.fromkeys(itertools.islice(self.columns, len(COLUMNS) + MOST_NAMES))
        return _line(self.columns)

    def resumes(self, first: bytes) -> bool:
        names = next(csv.reader([first.decode("utf-8", "replace")]), [])
        self.columns = dict.fromkeys(names)
        return tuple(names[: len(COLUMNS)]) == COLUMNS and _line(self.columns) == first + b"\n"

    def fits(self, row: Row) -> bool:
        full = len(self.columns) >= len(COLUMNS) + MOST_NAMES
        return full or self.columns.keys() >= row.keys()

    def encode(self, row: Row) -> bytes:
        return _line(row.get(name) for name in self.columns)


def _line(cells: Iterable[Any]) -> bytes:
    """The cells as a line of CSV: lists as words, texts that no terminal and no spreadsheet takes for a command."""
    written = [_cell(cell) for cell in cells]
    plain = ",".join("" if cell is None else cell if type(cell) is str else str(cell) for cell in written)
    if plain.count(",") == len(written) - 1 and plain and not any(mark in plain for mark in '"\r\n'):
        return f"{plain}\n".encode("utf-8", "backslashreplace")  # no cell is quoted: csv would look at each character
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(written)
    return out.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    if value is None or type(value) is int:
        return value
    if isinstance(value, str):
        text = one_line(value)
        return f"'{text}" if text.startswith(FORMULA) else text
    if isinstance(value, list):
        return " ".join("" if item is None else str(item) for item in finite(value))
    return finite(value)
