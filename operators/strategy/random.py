"""Random search: the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from evosearch.search.proposal import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from evosearch.individual import Individual
    from evosearch.search.history import History
    from evosearch.search.proposal import Evaluated
    from evosearch.search.strategy import Context


class Random:
    """Every candidate is a sample of the grammar; seeds are not used, and nothing is learned from scores.

    Source: the baseline that a search has to beat (Li and Talwalkar 2019; Yang et al. 2020).
    """

    @dataclass(frozen=True)
    class Settings:
        """None of its own."""

    needs_history: ClassVar[bool] = False
    population: Sequence[Individual] = ()  # it has none; the hall of fame is all there is

    def __init__(self, settings: Any, context: Context) -> None:
        self.space = context.space

    def candidates(self, history: History, rng: np.random.Generator) -> Iterator[Candidate]:
        while True:
            yield Candidate(self.space.draw(rng), "random")

    def fold(self, evaluated: Evaluated) -> None:
        pass

    def pack(self) -> dict[str, Any]:
        return {}

    def unpack(self, data: Mapping[str, Any]) -> None:
        pass
