"""Tournament selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.operators import seeded_selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from evosearch.individual import Individual


def tournament(population: Sequence[Individual], k: int, rng: np.random.Generator, size: int = 10) -> list[Individual]:
    """The best of `size` individuals drawn with replacement, k times; by fitness, several objectives in order.

    Source: Goldberg and Deb (1991); in aging evolution, Real et al. (2019). DEAP's selTournament.
    Keeps true: the population.
    """
    with seeded_selection(rng) as selection:
        return list(selection.selTournament(population, k, tournsize=size))
