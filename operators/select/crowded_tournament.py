"""Tournament selection by rank, then crowding distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.operators import seeded_selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from evosearch.individual import Individual


def crowded_tournament(population: Sequence[Individual], k: int, rng: np.random.Generator) -> list[Individual]:
    """The better of two individuals by non-domination rank, then by crowding distance, k times.

    Source: NSGA-II's crowded-comparison operator (Deb et al. 2002, section III.B), on the ranks and distances that
    `nsga2` left on the individuals. DEAP's selTournament.
    Keeps true: the population.
    """
    with seeded_selection(rng) as selection:
        return list(selection.selTournament(population, k, tournsize=2, fit_attr="crowded"))
