"""Aging evolution."""

from __future__ import annotations

from evosearch.search.evolution import Evolution


class Aging(Evolution):
    """Parents by tournament; with each child, the oldest member of the population leaves.

    Source: regularized evolution (Real et al. 2019, algorithm 1), here with crossover, and mutations chosen by an
    adaptive policy.
    """

    select = "tournament"
    survive = "youngest"
