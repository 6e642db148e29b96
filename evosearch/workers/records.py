"""Failures as values: an evaluation that raises is a score, and what is kept of it lies in `candidates/<key>/`."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING

from evosearch.score import Score
from evosearch.training import failed, one_line
from evosearch.workers import Evaluation, Evaluator, Job

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_LOG = 64 * 1024  # bytes, from the end


def contained(evaluate: Evaluator, job: Job) -> Evaluation:
    """The evaluation of a job; an exception that came through is a crashed score (oom for memory) and its traceback."""
    begun = time.monotonic()
    try:
        return evaluate(job)
    except Exception as failure:  # noqa: BLE001 - a candidate's own code may raise anything at all
        seconds = time.monotonic() - begun
        score = Score(job.key, failed(failure), seconds=seconds, seed=job.seed, error=one_line(failure))
        return Evaluation(score, traceback.format_exc())


def keep(candidates: Path | None, score: Score, log: str) -> None:
    """Write a failure's reason to error.txt, and what it printed or raised to log. ok and stopped leave nothing."""
    if candidates is None or score.status in ("ok", "stopped"):
        return
    folder = candidates / score.key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "error.txt").write_text(f"{score.status}: {score.error}\n", encoding="utf-8")
    if log.strip():
        tail = log.encode("utf-8", "replace")[-LONGEST_LOG:]
        (folder / "log").write_bytes(tail)
