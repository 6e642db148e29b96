"""Failures as values: an evaluation that raises is a score, and what is kept of it lies in `candidates/<key>/`."""

from __future__ import annotations

import errno
import logging
import os
import time
import traceback
from typing import TYPE_CHECKING

from evosearch.errors import StorageError
from evosearch.evaluation.failures import failed, one_line
from evosearch.score import Score
from evosearch.store.disk import Disk, refusal
from evosearch.workers import Evaluation, Job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

UNEVENTFUL = ("ok", "stopped")  # statuses of which nothing is kept
LONGEST_LOG = 64 * 1024  # bytes, from the end


def contained(evaluate: Callable[[Job], Evaluation], job: Job) -> Evaluation:
    """The evaluation of a job; an exception that came through is a crashed score (oom for memory) and its traceback."""
    begun, here = time.monotonic(), os.getpid()
    try:
        return evaluate(job)
    except KeyboardInterrupt:
        raise  # a person's, where no process of its own is between
    except BaseException as failure:  # noqa: BLE001 - a candidate's own code may raise anything, and call exit
        seconds = time.monotonic() - begun
        score = Score(job.key, failed(failure), seconds=seconds, seed=job.seed, error=one_line(failure))
        return Evaluation(score, traceback.format_exc())
    finally:
        if os.getpid() != here:
            os._exit(0)  # a process that the candidate forked and that came back: what it says is no second answer


def keep(candidates: Path | None, score: Score, output: str, disk: Disk | None = None) -> None:
    """Write a failure's reason to error.txt, and what it printed or raised to log. ok and stopped leave nothing.

    Nothing depends on these files: they are not synced, no symbolic link is followed to write them, and where the disk
    refuses, the log says so and the score counts as ever.
    """
    if candidates is None or score.status in UNEVENTFUL or not candidates.parent.is_dir():
        return  # the run's folder is gone, which whoever writes the journal says
    folder, disk = candidates / score.key, disk or Disk()
    files = {"error.txt": f"{score.status}: {score.error}\n"}
    if output.strip():
        files["log"] = output
    try:
        for place in (candidates, folder):
            if place.is_symlink():
                raise refusal(place, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
            disk.mkdir(place)
        for name, text in files.items():
            disk.write_new(folder / name, text.encode("utf-8", "backslashreplace")[-LONGEST_LOG:], durable=False)
    except StorageError as error:
        log.warning("why a candidate got '%s' is not kept: %s", score.status, error)
