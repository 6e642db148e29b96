"""Evaluate in this process, one job for each wait. For tests, tables and functions: nothing is contained."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from evosearch.workers import EvaluatorSpec, Job, WorkerSettings, seats
from evosearch.workers.records import contained, keep

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.score import Score


class InlinePool:
    size = 1

    def __init__(self, spec: EvaluatorSpec, settings: WorkerSettings, candidates: Path | None = None) -> None:
        self._evaluate = spec.build(seats(settings)[0])
        self._candidates = candidates
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self, timeout: float | None = None) -> list[tuple[int, Score]]:
        if not self._jobs:
            return []
        job = self._jobs.popleft()
        score, log = contained(self._evaluate, job)
        keep(self._candidates, score, log)
        return [(job.number, score)]

    def close(self) -> None:
        self._jobs.clear()
