"""What a search remembers: which evaluations it has proposed, and where somebody needs it, all that was folded in."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evosearch.score import Score
    from evosearch.search.proposal import Proposal

SIZE = 16  # bytes of an identity
COSTS = ("params", "flops", "activations", "modules")
PLACED = 1 << 16  # identities that are given their slots at a time


class Archive:
    """The identities of all evaluations proposed so far, in that order.

    A hash table with open addressing over one row of bytes: 25 to 35 bytes an identity, where a dict of bytes takes
    94 to 124.
    """

    def __init__(self, packed: bytes = b"") -> None:
        """packed: what `bytes` gave of an archive."""
        self.restore(packed)

    def restore(self, packed: bytes) -> None:
        """Hold what `bytes` gave of an archive, and nothing else."""
        self._packed = bytearray(packed)
        self._make_slots()

    def __len__(self) -> int:
        return len(self._packed) // SIZE

    def __contains__(self, identity: bytes) -> bool:
        slots = self._slots
        return slots[hash(identity) & len(slots) - 1] != 0 and slots[self._slot(identity)] != 0  # most places are free

    def __bytes__(self) -> bytes:
        return bytes(self._packed)

    def add(self, identity: bytes) -> bool:
        """Whether it is new; it is known from now on."""
        slot = self._slot(identity)
        if self._slots[slot]:
            return False
        self._packed += identity
        self._slots[slot] = size = len(self)
        if 2 * size > len(self._slots):
            self._make_slots()
        return True

    def _make_slots(self) -> None:
        """Slots of which half are free at the least, with all that is in the row."""
        slots = 64
        while slots < 2 * len(self):
            slots *= 2
        self._slots = array("I", [0]) * slots  # 1 + the identity's place in the row; 0 where there is none
        for first in range(0, len(self), PLACED):
            self._place(first, min(first + PLACED, len(self)))

    def _place(self, first: int, last: int) -> None:
        """Give identities of the row, none of which has one, their slots, as `_slot` would find them one by one."""
        slots, mask = np.frombuffer(self._slots, dtype=np.uint32), len(self._slots) - 1
        row, at = self._packed, range(first * SIZE, last * SIZE, SIZE)
        wanted = np.fromiter((hash(bytes(row[one : one + SIZE])) & mask for one in at), np.int64, last - first)
        waiting = np.arange(first + 1, last + 1, dtype=np.uint32)
        while len(waiting):
            free = slots[wanted] == 0
            slots[wanted[free]] = waiting[free]  # of several that want one slot, the last one has it
            left = slots[wanted] != waiting
            wanted, waiting = (wanted[left] + 1) & mask, waiting[left]

    def _slot(self, identity: bytes) -> int:
        """The slot that holds an identity, or the free one where it would go."""
        slots, packed, mask = self._slots, self._packed, len(self._slots) - 1
        slot = hash(identity) & mask
        while (held := slots[slot]) and packed[held * SIZE - SIZE : held * SIZE] != identity:
            slot = (slot + 1) & mask
        return slot


@dataclass(frozen=True, slots=True)
class Row:
    """One evaluation of a history.

    values: of the search's objectives, signed so that larger is better; None for a failure. cost: by name, as in Cost.
    curve: as in Score. parents: their numbers.
    """

    number: int
    text: str
    key: str
    cost: dict[str, int]
    values: tuple[float, ...] | None
    curve: tuple[float, ...]
    operator: str
    parents: tuple[int, ...]
    fidelity: float
    repeat: int


class History:
    """What has been folded in, for whoever models the search: strategies, stop rules, estimators.

    folded: evaluations folded in. in_flight: proposals that are not, told or not. Rows and columns are there only where
    somebody said that they need them (`kept`); they are rebuilt from the run's journal, and no part of a checkpoint.
    """

    def __init__(self, objectives: int, *, kept: bool = False) -> None:
        self.kept = kept
        self.folded = self.in_flight = 0
        self.objectives = objectives
        self.numbers = array("q")
        self.texts: list[str] = []
        self.operators: list[str] = []
        self._keys = bytearray()
        self._costs = array("q")
        self._values = array("d")
        self._fidelities = array("d")
        self._repeats = array("q")
        self._parents, self._parents_end = array("q"), array("q", [0])
        self._curves, self._curves_end = array("d"), array("q", [0])

    def add(self, proposal: Proposal, values: tuple[float, ...] | None, score: Score | None) -> None:
        """One more row. score: for its cost and curve; both are empty where the search was told values alone."""
        self.numbers.append(proposal.number)
        self.texts.append(proposal.text)
        self.operators.append(proposal.operator)
        self._keys += bytes.fromhex(proposal.key)
        self._costs.extend(getattr(score.cost, name) if score is not None else 0 for name in COSTS)
        self._values.extend(values if values is not None else (float("nan"),) * self.objectives)
        self._fidelities.append(proposal.fidelity)
        self._repeats.append(proposal.repeat)
        self._parents.extend(proposal.parents)
        self._parents_end.append(len(self._parents))
        self._curves.extend(score.curve if score is not None else ())
        self._curves_end.append(len(self._curves))

    def __len__(self) -> int:
        """Rows kept."""
        return len(self.numbers)

    def __getitem__(self, row: int) -> Row:
        row = range(len(self))[row]
        values = tuple(self._values[row * self.objectives : (row + 1) * self.objectives])
        return Row(
            self.numbers[row],
            self.texts[row],
            self._keys[row * SIZE : (row + 1) * SIZE].hex(),
            dict(zip(COSTS, self._costs[row * len(COSTS) : (row + 1) * len(COSTS)], strict=True)),
            None if values[0] != values[0] else values,  # NaN: a failure
            self.curve(row),
            self.operators[row],
            tuple(self._parents[self._parents_end[row] : self._parents_end[row + 1]]),
            self._fidelities[row],
            self._repeats[row],
        )

    def __iter__(self) -> Iterator[Row]:
        return (self[row] for row in range(len(self)))

    def curve(self, row: int) -> tuple[float, ...]:
        """The curve of one row."""
        return tuple(self._curves[self._curves_end[row] : self._curves_end[row + 1]])

    def fidelity(self, row: int) -> float:
        """The share of a whole evaluation that one row is of."""
        return self._fidelities[row]

    @property
    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(rows, objectives): signed values, larger is better; NaN for failures."""
        return np.array(self._values, dtype=np.float64).reshape(len(self), self.objectives)

    @property
    def costs(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(rows, 4): params, flops, activations, modules."""
        return np.array(self._costs, dtype=np.int64).reshape(len(self), len(COSTS))
