"""Asynchronous successive halving: a short evaluation for every candidate, a longer one for the best of those.

Whatever strategy proposes candidates, they enter the lowest rung; the best 1/eta of a rung are evaluated again on the
next one, as soon as they are (ASHA, Li et al. 2020, algorithm 2). Each rung is an evaluation of its own, with a short
schedule run to its end, and figures of different rungs are never compared: a candidate on a higher rung stands before
one on a lower, since it was among the best of those beside it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from evosearch.individual import Individual, fitness_class
from evosearch.search.proposal import FIRST, FULL, Candidate, identity
from evosearch.search.standing import best_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.search.history import Archive
    from evosearch.search.proposal import Proposal
    from evosearch.search.settings import SearchSettings

NOISE = 90.0  # percentile of the distances between curves that cross twice; PASHA's (Bohdal et al. 2023, section 4.2)
PROMOTE = "promote"  # what the operator of a promotion is called


@dataclass(slots=True)
class RungResult:
    """What came of one evaluation on a rung. values: signed, None for a failure."""

    proposal: Proposal
    values: tuple[float, ...] | None
    curve: tuple[float, ...]


class Rungs:
    """The rungs of a search, and who is on each.

    What is promoted follows from what was folded in, in that order, and from what was proposed: it is no part of a
    checkpoint. known: the identities of all that was proposed.

    top: the highest rung that candidates are promoted to now. With `search.grow` it is the second at first, and the
    next one each time that the two highest in use put their candidates in different orders, noise aside (PASHA, Bohdal
    et al. 2023, algorithm 1).
    """

    def __init__(self, settings: SearchSettings, known: Archive) -> None:
        self.shares = (*settings.rungs, FULL)
        self.eta, self.known = settings.eta, known
        self.top = 1 if settings.grow else len(self.shares) - 1
        self._results: list[dict[str, RungResult]] = [{} for _ in self.shares]
        self._ranked: list[list[str] | None] = [None for _ in self.shares]
        self._left: list[set[str]] = [set() for _ in self.shares]  # those that went on to the next rung

    @property
    def lowest(self) -> float:
        """The fidelity at which candidates begin."""
        return self.shares[0]

    def add(self, proposal: Proposal, values: tuple[float, ...] | None, curve: Sequence[float]) -> None:
        """A result that was folded in; one of another fidelity, or of a repeat, is on no rung."""
        if proposal.repeat != FIRST or proposal.fidelity not in self.shares:
            return
        rung = self.shares.index(proposal.fidelity)
        self._results[rung][proposal.key] = RungResult(proposal, values, tuple(curve))
        self._ranked[rung] = None
        if rung == self.top < len(self.shares) - 1 and not self._agrees():
            self.top += 1

    def values(self, key: str, fidelity: float) -> tuple[float, ...] | None:
        """What a candidate's evaluation of a rung came to; None where it had none there, or failed."""
        result = self._results[self.shares.index(fidelity)].get(key) if fidelity in self.shares else None
        return None if result is None else result.values

    def promotion(self) -> Candidate | None:
        """The best that has yet to go on to the next rung, from the highest rung that has one; None without one."""
        for rung in range(self.top - 1, -1, -1):
            ranked, left = self._ranking(rung), self._left[rung]
            for key in ranked[: len(self._results[rung]) // self.eta]:
                if key in left:
                    continue
                if identity(key, self.shares[rung + 1]) not in self.known:
                    return self._promoted(self._results[rung][key], self.shares[rung + 1])
                left.add(key)
        return None

    def _promoted(self, result: RungResult, fidelity: float) -> Candidate:
        proposal, values = result.proposal, result.values
        assert values is not None, "a failure is not ranked"
        below = Individual(
            proposal.derivation,
            proposal.key,
            proposal.text,
            fitness_class(len(values))(values),
            proposal.parents,
            proposal.operator,
            proposal.number,
            fidelity=proposal.fidelity,
        )
        return Candidate(proposal.derivation, PROMOTE, (below,), fidelity=fidelity)

    def _ranking(self, rung: int) -> list[str]:
        """Keys of those that succeeded on a rung, the best first."""
        ranked = self._ranked[rung]
        if ranked is None:
            able = [(key, one.values) for key, one in self._results[rung].items() if one.values is not None]
            order = best_first([(FULL, values) for _, values in able])
            ranked = self._ranked[rung] = [able[at][0] for at in order]
        return ranked

    def _agrees(self) -> bool:
        """Whether the top rung has its candidates in the order in which the rung below has them, noise aside.

        PASHA's soft ranking: a place may be taken by any candidate whose figure is within the noise of the one there.
        """
        here, below = self._results[self.top], self._results[self.top - 1]
        ranked = [key for key in self._ranking(self.top) if key in below]
        before = [key for key in self._ranking(self.top - 1) if key in set(ranked)]
        values = {key: (here[key].values or (0.0,))[0] for key in ranked}
        noise = _noise([(here[key].curve, values[key]) for key in ranked])
        return all(abs(values[a] - values[b]) <= noise for a, b in zip(ranked, before, strict=True))


def _noise(trained: Sequence[tuple[tuple[float, ...], float]]) -> float:
    """How far figures lie apart whose curves cross more than once, as noise makes them (Bohdal et al. 2023, eq. 1)."""
    apart = []
    for (a, at_a), (b, at_b) in combinations(trained, 2):
        signs = np.sign(np.subtract(a[: len(b)], b[: len(a)]))
        signs = signs[signs != 0]
        if np.count_nonzero(signs[1:] != signs[:-1]) >= 2:
            apart.append(abs(at_a - at_b))
    return float(np.percentile(apart, NOISE)) if apart else 0.0
