"""All candidates of a run in columns: what figures need of each, in some hundred bytes. The rest stays in the journal,
where it is read by its offset when somebody asks for it.
"""

from __future__ import annotations

import itertools
import math
from array import array
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.store.framing import Frames
from evosearch.store.run import JOURNAL_FILE, Contents, Record, Run, reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MESSAGES = 10_000  # texts of errors that are counted, each by itself; of more, those that came first
DIGITS = 16  # of a key that its column holds
HEXADECIMAL = "0123456789abcdef"


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns, in the order proposed, which is that of the candidates' numbers.

    proposed, scored: offsets of the records; scored is -1 where there is none yet.
    keys: the first 64 bits of each key (`key_bits`). operators, statuses: places in `operator_names`, `status_names`;
    a status is -1 while there is none.
    fidelities: the share of a whole evaluation that each gets.
    parents, ends: the numbers of earlier candidates that are named as parents, all in a row; those of n end at ends[n].
    orphans: whether no parents are named. at, seconds: when the score came, how long it took; NaN where that is not
    known. values: of a candidate that succeeded, by name, as `measured` in `report.figures`; NaN where there is none.
    foreseen: candidates of which something was expected, by number; expected: of each the quantile of its first
    objective.
    messages: of failures, by status and error: how many, and the first candidate of them.
    """

    proposed: NDArray[np.int64]
    scored: NDArray[np.int64]
    keys: NDArray[np.uint64]
    operators: NDArray[np.int32]
    statuses: NDArray[np.int32]
    fidelities: NDArray[np.float64]
    parents: NDArray[np.int64]
    ends: NDArray[np.int64]
    orphans: NDArray[np.bool_]
    at: NDArray[np.float64]
    seconds: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]
    operator_names: tuple[str, ...]
    status_names: tuple[str, ...]
    messages: Mapping[tuple[str, str], tuple[int, int]]
    foreseen: NDArray[np.int64]
    expected: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.proposed)

    @property
    def first_parents(self) -> NDArray[np.int64]:
        """Of each candidate the first of its known parents, -1 where it has none."""
        begins = np.concatenate(([0], self.ends[:-1])) if len(self) else self.ends
        found = np.full(len(self), -1, dtype=np.int64)
        has = self.ends > begins
        found[has] = self.parents[begins[has]]
        return found

    def parents_of(self, number: int) -> list[int]:
        """The known parents of one candidate."""
        begin = int(self.ends[number - 1]) if number else 0
        return [int(parent) for parent in self.parents[begin : int(self.ends[number])]]

    def operator_place(self, name: str) -> int:
        """Where an operator stands among the names; -1 where it made nothing."""
        return self.operator_names.index(name) if name in self.operator_names else -1

    def status(self, name: str) -> NDArray[np.bool_]:
        """Whether each candidate has this status."""
        place = self.status_names.index(name) if name in self.status_names else -2
        found: NDArray[np.bool_] = self.statuses == place
        return found

    def beginning_with(self, key: str) -> NDArray[np.int64]:
        """Candidates whose key may begin so: all that do, and hardly any other."""
        if not key or key.strip(HEXADECIMAL):
            return np.arange(len(self))
        shift = np.uint64(4 * (DIGITS - min(len(key), DIGITS)))
        return np.flatnonzero(self.keys >> shift == np.uint64(key_bits(key)) >> shift)


def key_bits(key: Any) -> int:
    """The first 64 bits of a key; 64 bits of its own where it is no hexadecimal number: a journal may hold any."""
    if isinstance(key, str) and not key.strip(HEXADECIMAL):
        return int(key[:DIGITS].ljust(DIGITS, "0"), 16)
    return int.from_bytes(blake2b(str(key).encode("utf-8", "replace"), digest_size=8).digest(), "big")


class Gathering:
    """The columns of a run's journal, as far as it was read.

    names: of the values. offset: of the journal, up to where it is read. numbers: of candidates in the order in which
    their scores came.
    """

    def __init__(self, run: Run, names: Sequence[str]) -> None:
        self.journal, self.offset = run.folder / JOURNAL_FILE, run.end
        self.numbers = array("q")
        self._contents = Contents()
        self._proposed, self._keys, self._operators, self._fidelities = array("q"), array("Q"), array("i"), array("d")
        self._parents, self._ends, self._orphans = array("q"), array("q"), bytearray()
        self._scored, self._statuses, self._at, self._seconds = array("q"), array("i"), array("d"), array("d")
        self._operator_places: dict[str, int] = {}
        self._status_places: dict[str, int] = {}
        self._messages: dict[tuple[str, str], tuple[int, int]] = {}
        self._values = {name: array("d") for name in names}
        self._foreseen, self._expected = array("q"), array("d")

    @property
    def notes(self) -> tuple[Record, ...]:
        return tuple(self._contents.notes)

    def read(self) -> None:
        """Take in what the journal has from `offset` on, as a stream. Raises RunCorrupt where it does not check."""
        with reading(self.journal) as file:
            for end, record in self._contents.read(Frames(file, self.journal, self.offset)):
                if record["kind"] == "proposal":
                    self._propose(record)
                elif record["kind"] == "score":
                    self._score(record)
                self.offset = end

    def _propose(self, record: Record) -> None:
        number = record["number"]
        self._proposed.append(self.offset)
        self._keys.append(key_bits(record["key"]))
        self._operators.append(self._operator_places.setdefault(record["operator"], len(self._operator_places)))
        self._fidelities.append(record.get("fidelity", 1.0))
        named = record["parents"]
        for parent in named:
            if 0 <= parent < number:
                self._parents.append(parent)
        self._ends.append(len(self._parents))
        self._orphans.append(not named)
        if expected := record.get("expected"):
            self._foreseen.append(number)
            self._expected.append(expected[0])

    def _score(self, record: Record) -> None:
        number = record["number"]
        self.numbers.append(number)
        self._scored.append(self.offset)
        status = str(record["status"])
        self._statuses.append(self._status_places.setdefault(status, len(self._status_places)))
        self._at.append(finite(record.get("at")))
        self._seconds.append(finite(record.get("seconds")))
        if status == "ok":
            cost, objectives, row = cost_of(record), record["objectives"], len(self.numbers) - 1
            for name, column in self._values.items():
                if name in objectives or name in cost or name == "seconds":
                    column.extend(itertools.repeat(math.nan, row - len(column)))  # of those that have none
                    column.append(figure(record, cost, name))
        else:
            told = status, str(record.get("error") or "no message")
            count, first = self._messages.get(told, (0, number))
            if count or len(self._messages) < MESSAGES:
                self._messages[told] = count + 1, min(first, number)

    def columns(self, *, last: bool = False) -> Columns:
        """The columns now; what is read later does not change them. last: nothing is, so that no column is copied."""
        size, numbers = len(self._proposed), np.frombuffer(self.numbers, dtype=np.int64)
        in_order = len(numbers) == size and bool((numbers == np.arange(size)).all())

        def kept(column: array[Any] | bytearray, kind: type) -> NDArray[Any]:
            return np.frombuffer(column, dtype=kind) if last else np.array(column, dtype=kind)

        def spread(column: array[Any], fill: float, kind: type) -> NDArray[Any]:
            """A column in the order in which scores came as one in the order proposed; what it lacks is `fill`."""
            if not column:
                return np.broadcast_to(np.array(fill, dtype=kind), size)
            if in_order and len(column) == size:
                return kept(column, kind)
            found: NDArray[Any] = np.full(size, fill, dtype=kind)
            found[numbers[: len(column)]] = np.frombuffer(column, dtype=kind)
            return found

        return Columns(
            kept(self._proposed, np.int64),
            spread(self._scored, -1, np.int64),
            kept(self._keys, np.uint64),
            kept(self._operators, np.int32),
            spread(self._statuses, -1, np.int32),
            kept(self._fidelities, np.float64),
            kept(self._parents, np.int64),
            kept(self._ends, np.int64),
            kept(self._orphans, np.bool_),
            spread(self._at, math.nan, np.float64),
            spread(self._seconds, math.nan, np.float64),
            {name: spread(column, math.nan, np.float64) for name, column in self._values.items()},
            tuple(self._operator_places),
            tuple(self._status_places),
            dict(self._messages),
            kept(self._foreseen, np.int64),
            kept(self._expected, np.float64),
        )


def column(run: Run, name: str, size: int) -> NDArray[np.float64]:
    """One more column of values, of the first so many candidates: the journal is read once more."""
    found = np.full(size, math.nan)
    for record in run.records():
        if record["kind"] == "score" and record["number"] < size:
            found[record["number"]] = figure(record, cost_of(record), name)
    return found


def cost_of(score: Mapping[str, Any]) -> Mapping[str, Any]:
    """A score's cost; empty where the candidate is no network, whose costs are recorded as zeros."""
    cost: Mapping[str, Any] = score["cost"]
    return cost if any(cost.values()) else {}


def figure(score: Mapping[str, Any], cost: Mapping[str, Any], name: str) -> float:
    """An objective, a cost or the seconds of a score; NaN where it failed, or has none."""
    if score["status"] != "ok":
        return math.nan
    objectives = score["objectives"]
    value = objectives[name] if name in objectives else cost.get(name)
    found = math.nan if value is None else finite(value)
    return finite(score.get("seconds")) if name == "seconds" and found != found else found


def finite(value: Any) -> float:
    """The value as a finite float, NaN where it is none: a journal may hold anything."""
    if type(value) is float:
        return value if value - value == 0.0 else math.nan
    if isinstance(value, bool) or not isinstance(value, int):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
