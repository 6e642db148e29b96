"""The figures of a run that are drawn over the evaluations so far, the same wherever they are drawn.

    fitness/evaluated, fitness/best        of each evaluation that succeeded, and the best so far of whole ones
    cost/params, cost/flops, cost/seconds  of each evaluation
    failures/STATUS                        how many there were until then
    q/MUTATION                             what the policy holds each mutation to be worth, once a second at most

The step is the number of evaluations so far.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from evosearch.logs import Scored, Session
    from evosearch.store.run import Record

EVERY = 1.0  # seconds between two looks at what the policy has learned


class Point(NamedTuple):
    """The figures of one evaluation, by name. at: Unix time of its score."""

    step: int
    at: float
    values: dict[str, float]


class Scalars:
    """Follows a run from where a session finds it, or from its `beginning`."""

    def __init__(
        self, session: Session, clock: Callable[[], float] = time.monotonic, *, beginning: bool = False
    ) -> None:
        self.objective, self.sign, self.worth, self.clock = session.objective, session.sign, session.worth, clock
        self.step = 0 if beginning else session.evaluated
        self.best = None if beginning else session.best
        self.failures = Counter[str]() if beginning else Counter(session.failures)
        self.looked = -EVERY

    def points(self, scored: Sequence[Scored]) -> Iterator[Point]:
        """Of scores that were journaled just now, in that order; then what each mutation is held to be worth."""
        for one in scored:
            yield self.point(one.proposal, one.score)
        if scored and self.clock() - self.looked >= EVERY:
            self.looked = self.clock()
            worth = {f"q/{name}": value for name, value in sorted(self.worth().items())}
            yield Point(self.step, float(scored[-1].score["at"]), worth)

    def point(self, proposal: Record, score: Record) -> Point:
        """Of one score, the next."""
        self.step += 1
        values: dict[str, float] = {}
        ok = score["status"] == "ok"
        fitness = {**score["cost"], **score["objectives"]}.get(self.objective) if ok else None
        if fitness is not None:
            values["fitness/evaluated"] = fitness
            whole = proposal.get("fidelity", 1.0) == 1.0
            if whole and (self.best is None or self.sign * fitness > self.sign * self.best):
                self.best = fitness
        if self.best is not None:
            values["fitness/best"] = self.best
        values |= {f"cost/{name}": score["cost"][name] for name in ("params", "flops")}
        values["cost/seconds"] = score["seconds"]
        if not ok:
            self.failures[score["status"]] += 1
            values[f"failures/{score['status']}"] = self.failures[score["status"]]
        return Point(self.step, float(score["at"]), values)
