"""Which of several candidates to take, and which to look at once more, where every look is noisy.

A look trains a candidate by another seed, on other folds where there are some; nothing was chosen by it. The regret is
what the best candidate has more than the one that is taken. Its expectation is bounded as in Chick and Inoue 2001 ("New
two-stage and sequential procedures for selecting the best simulated system", Operations Research 49): with a normal
posterior under a flat prior, the sum over the others of what each is expected to be better than the one taken.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARE = 0.2  # of the figure's standard error: a regret below this share of it is below what the examples can tell


def noise(looks: Sequence[Sequence[float]], known: float) -> float:
    """The deviation of one look: pooled over candidates with several, and `known` as one more degree of freedom."""
    squares, degrees = known**2, 1
    for values in looks:
        if len(values) > 1:
            mean = sum(values) / len(values)
            squares += sum((value - mean) ** 2 for value in values)
            degrees += len(values) - 1
    return math.sqrt(squares / degrees)


def taken(looks: Sequence[Sequence[float]]) -> int:
    """The candidate with the best mean, the first of equal ones; all have a look at least."""
    means = [sum(values) / len(values) for values in looks]
    return max(range(len(means)), key=means.__getitem__)


def expected(looks: Sequence[Sequence[float]], deviation: float) -> float:
    """The expected regret of taking the candidate with the best mean, at most.

    looks: values of each candidate, larger is better, one at least. deviation: of one look.
    """
    return sum(_shares(looks, deviation))


def next_look(looks: Sequence[Sequence[float]], deviation: float) -> int:
    """The candidate to look at: one without a look; else of the best and the one that it may lose most to, the one
    with fewer looks, so that both are known (top-two sampling, Russo 2016, arXiv 1602.08448).
    """
    for number, values in enumerate(looks):
        if not values:
            return number
    best, shares = taken(looks), _shares(looks, deviation)
    rival = max(range(len(looks)), key=shares.__getitem__)
    return best if len(looks[best]) <= len(looks[rival]) else rival


def _shares(looks: Sequence[Sequence[float]], deviation: float) -> list[float]:
    """What each is expected to be better than the best one; 0 for that."""
    best = taken(looks)
    top = sum(looks[best]) / len(looks[best])
    found = []
    for number, values in enumerate(looks):
        spread = deviation * math.sqrt(1 / len(values) + 1 / len(looks[best]))
        lead = top - sum(values) / len(values)
        found.append(0.0 if number == best else _loss(lead, spread))
    return found


def _loss(lead: float, spread: float) -> float:
    """E[max(D - lead, 0)] for a normal D of mean 0: the linear loss function."""
    if spread <= 0:
        return 0.0
    z = lead / spread
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return spread * (density - z * 0.5 * math.erfc(z / math.sqrt(2)))


__all__ = ["SHARE", "expected", "next_look", "noise", "taken"]
