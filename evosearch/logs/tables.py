"""A run's evaluations as files that other programs read: `evaluations.csv` and `evaluations.jsonl`.

    number,key,status,...,text,objective_accuracy,...       evaluations.csv: a spreadsheet, pandas, a shell
    {"number": 0, "key": "3f9a...", "status": "ok", ...}    evaluations.jsonl: jq, pandas; every text exactly as it is

The journal is the truth and these follow from it, to the byte: a row for each score, in the
order in which scores came. They are written when scores arrive and not synced, and nothing depends on them. Resuming
cuts off what is not whole and adds what is missing; where the disk refuses, the log says so and the run goes on.
Commands that read a run never write them.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import logging
import math
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from evosearch.errors import StorageError
from evosearch.report.text import clean
from evosearch.store.disk import refusal
from evosearch.store.lock import is_written
from evosearch.store.verify import Finding

if TYPE_CHECKING:
    from evosearch.store.run import Record, Run

log = logging.getLogger(__name__)

Row = dict[str, Any]

# What every row has, in this order. Behind it stand objective_NAME and metric_NAME of what the task measures.
COLUMNS = (
    "number", "key", "status", "operator", "parents", "params", "flops", "activations", "modules", "seconds", "at",
    "seed", "curve", "error", "text",
)  # fmt: skip
MOST_NAMES = 100  # objectives and metrics that have a column: a task that invents names makes no table
CHUNK = 1 << 20  # bytes read or written at a time
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # what a spreadsheet takes a cell for a formula by


class Logs:
    """Both files of a run that is open for writing, brought up to its journal. Never raises for what a disk does."""

    def __init__(self, run: Run) -> None:
        self.logs: tuple[_Log, ...] = (_Table(run), _Lines(run))
        for one in self.logs:
            one.attempt(one.complete)

    def add(self, evaluations: Sequence[tuple[Record, Record]]) -> None:
        """Write what was journaled: proposals and their scores, in the journal's order, as the journal's records."""
        rows = [row(proposal, score) for proposal, score in evaluations]
        for one in self.logs:
            if one.descriptor >= 0:
                one.attempt(one.append, rows)

    def close(self) -> None:
        """Write what a disk refused earlier, if it takes it now; let go of the files."""
        for one in self.logs:
            if one.descriptor < 0:
                one.attempt(one.complete)
            one.close()


def row(proposal: Mapping[str, Any], score: Mapping[str, Any]) -> Row:
    """A proposal's record and its score's as one flat row; what is of another kind than it should be is left out."""
    cost = _mapping(score.get("cost"))
    return {
        "number": proposal.get("number"),
        "key": proposal.get("key"),
        "status": score.get("status"),
        "operator": proposal.get("operator"),
        "parents": _list(proposal.get("parents")),
        "params": cost.get("params"),
        "flops": cost.get("flops"),
        "activations": cost.get("activations"),
        "modules": cost.get("modules"),
        "seconds": score.get("seconds"),
        "at": score.get("at"),
        "seed": score.get("seed"),
        "curve": _list(score.get("curve")),
        "error": score.get("error"),
        "text": proposal.get("text"),
        **dict(_measured(score)),
    }


def _measured(score: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What the task measured, each under the name of its column."""
    for kind in ("objective", "metric"):
        for name, value in _mapping(score.get(f"{kind}s")).items():
            yield f"{kind}_{_text(str(name))}", value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def rows(run: Run, skip: int = 0) -> Iterator[Row]:
    """What the journal says, a row for each score but the first `skip`; holds no more than what is in flight."""
    waiting: dict[int, Record] = {}
    for record in run.records():
        if record["kind"] == "proposal":
            waiting[record["number"]] = record
        elif record["kind"] == "score":
            proposal = waiting.pop(record["number"])
            if skip:
                skip -= 1
                continue
            yield row(proposal, record)


def verify(run: Run) -> list[Finding]:
    """Where the files of a run whose journal checks are not what the journal says, to the byte; changes nothing.

    A file that is not there is no finding: an older evosearch wrote none. A run at work is not looked at.
    """
    if is_written(run.folder):
        return []
    return [finding for one in (_Table(run), _Lines(run)) for finding in one.verify()]


def repair(run: Run) -> list[str]:
    """Write anew what is not what the journal of a run open for writing says. Returns what was done, a line each, and
    what a disk refused.
    """
    done = []
    for one in (_Table(run), _Lines(run)):
        if one.path.exists() and not list(one.verify()):
            continue
        try:
            one.rewrite()
            done.append(f"{one.name}: written anew from {run.scores} scores")
        except StorageError as error:
            done.append(f"{one.name}: not written: {error}")
        one.close()
    return done


class _Log(ABC):
    """One of the files. lead: the lines before the first row."""

    name: ClassVar[str]
    lead: ClassVar[int] = 0

    def __init__(self, run: Run) -> None:
        self.run, self.path = run, run.folder / self.name
        self.descriptor = -1
        self.said = False

    # What the two differ in

    def begin(self) -> bytes:
        """Settle on the columns that the journal asks for; the lines before the first row."""
        return b""

    def resumes(self, first: bytes) -> bool:
        """Whether the file, which begins with this line, can be gone on with."""
        return True

    def fits(self, row: Row) -> bool:
        """Whether the row has a place in the file as it was begun."""
        return True

    @abstractmethod
    def encode(self, row: Row) -> bytes:
        """The row as one line."""

    # Writing

    def attempt(self, step: Any, *arguments: Any) -> None:
        """Take a step that the run can do without."""
        try:
            step(*arguments)
        except StorageError as error:
            self.close()
            if not self.said:
                log.warning("a log of the run is not kept up, and the run goes on without it: %s", error)
            self.said = True

    def complete(self) -> None:
        """Cut off what is not whole, add what is missing; write the file anew where it cannot be gone on with."""
        disk = self.run.disk
        self.descriptor = disk.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        lines, end, size = self._measure()
        written = lines - self.lead
        if written < 0 or written > self.run.scores or not self.resumes(self._first()):
            self.rewrite()
            return
        if end < size:
            disk.truncate(self.descriptor, self.path, end)
        if written < self.run.scores:
            missing = rows(self.run, written)
            while part := list(itertools.islice(missing, 1_000)):
                self.append(part)

    def append(self, rows: Sequence[Row]) -> None:
        if all(self.fits(row) for row in rows):
            self.run.disk.write(self.descriptor, self.path, b"".join(map(self.encode, rows)))
        else:
            self.rewrite()

    def rewrite(self) -> None:
        """The file of the whole journal, written beside and renamed: a reader never finds half of it."""
        self.close()
        disk = self.run.disk
        with disk.replacing(self.path, durable=False) as beside:
            self.descriptor = disk.open(beside, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
            for chunk in _chunks(self.lines()):
                disk.write(self.descriptor, beside, chunk)

    def close(self) -> None:
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)

    # Reading

    def lines(self) -> Iterator[bytes]:
        """The file as it should be."""
        yield self.begin()
        yield from map(self.encode, rows(self.run))

    def verify(self) -> Iterator[Finding]:
        cure, completing = "`evolve repair` writes it anew", "`evolve resume` or `evolve repair` completes it"
        try:
            if not stat.S_ISREG(self.path.lstat().st_mode):
                yield Finding(self.name, "it is no plain file", "move it away; `evolve repair` writes the file")
                return
            with self.path.open("rb", buffering=CHUNK) as file:
                for number, line in enumerate(self.lines()):
                    there = file.read(len(line))
                    if there == line:
                        continue
                    where = f"evaluation {number} of the journal" if number else "its first line"
                    if line.startswith(there):
                        yield Finding(self.name, f"it ends before {where}", completing)
                    else:
                        yield Finding(self.name, f"{where} reads otherwise there than in the journal", cure)
                    return
                if file.read(1):
                    yield Finding(self.name, "it has something behind the journal's last evaluation", cure)
        except FileNotFoundError:
            return
        except OSError as error:
            raise refusal(self.path, error) from error

    def _measure(self) -> tuple[int, int, int]:
        """(whole lines, the offset after them, the file's size); no lines where zeros never arrived on the disk."""
        lines = end = offset = 0
        while chunk := self._read(CHUNK, offset):
            if b"\0" in chunk:
                return -1, 0, 0
            lines += chunk.count(b"\n")
            if (last := chunk.rfind(b"\n")) >= 0:
                end = offset + last + 1
            offset += len(chunk)
        return lines, end, offset

    def _first(self) -> bytes:
        return self._read(1 << 16, 0).partition(b"\n")[0]

    def _read(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self.descriptor, size, offset)
        except OSError as error:
            raise refusal(self.path, error) from error


class _Lines(_Log):
    name = "evaluations.jsonl"

    def encode(self, row: Row) -> bytes:
        try:
            return _json(row)
        except ValueError:  # a number that JSON has no word for: seldom, and looking for it takes as long as writing
            return _json({name: _finite(value) for name, value in row.items()})


class _Table(_Log):
    """Its columns grow to the right: a name that is met for the first time gets a place behind those there are.

    Then the file is written anew, which happens once or twice at the beginning of a run. Names beyond MOST_NAMES
    stand in the JSON Lines alone.
    """

    name = "evaluations.csv"
    lead = 1

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.columns: dict[str, None] = dict.fromkeys(COLUMNS)

    def begin(self) -> bytes:
        self.columns = dict.fromkeys(COLUMNS)
        for record in self.run.records():
            if record["kind"] == "score" and len(self.columns) < len(COLUMNS) + MOST_NAMES:
                self.columns |= dict.fromkeys(name for name, _ in _measured(record))
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


def _json(row: Row) -> bytes:
    """The row in one line of ASCII: exact, and nothing in it moves a terminal's cursor. ValueError for inf and NaN."""
    return (json.dumps(row, separators=(",", ":"), allow_nan=False, default=str) + "\n").encode()


def _finite(value: Any) -> Any:
    """The value, or None in place of a number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _line(cells: Iterable[Any]) -> bytes:
    """The cells as a line of CSV: lists as words, texts that no terminal and no spreadsheet takes for a command."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return out.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        text = _text(value)
        return f"'{text}" if text.startswith(FORMULA) else text
    if isinstance(value, list):
        return " ".join("" if item is None else str(item) for item in _finite(value))
    return _finite(value)


def _text(text: str) -> str:
    """The text as it stands in one line."""
    return clean(text.replace("\n", " ").replace("\t", " "))


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines put together to pieces of about CHUNK bytes."""
    gathered, size = [], 0
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size >= CHUNK:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)
