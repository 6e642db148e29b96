"""What rules that end trainings early saved, and what they cost."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.evaluation import stopping
from evosearch.report.figures import measured, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.evaluation.stopping import Known
    from evosearch.report.reading import Candidate, RunReading

LOOKED_AT = 10_000  # candidates of a run with a rule, the first ones
REPLAYED = 500  # candidates, the first ones, on which rules are tried again
LEAST = 20  # whole curves below which nothing is said


@dataclass(frozen=True)
class Saved:
    """What a rule did to a run's trainings, or would have done.

    trainings: that it looked at. stopped: that it ended. epochs: of all of them in whole. saved: of these, not trained.
    lost: by how much the best that it left is worse than the best of all, in the objective's unit; None where that is
    not known, since what was stopped has no end.
    """

    rule: str
    trainings: int
    stopped: int
    epochs: int
    saved: int
    lost: float | None


def happened(run: RunReading) -> Saved | None:
    """What the run's own rule did; None without one, or where no training was long enough."""
    rule = str(run.config["recipe"].get("stop", stopping.OFF))
    if rule == stopping.OFF:
        return None
    looked_at = [one for one in run.scored()[:LOOKED_AT] if one.status in ("ok", "stopped")]
    trained = [(one, curve) for one in looked_at if (curve := curve_of(one))]
    whole = _lengths(trained)
    if max(whole.values(), default=0) < 2:
        return None
    left = [whole[one.fidelity] - len(curve) for one, curve in trained if one.status == "stopped"]
    return Saved(rule, len(trained), len(left), sum(whole[one.fidelity] for one, _ in trained), sum(left), None)


def replayed(run: RunReading) -> list[Saved]:
    """What each bundled rule would have done to a run in which every training went to its end, over its first REPLAYED
    candidates. Empty where the run stopped some itself, where the task's metric is not what it searched for, and where
    too few curves are known.
    """
    if run.config["recipe"].get("stop", stopping.OFF) != stopping.OFF:
        return []
    metric, sign = run.objective
    trained = [
        (one, curve)
        for one in run.scored()[:REPLAYED]
        if (curve := curve_of(one)) and one.status == "ok" and measured(one, metric) == curve[-1]
    ]
    whole = _lengths(trained)
    ended = [one for one, curve in trained if len(curve) == whole[one.fidelity]]
    if len(ended) < LEAST or max(whole.values()) < 2:
        return []
    return [_replayed(run, name, trained, sign) for name in stopping.bundled()]


def warm_up() -> None:
    """Have every bundled rule learn from made-up curves: a first fit loads libraries, and no page waits for that."""
    for name in stopping.bundled():
        rule = stopping.find(name)
        assert rule is not None, "a bundled rule is there"
        known = stopping.known(rule)
        for at in range(2 * LEAST):
            known.add((at % 7, at % 5, at % 3))
        known.brief()


def _replayed(run: RunReading, name: str, trained: Sequence[tuple[Candidate, tuple[float, ...]]], sign: int) -> Saved:
    rule = stopping.find(name)
    assert rule is not None, "a bundled rule is there"
    search = run.config["search"]
    window = int(search.get("lookahead", 0)) if search.get("order") != "arrival" else 0
    seen: defaultdict[float, Known] = defaultdict(lambda: stopping.known(rule))
    waiting: deque[tuple[int, float, tuple[float, ...]]] = deque()
    stopped, saved = 0, 0
    left: list[tuple[float, float]] = []
    for one, curve in trained:
        while waiting and waiting[0][0] < one.number - window:
            _, fidelity, known = waiting.popleft()
            seen[fidelity].add(known)
        brief = seen[one.fidelity].brief()
        ends = next((at for at in range(1, len(curve)) if rule.stop(brief, curve[:at], sign)), len(curve))
        stopped += ends < len(curve)
        saved += len(curve) - ends
        waiting.append((one.number, one.fidelity, curve[:ends]))
        if ends == len(curve):
            left.append((one.fidelity, sign * curve[-1]))
    everything = max((one.fidelity, sign * curve[-1]) for one, curve in trained)
    best = max((value for fidelity, value in left if fidelity == everything[0]), default=None)
    lost = None if best is None else everything[1] - best
    return Saved(name, len(trained), stopped, sum(len(curve) for _, curve in trained), saved, lost)


def curve_of(one: Candidate) -> tuple[float, ...]:
    """A candidate's curve; empty where it has none, or one with something else than numbers in it."""
    found = [number(value) for value in (one.score or {}).get("curve") or ()]
    return () if None in found else tuple(value for value in found if value is not None)


def _lengths(trained: Sequence[tuple[Candidate, tuple[float, ...]]]) -> dict[float, int]:
    """The longest curve of each fidelity."""
    longest: dict[float, int] = {}
    for one, curve in trained:
        longest[one.fidelity] = max(longest.get(one.fidelity, 0), len(curve))
    return longest
