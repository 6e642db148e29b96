"""A surrogate that ranks a pool, batch after batch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from evosearch.search.evolution import Evolution
from evosearch.search.proposal import Candidate
from evosearch.search.screening import Model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from evosearch.grammar.core import Derivation
    from evosearch.search.history import History
    from evosearch.search.strategy import Context

MODEL = 4  # id of the random stream that fits draw from


class Predictor(Evolution):
    """Of a pool of mutants of the best networks and of samples, those that the surrogate expects most of, in batches.

    Source: BANANAS (White, Neiswanger and Savani 2021), with independent Thompson sampling; here with the search's
    surrogate (`search.surrogate`), and with samples in the pool, without which it gets stuck.
    """

    @dataclass(frozen=True)
    class Settings:
        """pool: candidates that are ranked. batch: of them evaluated before the next pool. samples: share of it."""

        pool: Annotated[int, Field(ge=2)] = 100
        batch: Annotated[int, Field(ge=1)] = 10
        samples: Annotated[float, Field(ge=0, le=1)] = 0.2

    needs_history: ClassVar[bool] = True
    select = "tournament"
    survive = "nsga2"  # the best of all so far, by rank where there are several objectives

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.settings = settings
        surrogate = context.operators.get("surrogate", context.settings.surrogate)
        self.model = Model(context.space, surrogate, len(context.objectives), self._stream)
        self.queue: list[Derivation] = []
        self.until = 0  # proposals after which a new pool is ranked

    def _stream(self, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.context.settings.seed, spawn_key=(MODEL, number)))

    def candidates(self, history: History, rng: np.random.Generator) -> Iterator[Candidate | None]:
        self.model.follow(history)
        if not self.model.ready:
            yield from self._first(rng)
        proposed = history.folded + history.in_flight
        if proposed >= self.until:
            self.queue.clear()
        while True:
            if not self.queue:
                self.queue, self.until = self._ranked(rng), proposed + self.settings.batch
            yield Candidate(self.queue.pop(), "predicted")

    def _ranked(self, rng: np.random.Generator) -> list[Derivation]:
        """A new pool, the one to be tried first at its end."""
        space, pool = self.context.space, dict[Any, None]()
        for draw in itertools.count():
            if len(pool) >= self.settings.pool or draw >= 10 * self.settings.pool:
                break
            sampled = rng.random() < self.settings.samples
            candidate = Candidate(space.draw(rng), "sample") if sampled else self.offspring(rng)
            if candidate is not None:
                self.context.credit.tally(candidate.operator).calls += 1
                self.context.credit.passed_over(candidate)
                if space.fits(candidate.derivation):
                    pool[candidate.derivation] = None
        drafts = list(pool)
        x = np.stack([self.model.features(one) for one in drafts])
        worth = self.model.acquisition(*self.model.predict(x), rng, optimism=1.0)
        return [drafts[at] for at in np.argsort(worth, kind="stable")]

    def pack(self) -> dict[str, Any]:
        queue = [self.context.space.render(one) for one in self.queue]
        return {**super().pack(), "queue": queue, "until": self.until}

    def unpack(self, data: Mapping[str, Any]) -> None:
        super().unpack(data)
        self.queue = [self.context.space.parse(text) for text in data["queue"]]
        self.until = data["until"]
