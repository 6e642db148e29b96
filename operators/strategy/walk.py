"""A walk down a ranking that costs nothing: the baseline of whatever predicts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from evosearch.errors import ConfigError, ShapeError
from evosearch.search.proposal import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from evosearch.grammar.core import Derivation
    from evosearch.individual import Individual
    from evosearch.search.history import History
    from evosearch.search.proposal import Evaluated
    from evosearch.search.strategy import Context

POOL = 3  # id of the random stream that the pool is drawn from


class Walk:
    """The largest of a pool of samples first, then the next one; no score is looked at.

    On NAS-Bench-201's CIFAR-10 the walks by FLOPs and by parameters find the best cell within 20 evaluations: what a
    predictor finds there, size alone does. Source: the baseline of zero-cost proxies (Ning et al. 2021).
    """

    @dataclass(frozen=True)
    class Settings:
        """by: what is large; nodes are the derivation's, and what counts where there are no layers. pool: samples."""

        by: Literal["", "params", "flops", "activations", "modules", "nodes"] = ""
        pool: Annotated[int, Field(ge=1)] = 5_000

    needs_history: ClassVar[bool] = False
    population: Sequence[Individual] = ()

    def __init__(self, settings: Any, context: Context) -> None:
        self.space, self.settings, self.seed = context.space, settings, context.settings.seed
        self.by = settings.by or ("nodes" if self.space.input is None else "flops")
        if self.space.input is None and self.by != "nodes":
            raise ConfigError(f"strategy.by: a language without layers has no {self.by}; set it to 'nodes'")
        self.at = 0
        self._order: list[Derivation] = []

    def candidates(self, history: History, rng: np.random.Generator) -> Iterator[Candidate]:
        if not self._order:
            self._order = self._ranked()
        while self.at < len(self._order):
            self.at += 1
            yield Candidate(self._order[self.at - 1], "walk")

    def _ranked(self) -> list[Derivation]:
        """The pool, which hangs on the search's seed alone, the largest first."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(POOL,)))
        pool = dict.fromkeys(self.space.draw(rng) for _ in range(self.settings.pool))
        sizes = {one: self._size(one) for one in pool}
        return sorted(pool, key=lambda one: -sizes[one])

    def _size(self, derivation: Derivation) -> int:
        if self.by == "nodes":
            return derivation.size
        try:
            return int(asdict(self.space.read(derivation).cost)[self.by])
        except ShapeError:  # the head does not fit: the search passes it over
            return 0

    def fold(self, evaluated: Evaluated) -> None:
        pass

    def pack(self) -> dict[str, Any]:
        return {"at": self.at}

    def unpack(self, data: Mapping[str, Any]) -> None:
        self.at = data["at"]
