"""A search's own grammar: samples and mutations are drawn by the weights that its best candidates so far give."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from evosearch.grammar.learning import Choices, learn
from evosearch.search.standing import best_first

if TYPE_CHECKING:
    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation
    from evosearch.grammar.learning import Slot

BEST = 0.1  # share of the candidates that are learned from
LEAST = 10  # as many at the least, where there are so many


def learned_from(candidates: int, best: float = BEST) -> int:
    """How many of so many candidates, the best ones, are learned from."""
    return min(candidates, max(LEAST, math.ceil(best * candidates)))


class Learner:
    """Learns a space's weights anew after every so many results.

    What it draws by follows from the results in the order in which they were folded in, and is worked out when the next
    candidate is: nothing of it is in a checkpoint.
    """

    def __init__(self, space: Space, every: int) -> None:
        self.space, self.every = space, every
        self._choices = Choices(space.grammar)
        self._results: list[tuple[str, float, tuple[float, ...] | None, Counter[Slot]]] = []
        self._known = 0  # results that the weights are of

    def add(self, derivation: Derivation, key: str, fidelity: float, values: tuple[float, ...] | None) -> None:
        """A result that was folded in; a failure too."""
        counts = self._choices.count([derivation]) if values is not None else Counter()
        self._results.append((key, fidelity, values, counts))

    def refresh(self) -> None:
        """Draw by what is known by now, where enough has come since the last time."""
        due = len(self._results) // self.every * self.every
        if due == self._known:
            return
        self._known = due
        standing: dict[str, tuple[float, tuple[float, ...], Counter[Slot]]] = {}
        for key, fidelity, values, counts in self._results[:due]:
            if values is not None and fidelity > standing.get(key, (0.0,))[0]:
                standing[key] = fidelity, values, counts
        order = best_first([(fidelity, values) for fidelity, values, _ in standing.values()])
        found = list(standing.values())
        seen: Counter[Slot] = Counter()
        for index in order[: learned_from(len(order))]:
            seen.update(found[index][2])
        learned = learn(self._choices, seen)
        self.space.reweigh(*self._choices.weights(learned.probabilities))
