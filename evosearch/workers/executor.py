"""Evaluations through a `concurrent.futures.Executor`: what runs where is the executor's, everything else is the same.

The run's process keeps journal, checkpoint and ledger. Jobs cross as bytes, grammar, code and data by their content
(`evosearch.workers.parcel`); where weights pass on, a job brings its parent's, and its answer the candidate's own. What
an executor raises for a job is the end of a process or a machine that was at work on it: the job is tried once more,
and the second time it crashed.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from evosearch.errors import ConfigError, WorkerError
from evosearch.evaluation.failures import one_line
from evosearch.evaluation.lineage import file_of, put
from evosearch.score import Score
from evosearch.store.disk import content
from evosearch.store.framing import decode
from evosearch.workers import EvaluatorSpec, Job, WorkerSettings, parcel, remote
from evosearch.workers.records import keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from evosearch.evaluation.evaluators import Spec

log = logging.getLogger(__name__)

TRIES = 2  # of a job whose process or machine ends under it


class ExecutorPool:
    """A Pool whose jobs run in an executor. open_executor: makes it, and makes it anew where it broke."""

    memory = (0, 0)  # nobody looks at other machines' memory

    def __init__(
        self,
        spec: EvaluatorSpec,
        settings: WorkerSettings,
        candidates: Path | None,
        open_executor: Callable[[], Executor],
    ) -> None:
        self._settings, self._candidates, self._open = settings, candidates, open_executor
        told = cast("Spec", spec)
        self._folder = Path(told.folder)
        self._parcel = parcel.packed(told)
        self._executor = open_executor()
        self.size = settings.workers or slots(self._executor)
        self._out: dict[int, Job] = {}
        self._lost: Counter[int] = Counter()
        self._answered = False
        self._futures: set[Future[bytes]] = set()
        self._ended: queue.SimpleQueue[tuple[int, Future[bytes]]] = queue.SimpleQueue()

    def submit(self, job: Job) -> None:
        self._out[job.number] = job
        self._send(job)

    def wait(self, timeout: float | None = None) -> list[tuple[int, Score]]:
        until = None if timeout is None else time.monotonic() + timeout
        found: list[tuple[int, Score]] = []
        while self._out:
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                number, future = self._ended.get(block=not found, timeout=left)
            except queue.Empty:
                break
            self._futures.discard(future)
            if (score := self._score(self._out[number], future)) is not None:
                del self._out[number]
                found.append((number, score))
        return found

    def close(self) -> None:
        """What runs in an executor's processes ends with them, or when it is done."""
        for future in list(self._futures):
            future.cancel()
        self._executor.shutdown(wait=False)

    def _send(self, job: Job, sent: bytes = b"") -> None:
        weights = None if job.parent is None else content(file_of(self._folder, job.parent[0]))
        asked = remote.request(self._parcel.digest, self._settings, job, weights)
        try:
            future = self._executor.submit(remote.evaluate, asked, sent)
        except (OSError, RuntimeError, ValueError) as error:  # a process pool that breaks just now may raise all three
            log.warning("the executor broke (%s); another one is opened", one_line(error))
            self._executor.shutdown(wait=False)
            self._executor = self._open()
            try:
                future = self._executor.submit(remote.evaluate, asked, sent)
            except (OSError, RuntimeError, ValueError) as again:
                raise WorkerError(f"the executor takes no jobs, opened anew neither: {one_line(again)}") from again
        self._futures.add(future)
        future.add_done_callback(partial(self._done, job.number))

    def _done(self, number: int, future: Future[bytes]) -> None:
        self._ended.put((number, future))

    def _score(self, job: Job, future: Future[bytes]) -> Score | None:
        """The score that came; None where the job is sent once more."""
        try:
            answer = decode(future.result())
        except ImportError as error:
            raise WorkerError(f"a worker cannot run evosearch ({error}); install the same version there") from error
        except (Exception, CancelledError) as error:  # noqa: BLE001 - an executor may raise anything
            return self._after(job, error)
        if "missing" in answer:
            self._send(job, self._parcel.data)
            return None
        if "broken" in answer:
            raise WorkerError(str(answer["broken"]))
        self._answered = True
        self._lost.pop(job.number, None)
        score = Score.unpack(answer["score"])
        if answer["weights"] is not None:
            put(file_of(self._folder, job.number), answer["weights"])
        keep(self._candidates, score, answer["log"])
        return score

    def _after(self, job: Job, error: BaseException) -> Score | None:
        """What becomes of a job whose process or machine ended. Raises WorkerError where none ever answered."""
        self._lost[job.number] += 1
        if self._lost[job.number] < TRIES:
            log.warning("a worker was lost (%s); its candidate is tried once more", one_line(error))
            self._send(job)
            return None
        if not self._answered:
            raise WorkerError(f"no worker of the executor has answered yet: {one_line(error)}") from error
        del self._lost[job.number]
        reason = f"{TRIES} workers were lost under it, the last by {one_line(error)}"
        score = Score(job.key, "crashed", seed=job.seed, error=reason)
        keep(self._candidates, score, "")
        return score


def slots(executor: Executor) -> int:
    """Jobs that an executor runs at a time, as far as it says so. Raises ConfigError."""
    for name in ("size", "_max_workers"):  # ours; those of the standard library
        if isinstance(found := getattr(executor, name, None), int) and found > 0:
            return found
    raise ConfigError(f"workers.workers: {type(executor).__name__} does not say how many jobs it runs; say --workers N")


__all__ = ["ExecutorPool", "slots"]
