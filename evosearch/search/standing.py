"""Which of several results is better, where some were evaluated further than others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def best_first(results: Sequence[tuple[float, Sequence[float]]]) -> list[int]:
    """Places of (fidelity, signed values), the best first, of equals the earliest.

    What was evaluated further comes first: it was among the best of those it was evaluated beside, and figures of
    different fidelities are not compared. Several values count by non-domination rank (Deb et al. 2002).
    """
    order: list[int] = []
    for fidelity in sorted({fidelity for fidelity, _ in results}, reverse=True):
        at = [index for index, (own, _) in enumerate(results) if own == fidelity]
        order += _ranked(at, [results[index][1] for index in at])
    return order


def _ranked(at: Sequence[int], values: Sequence[Sequence[float]]) -> list[int]:
    if not values or len(values[0]) == 1:
        return [index for _, index in sorted(zip(values, at, strict=True), key=lambda pair: (-pair[0][0], pair[1]))]
    from deap import tools

    from evosearch.individual import fitness_class

    class Point:
        def __init__(self, index: int, own: Sequence[float]) -> None:
            self.index, self.fitness = index, fitness_class(len(own))(tuple(own))

    points = [Point(index, own) for index, own in zip(at, values, strict=True)]
    fronts = tools.sortNondominated(points, len(points))
    return [point.index for front in fronts for point in sorted(front, key=lambda point: point.index)]
