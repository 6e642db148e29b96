"""Steady-state NSGA-II, for several objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evosearch.errors import ConfigError
from evosearch.search.evolution import Evolution

if TYPE_CHECKING:
    from evosearch.search.strategy import Context


class Nsga2(Evolution):
    """Parents by crowded tournament; with each child, the worst by non-domination rank and crowding distance leaves.

    Source: Deb et al. (2002); one child at a time, as in steady-state NSGA-II (Durillo et al. 2009).
    """

    select = "crowded_tournament"
    survive = "nsga2"
    sorts = True  # ranks and crowding distances are what parents are selected by

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        if len(context.settings.objectives) == 1:
            raise ConfigError('search.objectives: nsga2 is for several, as in objectives = ["accuracy", "-params"]')
