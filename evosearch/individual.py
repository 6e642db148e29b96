"""A candidate with a fitness: what selection chooses among."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evosearch.grammar.core import Derivation


@dataclass(slots=True, eq=False)
class Individual:
    """A candidate with a fitness, in the population or the hall of fame.

    born: its proposal's number. fitness: a deap.base.Fitness of signed values, larger is better, never NaN.
    rank, crowding: NSGA-II's, where that is the survival. lesson: the policy's (state, action, reward) that is
    credited when it becomes a parent or leaves; only where gamma > 0.
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
    lesson: tuple[str, str, float] | None = None

    @property
    def values(self) -> tuple[float, ...]:
        """Signed objective values, larger is better."""
        return tuple(self.fitness.wvalues)

    @property
    def crowded(self) -> tuple[int, float]:
        """Order of NSGA-II's crowded comparison, larger is better."""
        return (-self.rank, self.crowding)

    def __deepcopy__(self, memo: object) -> Individual:
        return self  # DEAP's hall of fame copies; an individual's fitness never changes once it has one

    def pack(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "key": self.key,
            "values": list(self.values),
            "parents": list(self.parents),
            "operator": self.operator,
            "born": self.born,
            "rank": self.rank,
            "crowding": self.crowding,
            "lesson": list(self.lesson) if self.lesson else None,
        }


@functools.cache
def fitness_class(objectives: int) -> Any:
    """DEAP's Fitness for so many signed values; made here since DEAP's creator breaks under spawned workers."""
    from deap import base

    return type(f"Fitness{objectives}", (base.Fitness,), {"weights": (1.0,) * objectives})
