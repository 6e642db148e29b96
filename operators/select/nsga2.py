"""NSGA-II's survival: the worst by rank, then by crowding distance, leave."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from evosearch.individual import Individual


def nsga2(population: Sequence[Individual], k: int, rng: np.random.Generator) -> list[Individual]:
    """The k individuals of lowest non-domination rank; of the last rank that has room, the least crowded.

    Source: Deb et al. (2002); DEAP's sortNondominated and assignCrowdingDist. Leaves rank and crowding distance on
    every individual, for `crowded_tournament`.
    Keeps true: the population's members; draws nothing.
    """
    from deap import tools

    survivors: list[Individual] = []
    for rank, front in enumerate(tools.sortNondominated(population, len(population))):
        tools.emo.assignCrowdingDist(front)
        for individual, distance in zip(front, _distances(front), strict=True):
            individual.rank, individual.crowding = rank, distance
        front.sort(key=lambda individual: individual.crowding, reverse=True)
        survivors += front
    return survivors[:k]


def _distances(front: Sequence[Individual]) -> list[float]:
    """DEAP's crowding distances; where an objective's range is more than a double holds, the same of its quarter."""
    found = [float(individual.fitness.crowding_dist) for individual in front]
    objectives = len(front[0].values)
    ranges = [
        objectives * (max(one.values[i] for one in front) - min(one.values[i] for one in front))
        for i in range(objectives)
    ]
    if all(map(math.isfinite, ranges)):
        return found
    found = [0.0] * len(front)
    for i in range(objectives):
        order = sorted(range(len(front)), key=lambda at: front[at].values[i])
        values = [front[at].values[i] / (4 * objectives) for at in order]
        found[order[0]] = found[order[-1]] = math.inf
        if values[0] < values[-1]:
            for before, at, after in zip(values, order[1:-1], values[2:], strict=False):
                found[at] += (after - before) / (values[-1] - values[0]) / objectives
    return found
