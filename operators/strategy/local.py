"""Local search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from evosearch.search.evolution import Evolution
from evosearch.search.rungs import PROMOTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from evosearch.search.history import History
    from evosearch.search.proposal import Evaluated
    from evosearch.search.strategy import Context


class Local(Evolution):
    """Mutants of one network until one of them is better, which takes its place; where none was, another start.

    Source: local search for neural architecture search (White, Nolen and Savani 2021): hard to beat on tables.
    """

    @dataclass(frozen=True)
    class Settings:
        """patience: mutants that are no better, after which the search starts anew from a sample."""

        patience: Annotated[int, Field(ge=1)] = 30

    select = "tournament"
    survive = "youngest"

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.settings = settings
        self.missed = 0

    def _starting(self, history: History) -> bool:
        return not self.population

    def fold(self, evaluated: Evaluated, rng: np.random.Generator) -> None:
        found, start = evaluated.individual, not evaluated.proposal.parents
        if evaluated.proposal.operator == PROMOTE:
            return  # of a longer evaluation: its figures are no mutant's
        if not self.population:
            if found is not None and start:  # mutants of the one that was given up may still come in
                self.population = [found]
        elif found is not None and found.values > self.population[0].values:
            self.population, self.missed = [found], 0
        else:
            self.missed += 1
            if self.missed >= self.settings.patience:
                self.population, self.missed = [], 0

    def pack(self) -> dict[str, Any]:
        return {**super().pack(), "missed": self.missed}

    def unpack(self, data: Mapping[str, Any]) -> None:
        super().unpack(data)
        self.missed = data["missed"]
