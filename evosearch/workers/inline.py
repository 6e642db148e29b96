"""Evaluate in this process: for tables, and where it is asked for by name.

What a candidate raises is its score, and what it prints by Python's means its log. Nothing else is contained: one that
hangs, exits, crashes or fills the memory takes the search with it.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections import deque
from typing import TYPE_CHECKING

from evosearch.workers import EvaluatorSpec, Job, WorkerSettings, seats
from evosearch.workers.records import contained, keep

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.score import Score

PATIENCE = 0.05  # seconds that a finished evaluation may wait for the next ones before it is journaled


class InlinePool:
    size = 1
    memory = (0, 0)

    def __init__(self, spec: EvaluatorSpec, settings: WorkerSettings, candidates: Path | None = None) -> None:
        self._evaluate = spec.build(seats(settings)[0])
        self._candidates = candidates
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self, timeout: float | None = None) -> list[tuple[int, Score]]:
        """The next job's score, and of those behind it as many as fit into the patience: one fsync serves them all."""
        until = time.monotonic() + (PATIENCE if timeout is None else min(PATIENCE, timeout))
        done: list[tuple[int, Score]] = []
        said = io.StringIO()
        while self._jobs:
            job = self._jobs.popleft()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                score, log = contained(self._evaluate, job)
            keep(self._candidates, score, f"{log}{said.getvalue()}")
            if said.tell():
                said = io.StringIO()
            done.append((job.number, score))
            if time.monotonic() >= until:
                break
        return done

    def close(self) -> None:
        self._jobs.clear()
