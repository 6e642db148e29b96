"""Who knew? What was expected of screened candidates, what they came to, and what their size alone would have said."""

from __future__ import annotations

import itertools
from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evosearch.report import figures
from evosearch.search.proposal import FULL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from evosearch.report.reading import Candidate, RunReading

STRETCHES = 10  # of a run, at the most, over which correlations are taken
LEAST = 20  # candidates of one: Kendall's tau of so few has a standard error of 0.16
SIZES = ("params", "flops")


def came(run: RunReading, one: Candidate) -> float | None:
    """The quantile of a candidate's first objective among those of its fidelity that were proposed before it: what a
    surrogate's expectation is held against. 0 for a failure; None where it has no score yet, or nothing was before.
    """
    objective = figures.objectives(run)[0]
    columns, values = run.columns, objective.sign * run.measured(objective.name)
    before = (columns.scored >= 0) & (columns.fidelities == one.fidelity) & (np.arange(len(columns)) < one.number)
    if one.score is None or not before.any():
        return None
    value = values[one.number]
    earlier = np.where(np.isnan(values), -np.inf, values)[before]
    return 0.0 if np.isnan(value) else float(((earlier < value).mean() + (earlier <= value).mean()) / 2)


@dataclass(frozen=True, eq=False)
class Foresight:
    """Candidates of which something was expected and that succeeded, in the order proposed.

    numbers: theirs. expected: what the first objective was expected to be: the value at the expected quantile of the
    scores before it, as those become better in the course of a run. values: what it is; both are signed so that larger
    is better. sizes: params and FLOPs where there are networks.
    """

    numbers: NDArray[np.int64]
    expected: NDArray[np.float64]
    values: NDArray[np.float64]
    sizes: Mapping[str, NDArray[np.float64]]

    def part(self, begin: int, end: int) -> Foresight:
        """Those from one place to another."""
        at = slice(begin, end)
        sizes = {name: size[at] for name, size in self.sizes.items()}
        return Foresight(self.numbers[at], self.expected[at], self.values[at], sizes)


def foreseen(run: RunReading) -> Foresight:
    """What was expected and came, of the fidelity of which most is known: figures of others do not compare.

    Each prediction was made before its candidate was evaluated, so none of them had been learned from.
    """
    objective = figures.objectives(run)[0]
    numbers = run.columns.foreseen
    measured = objective.sign * run.measured(objective.name)
    values, fidelities = measured[numbers], run.columns.fidelities[numbers]
    known = ~np.isnan(values)
    shares, counts = np.unique(fidelities[known], return_counts=True)
    share = shares[counts.argmax()] if len(shares) else FULL
    known &= fidelities == share
    alike = (run.columns.scored >= 0) & (run.columns.fidelities == share)
    scores = np.where(alike, np.nan_to_num(measured, nan=-np.inf), np.nan)
    expected = _at_quantiles(scores, numbers, run.columns.expected)
    known &= ~np.isnan(expected)  # another run's candidates were learned from, and none of this run's was there yet
    sizes = {name: run.measured(name)[numbers[known]] for name in SIZES}
    sizes = {name: np.nan_to_num(size) for name, size in sizes.items() if not np.isnan(size).all()}  # none: no cost
    return Foresight(numbers[known], expected[known], values[known], sizes)


def _at_quantiles(
    values: NDArray[np.float64], numbers: NDArray[np.int64], quantiles: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(numbers,): the value at a quantile of those before each number. Failures (-inf) are below all others.

    values: of all candidates in the order proposed; NaN: none to compare with.
    """
    found: list[float] = []
    failed = at = 0
    scores: list[float] = []
    for number, quantile in zip(numbers.tolist(), quantiles.tolist(), strict=True):
        for value in values[at:number].tolist():
            if value == -np.inf:
                failed += 1
            elif value == value:
                insort(scores, value)
        at = number
        place = quantile * (failed + len(scores)) - 0.5 - failed  # each score stands for the middle of its share
        found.append(_between(scores, place) if scores else np.nan)
    return np.array(found, dtype=np.float64)


def _between(scores: Sequence[float], place: float) -> float:
    """Rising scores, read at a place between two of them; beyond the ends they go on as they rise in the mean, so that
    what was expected to be better still is not equal to the best one.
    """
    last = len(scores) - 1
    inside = min(max(place, 0.0), float(last))
    low = int(inside)
    slope = (scores[last] - scores[0]) / max(last, 1)
    return scores[low] + (inside - low) * (scores[min(low + 1, last)] - scores[low]) + (place - inside) * slope


@dataclass(frozen=True)
class Stretch:
    """A part of a run: candidates `first` to `last`, `count` of them foreseen.

    surrogate: Kendall's tau of what was expected with what came; None where all are equal. sizes: likewise of params
    and FLOPs, where there are networks.
    """

    first: int
    last: int
    count: int
    surrogate: float | None
    sizes: Mapping[str, float | None]


def stretches(known: Foresight) -> tuple[Stretch | None, list[Stretch]]:
    """All of a run, None where fewer than LEAST were foreseen; and its parts, of equally many candidates each."""
    count = len(known.numbers)
    parts = min(STRETCHES, count // LEAST)
    if not parts:
        return None, []
    edges = [count * at // parts for at in range(parts + 1)]
    return _stretch(known), [_stretch(known.part(begin, end)) for begin, end in itertools.pairwise(edges)]


def _stretch(known: Foresight) -> Stretch:
    sizes = {name: kendall(size, known.values) for name, size in known.sizes.items()}
    first, last = int(known.numbers[0]), int(known.numbers[-1])
    return Stretch(first, last, len(known.numbers), kendall(known.expected, known.values), sizes)


def kendall(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Kendall's tau-b; None where all of either are equal."""
    from scipy.stats import kendalltau

    tau = float(kendalltau(a, b).statistic)
    return tau if tau == tau else None
