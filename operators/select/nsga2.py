"""NSGA-II's survival: the worst by rank, then by crowding distance, leave."""

from __future__ import annotations

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
        for individual in front:
            individual.rank, individual.crowding = rank, float(individual.fitness.crowding_dist)
        front.sort(key=lambda individual: individual.crowding, reverse=True)
        survivors += front
    return survivors[:k]
