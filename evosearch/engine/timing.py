"""The time that a run was given: what is left of it, and what of it the final training needs.

A run that was given a time ends when that is over, and what it was given decides nothing else: of two runs with one
configuration the candidates of one are the first of the other's. An earlier session's time is read from the journal:
it began at a note, and was at work until the last record behind it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evosearch.engine.lineage import PARENT
from evosearch.search.proposal import FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from evosearch.evaluation.recipe import Recipe

LEAST, MOST = 0.1, 0.65  # of the whole time, kept back for the final training
SPARE = 1.1  # on the estimate of the final training: its rows are loaded, its network is tested and saved
WRITING = 0.01  # of the whole time, for the files and the report


@dataclass(frozen=True)
class TimeBudget:
    """total: seconds given, infinite where no time was; used: in earlier sessions; begun: when this one began."""

    total: float = math.inf
    used: float = 0.0
    begun: float = 0.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    @property
    def limited(self) -> bool:
        return math.isfinite(self.total)

    @property
    def end(self) -> float:
        """When the run has to be at its end, as the clock says; a final training gets its least share in any case."""
        return self.begun + max(self.total - self.used, LEAST * self.total)

    @property
    def final_end(self) -> float:
        """When the final training has to be."""
        return self.end - WRITING * self.total if self.limited else math.inf

    def search_end(self, final: float) -> float:
        """When the search has to be, where the final training is estimated to take so many seconds."""
        if not self.limited:
            return math.inf
        return self.end - min(max(SPARE * final, LEAST * self.total), MOST * self.total) - WRITING * self.total


class Durations:
    """Seconds that ok candidates took, or would have taken in full, by key; kept up with each record of the journal."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.seconds: dict[str, float] = {}
        self._waiting: dict[int, Mapping[str, Any]] = {}  # proposals without a score, by number

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in a journal's record."""
        if record["kind"] == "proposal":
            self._waiting[record["number"]] = record
        elif record["kind"] == "score":
            proposal = self._waiting.pop(record["number"])
            if record["status"] == "ok" and record["seconds"]:
                self.seconds[record["key"]] = record["seconds"] / self._share(proposal, record["metrics"])

    def of(self, key: str) -> float:
        """Those of a candidate; where another run paid for it, those of the slowest, to be safe; 0 where none is."""
        return self.seconds.get(key, max(self.seconds.values(), default=0.0))

    def _share(self, proposal: Mapping[str, Any], metrics: Mapping[str, float]) -> float:
        """The share of a whole training that an evaluation was. What began with weights that it was given was trained
        for as many epochs as its metrics say.
        """
        fidelity: float = proposal.get("fidelity", FULL)
        if PARENT not in proposal:
            return fidelity
        epochs = metrics.get("epochs", self.recipe.inheriting.epochs) / self.recipe.epochs
        return fidelity * epochs if self.recipe.shorten == "rows" else epochs


def opened(at: float) -> dict[str, Any]:
    """The note of a session that begins, at a Unix time."""
    return {"opened": at}


def closed(at: float) -> dict[str, Any]:
    """The note of a session that ends."""
    return {"closed": at}


def used_seconds(records: Iterable[Mapping[str, Any]]) -> float:
    """Seconds that the sessions behind these journal records were at work; a clock that was put back adds none."""
    total, last = 0.0, None
    for record in records:
        if "opened" in record:
            last = float(record["opened"])
            continue
        now = record.get("closed", record.get("at") if record.get("kind") == "score" else None)
        if now is not None and last is not None:
            total += max(float(now) - last, 0.0)
            last = float(now)
    return total


def is_over(records: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a session behind these journal records came to its end, with nothing begun or given since."""
    over = False
    for record in records:
        if record["kind"] != "note" or "time" in record or "budget" in record:
            over = False
        elif "closed" in record:
            over = True
    return over
