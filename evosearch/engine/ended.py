"""A run that came to its end: what it came to is told again, where it is resumed and gets no more."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pydantic

from evosearch import config as configuration
from evosearch import logs
from evosearch.engine import timing
from evosearch.engine.replay import largest_budget, longest_time, recorded
from evosearch.errors import RunCorrupt, UsageError
from evosearch.report.reading import metrics_of
from evosearch.report.text import near
from evosearch.store.run import Run
from evosearch.store.verify import verify_best
from evosearch.watch import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evosearch.engine.replay import Changes
    from evosearch.watch import Watch

SUMMARY = "summary"  # in best/metrics.json: what `kept` gives
UNKNOWN: Mapping[str, Any] = {"seconds": math.inf}  # of a best/ that does not check: what it took is not known


def kept(summary: Summary) -> dict[str, Any]:
    """A summary as plain values, without the folder, which may move."""
    return {name: value for name, value in asdict(summary).items() if name != "folder"}


@dataclass(frozen=True)
class End:
    """How a run came to its end.

    budget: candidates it was given; time: seconds, NaN where it has no limit. spent: whether so little of the time is
    left that a larger budget is of no use. exhausted: why there was no further candidate, empty where there is one.
    used: seconds that it took of its time; final: of these, those of the final training, infinite where nobody knows.
    """

    budget: int
    time: float
    spent: bool
    exhausted: str
    used: float = 0.0
    final: float = 0.0

    def goes_on(self, changes: Changes) -> bool:
        """Whether it has something to do after a resume with these changes, or gets less than it had, which is refused
        by name.
        """
        budget, time = changes.budget or self.budget, changes.time
        more = budget > self.budget and not self.spent and not self.exhausted
        return more or budget < self.budget or (time is not None and configuration.seconds(time) != self.time)

    def refuses(self, changes: Changes) -> bool:
        """Whether a resume that does not go on asked for it: for no other time, or for candidates without time."""
        return changes.time is not None or ((changes.budget or 0) > self.budget and not self.exhausted)

    def require_enough(self, changes: Changes) -> None:
        """Raise UsageError for a longer time that has no place for a search before a final training like the last."""
        if changes.time is None or not configuration.seconds(changes.time) > self.time or not math.isfinite(self.final):
            return
        final = min(self.final, timing.MOST * self.time)  # on a machine that was busy it took more than its share
        more, least = configuration.seconds(changes.time) - self.used, (1 + timing.LEAST) * final
        if more < least:
            raise UsageError(
                f"{max(more, 0):.0f} s more than it has used are too few: the final training takes {final:.0f} s "
                f"again, so nothing would be searched; give it {math.ceil(least)} s more at least, "
                f"{math.ceil(self.used + least)} s in all"
            )

    def __str__(self) -> str:
        """What it needs to go on, to be read on after that it is finished."""
        if self.exhausted:
            return f": {self.exhausted}"
        if math.isnan(self.time):
            return "; a larger budget gives it more"
        return f"; a longer time{'' if self.spent else ', or a larger budget,'} gives it more"


def told_again(folder: Path, watch: Watch, changes: Changes) -> Summary | None:
    """What a finished run came to, where it gets nothing that it could go on with; None of a run that goes on.

    Nothing is done but to make its logs whole. Raises UsageError where it gets what is of no use to it: a final
    training in the rest of its time would put a network of a few steps in the place of the one that there is.
    """
    try:
        metrics = metrics_of(folder)
    except RunCorrupt:
        metrics = UNKNOWN
    if not metrics:
        return None
    with Run.open(folder, write=True) as run:
        summary, checkpoint = _summary(folder, metrics), run.load_checkpoint(archive=False)
        end = _end(run, metrics, summary, str(checkpoint.state["exhausted"]) if checkpoint is not None else "")
        if end is not None:
            end.require_enough(changes)
        if end is None or end.goes_on(changes):
            return None
        whole = checkpoint is not None and checkpoint.newest and not run.torn and not list(verify_best(folder))
        known = summary is not None and whole and changes.log is None
        if end.refuses(changes) or not (known or math.isnan(end.time)):
            raise UsageError(f"{folder} is finished{end}")
        if summary is None or not known:
            return None  # trained and written anew, as it was
        logs.Logs(logs.Session(run), logs.makers(())).close()
    watch.note(f"{folder} is finished{end}")
    watch.finished(summary)
    return summary


def _end(run: Run, metrics: Mapping[str, Any], summary: Summary | None, exhausted: str) -> End | None:
    """How a run with best/ came to its end; None where it has not, since it was given more."""
    given, budget = longest_time(run), max(largest_budget(run), recorded(run).search.budget)
    if not given:
        over = summary is not None and summary.evaluated == run.scores and (run.scores >= budget or bool(exhausted))
        return End(budget, math.nan, False, exhausted) if over else None
    records, total = list(run.records()), configuration.seconds(given)
    used, final = timing.used_seconds(records), metrics.get("seconds", 0.0)
    spent = run.scores < budget or total - used < max(timing.LEAST * total, final)
    return End(budget, total, spent, exhausted, used, final) if timing.is_over(records) else None


def _summary(folder: Path, metrics: Mapping[str, Any]) -> Summary | None:
    """What the run said at its end; None where that was not kept, by an evosearch of before, or is of another one."""
    told = metrics.get(SUMMARY)
    if not isinstance(told, dict):
        return None
    try:
        return pydantic.TypeAdapter(Summary).validate_python({**told, "folder": near(folder), "before": True})
    except pydantic.ValidationError:
        return None
