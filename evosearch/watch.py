"""Who is told how a run goes, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever watches.

    best_by: where the search has rungs, what part of an evaluation the best fitness is of, in words; figures of other
        parts do not compare with it.
    rate: evaluations a second in this session. seconds_left: None until there is a rate.
    failures: by status. duplicates: redrawn before any work was done. known: scores that another run had paid for.
    recent: the latest fitnesses, NaN for failures. earned: by mutation, (trials, mean reward). phase: search or final.
    doing: how far that phase is, in words.
    time: seconds that the run was given, 0 for no limit. endless: whether only its time ends it, not its budget.
    device: what candidates are trained on. memory: bytes that the workers take of its memory, and may take.
    """

    evaluated: int
    budget: int
    best_key: str | None
    best_fitness: float | None
    best_params: int | None
    rate: float
    seconds_left: float | None
    failures: Mapping[str, int]
    duplicates: int
    known: int
    recent: tuple[float, ...]
    earned: Mapping[str, tuple[int, float]]
    workers: int
    phase: str
    device: str = ""
    memory: tuple[int, int] = (0, 0)
    time: float = 0.0
    endless: bool = False
    doing: str = ""
    best_by: str = ""


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    fitness: the best candidate's on the validation split; None where the time was over before any had a score.
    test_metric: of the final network, by metric name; empty where the task has no network.
    baseline: likewise, of a linear model on the same splits; baseline_name: what it is, in words.
    again: the best candidate's fitness when it was trained as before by another seed; with a time on other rows, where
        the validation rows were drawn at random.
    failed_key: of a candidate that failed as most did; empty where none failed in this session.
    searched: in words, the candidate that the search liked best, where another network is kept; else empty.
    at_random: in words, what as many samples of the grammar as the run drew came to; empty where it drew none.
    networks: in the ensemble that is kept, 0 where a single one is; single: the test metric of its best member.
    before: whether the run had come to its end before, and nothing was done now.
    """

    folder: Path
    evaluated: int
    distinct: int
    best_key: str
    best_text: str
    fitness: float | None
    test_metric: Mapping[str, float]
    baseline: Mapping[str, float]
    seconds: float
    failures: Mapping[str, int]
    duplicates: int
    baseline_name: str = ""
    single: Mapping[str, float] = field(default_factory=dict)
    networks: int = 0
    again: float | None = None
    failed_key: str = ""
    at_random: str = ""
    searched: str = ""
    before: bool = False


class Watch(Protocol):
    """Who is told how a run goes.

    described: what was made of the data, before anything is trained. note: what went otherwise than asked.
    """

    def started(self, info: Mapping[str, Any]) -> None: ...
    def described(self, lines: Sequence[str]) -> None: ...
    def progress(self, progress: Progress) -> None: ...
    def note(self, text: str) -> None: ...
    def finished(self, summary: Summary) -> None: ...
