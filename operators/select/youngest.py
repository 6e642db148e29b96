"""Survival of the youngest: the oldest leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from evosearch.individual import Individual


def youngest(population: Sequence[Individual], k: int, rng: np.random.Generator) -> list[Individual]:
    """The k individuals that were proposed last, the youngest first.

    Source: aging evolution (Real et al. 2019): whatever lives on must be found again. DEAP's selBest on the number.
    Keeps true: the population; draws nothing.
    """
    from deap import tools

    return list(tools.selBest(population, k, fit_attr="born"))
