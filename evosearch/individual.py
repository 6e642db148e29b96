"""A candidate with a fitness: what selection chooses among."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation


@dataclass(slots=True, eq=False)
class Individual:
    """A candidate with a fitness, in the population or the hall of fame.

    born: its proposal's number. fitness: a deap.base.Fitness of signed values, larger is better, never NaN.
    rank, crowding: NSGA-II's, where that is the survival. pending_credit: the policy's (state, action, reward) that is
    paid when it becomes a parent or leaves; only where gamma > 0. fidelity, repeat: of the evaluation, as in Candidate.
    """

    derivation: Derivation
    key: str
    text: str
    fitness: Any
    parents: tuple[int, ...]
    operator: str
    born: int
    rank: int = 0
    crowding: float = 0.0
    pending_credit: tuple[str, str, float] | None = None
    fidelity: float = 1.0
    repeat: int = 0

    def __post_init__(self) -> None:
        if self.fidelity != 1.0:
            self.fitness.fidelity = self.fidelity

    @property
    def values(self) -> tuple[float, ...]:
        """Signed objective values, larger is better."""
        return tuple(self.fitness.wvalues)

    @property
    def full(self) -> bool:
        """Whether the values are of a full evaluation, so that they compare with those of any other."""
        return self.fidelity == 1.0

    @property
    def crowded(self) -> tuple[int, float]:
        """Order of NSGA-II's crowded comparison, larger is better."""
        return (-self.rank, self.crowding)

    def __deepcopy__(self, memo: object) -> Individual:
        return self  # DEAP's hall of fame copies; an individual's fitness never changes once it has one

    def pack(self) -> dict[str, Any]:
        """As plain values for msgpack. Pending credit stands under "lesson", its name since the first checkpoints."""
        packed = {
            "text": self.text,
            "key": self.key,
            "values": list(self.values),
            "parents": list(self.parents),
            "operator": self.operator,
            "born": self.born,
            "rank": self.rank,
            "crowding": self.crowding,
            "lesson": list(self.pending_credit) if self.pending_credit else None,
        }
        if not self.full or self.repeat:
            packed |= {"fidelity": self.fidelity, "repeat": self.repeat}
        return packed

    @classmethod
    def unpack(cls, data: Mapping[str, Any], space: Space, fitness: Any) -> Individual:
        """The individual that `pack` described. fitness: from `fitness_class`."""
        return cls(
            space.parse(data["text"]),
            data["key"],
            data["text"],
            fitness(tuple(data["values"])),
            tuple(data["parents"]),
            data["operator"],
            data["born"],
            data["rank"],
            data["crowding"],
            tuple(data["lesson"]) if data["lesson"] else None,
            data.get("fidelity", 1.0),
            data.get("repeat", 0),
        )


@functools.cache
def fitness_class(objectives: int, *, rungs: bool = False) -> Any:
    """DEAP's Fitness for so many signed values; made here since DEAP's creator breaks under spawned workers.

    rungs: one that has a `fidelity`, and is better than every one of a lower fidelity, whatever the values: so whatever
    selects by comparing never compares values of different fidelities.
    """
    from deap import base

    weights = {"weights": (1.0,) * objectives}
    if not rungs:
        return type(f"Fitness{objectives}", (base.Fitness,), weights)

    class OfRungs(base.Fitness):  # type: ignore[misc]  # DEAP publishes no types
        fidelity = 1.0

        def __eq__(self, other: Any) -> bool:
            return self.fidelity == other.fidelity and bool(super().__eq__(other))

        def __hash__(self) -> int:
            return hash((self.fidelity, super().__hash__()))

        def __le__(self, other: Any) -> bool:
            return bool(super().__le__(other) if self.fidelity == other.fidelity else self.fidelity < other.fidelity)

        def __lt__(self, other: Any) -> bool:
            return bool(super().__lt__(other) if self.fidelity == other.fidelity else self.fidelity < other.fidelity)

        def dominates(self, other: Any, obj: slice = slice(None)) -> bool:
            if self.fidelity == other.fidelity:
                return bool(super().dominates(other, obj))
            return bool(self.fidelity > other.fidelity)

    return type(f"FitnessOfRungs{objectives}", (OfRungs,), weights)
