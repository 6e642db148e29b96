"""Selection by the sum of logarithms of ranks, over all objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from evosearch.individual import Individual


def log_rank(population: Sequence[Individual], k: int, rng: np.random.Generator, size: int = 10) -> list[Individual]:
    """The best of `size` individuals drawn with replacement, k times, by the sum over objectives of log(rank / n).

    Ranks are those in the population, 1 the worst. A low rank in one objective weighs more than a high one in another
    makes good, so what is chosen is bad in none.
    Source: AZ-NAS (Lee and Ham 2024), its aggregate of proxies.
    Keeps true: the population.
    """
    import numpy as np
    from scipy.stats import rankdata

    ranks = rankdata([one.values for one in population], axis=0)
    worth = np.log(ranks / len(population)).sum(axis=1)
    drawn = rng.integers(len(population), size=(k, size))
    return [population[row[worth[row].argmax()]] for row in drawn]
