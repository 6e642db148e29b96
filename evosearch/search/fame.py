"""The best individuals of a search: DEAP's hall of fame, or of several objectives its Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evosearch.individual import Individual
from evosearch.search.proposal import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evosearch.architecture import Space


class Fame:
    """The best of all that was folded in, each key once, as it was evaluated furthest.

    Only what is rankable may join: evaluations in full, of a key's repeats the first, or the luckiest would; with
    rungs also shorter ones, which stand behind.

    objectives: how many. size: individuals kept, of one objective. rungs: whether shorter evaluations are rungs.
    """

    def __init__(self, objectives: int, size: int, *, rungs: bool) -> None:
        self.several, self.size, self.rungs = objectives > 1, size, rungs
        self._made: Any = None

    def join(self, individual: Individual) -> bool:
        """Take an individual in, where it is rankable and good enough; whether it is better than all before."""
        if not self._is_rankable(individual):
            return False
        hall = self._hall()
        first = hall[0] if len(hall) else None
        self._put(hall, individual)
        if self.several:
            return individual in hall
        # of equals, DEAP puts the latest first
        return hall[0] is not first and (first is None or bool(hall[0].values != first.values))

    def front(self, more: Iterable[Individual] = ()) -> list[Individual]:
        """Best first, of equals the earliest. more: that would join, and have not yet."""
        from copy import deepcopy

        hall = deepcopy(self._hall())
        for one in more:
            if self._is_rankable(one):
                self._put(hall, one)
        return sorted(hall, key=lambda one: (one.fidelity, one.values, -one.born), reverse=True)

    def pack(self) -> list[dict[str, Any]]:
        """As plain values for msgpack."""
        return [{**individual.pack(), "rank": 0, "crowding": 0.0, "lesson": None} for individual in self._hall()]

    def unpack(self, data: Sequence[Mapping[str, Any]], space: Space, fitness: Any) -> None:
        found = [Individual.unpack(one, space, fitness) for one in data]
        self._hall().update(found[::-1])  # DEAP puts a later tie first

    def _is_rankable(self, individual: Individual) -> bool:
        return individual.full or (self.rungs and individual.repeat == FIRST)

    def _put(self, hall: Any, individual: Individual) -> None:
        """Put an individual into a hall of fame, in the place of itself as it was evaluated less far."""
        for at in reversed(range(len(hall))) if self.rungs else ():  # else all in it were evaluated in full
            if hall[at].key == individual.key and hall[at].fidelity < individual.fidelity:
                hall.remove(at)
        hall.update([individual])

    def _hall(self) -> Any:
        if self._made is None:
            from deap import tools  # not before it is needed: commands start fast

            self._made = tools.ParetoFront(_same) if self.several else tools.HallOfFame(self.size, _same)
        return self._made


def _same(a: Individual, b: Individual) -> bool:
    return a.key == b.key
