"""A pool of worker processes, each started afresh, so that what a candidate ruins is its worker and no more.

A thread of this process hands out jobs and watches the workers from outside: memory, time, sudden ends. It needs no
cooperation from a candidate, which may be stuck anywhere. What ends a worker decides what its candidate gets:

    over its memory                                            oom
    over its time (the worker looks too, at every step)        timeout
    exit, abort, segmentation fault: its own doing             crashed
    SIGKILL, SIGTERM, ...: from outside                        tried once more, the second time crashed

Candidates of less than a millisecond travel in batches, or sending them would take longer than they do. Where a worker
ends under a batch, for whatever reason, its candidates are run again one by one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

import psutil

from evosearch.errors import WorkerError
from evosearch.score import Score, Status
from evosearch.workers import GIB, EvaluatorSpec, Job, Resources, WorkerSettings, seats
from evosearch.workers.records import LONGEST_LOG, keep

log = logging.getLogger(__name__)

WATCH = 0.05  # seconds between looks; a core fills about 100 MB of fresh memory in that time
GRACE = 1.0  # seconds over the time limit in which a worker may still say so itself, which spares a new worker
STARTING = 300.0  # seconds in which a worker must be ready
BATCH = 0.01  # seconds of work that are given to a worker at a time, where candidates take less
SHORT = 0.001  # seconds: candidates that take longer are given one by one
MOST = 64  # candidates in a batch
BROKEN_STARTS = 3  # workers in a row that ended before they were ready: no other will fare better
SHOT_STARTS = 10  # the same where something outside ends them, which may stop doing so
# What a worker runs. It finds modules where this process does, from the first import on: evosearch in a checkout, a
# person's own function, and nothing in the current folder that this process would not take from there (hence -P).
SERVE = "import sys; sys.path[:] = sys.argv[2:]; from evosearch.workers.serve import main; main(int(sys.argv[1]))"
REFUSED = 5  # times in a row that the system may refuse to start a process: no memory or no process left just now
PAUSE = 1.0  # seconds until it is asked again
OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(eq=False)
class _Worker:
    """A process and what it is doing."""

    seat: int
    resources: Resources
    process: subprocess.Popen[bytes]
    connection: Connection
    log: Path
    started: float
    ready: bool = False
    leaving: bool = False
    jobs: tuple[Job, ...] = ()
    held: int = 0  # bytes of its device's memory, when last looked at
    ended_for: tuple[Status, str] | None = None


@dataclass(eq=False)
class _Shared:
    """What the calling thread and the watching thread both touch."""

    jobs: deque[Job] = field(default_factory=deque)
    results: queue.SimpleQueue[tuple[int, Score] | WorkerError] = field(default_factory=queue.SimpleQueue)
    closing: threading.Event = field(default_factory=threading.Event)
    held: int = 0  # bytes of their devices' memory that the workers take together


class ProcessPool:
    """Worker processes; see `Pool`. They start at once and together, and jobs wait for them."""

    def __init__(self, spec: EvaluatorSpec, settings: WorkerSettings, candidates: Path | None = None) -> None:
        self._seats = seats(settings)
        self._out = 0
        self._failed: WorkerError | None = None
        self._shared = _Shared()
        self._wake, woken = socket.socketpair()
        watch = _Watcher(spec, self._seats, candidates, self._shared, woken)
        # A daemon: an exit that forgets to close the pool must not hang on it. Its workers end with this process.
        self._thread = threading.Thread(target=watch.run, name="evosearch-workers", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        return len(self._seats)

    @property
    def memory(self) -> tuple[int, int]:
        """See `Pool`."""
        given = (seat.memory if seat.device == "cpu" else seat.device_memory for seat in self._seats)
        return self._shared.held, sum(given)

    def submit(self, job: Job) -> None:
        self._out += 1
        self._shared.jobs.append(job)
        self._nudge()

    def wait(self, timeout: float | None = None) -> list[tuple[int, Score]]:
        if self._failed is not None:
            raise self._failed
        found: list[tuple[int, Score]] = []
        while self._out:
            try:
                result = self._shared.results.get(block=not found, timeout=timeout)
            except queue.Empty:
                break
            if isinstance(result, WorkerError):
                self._failed = result
                raise result
            self._out -= 1
            found.append(result)
        return found

    def close(self) -> None:
        if not self._shared.closing.is_set():
            self._shared.closing.set()
            self._nudge()
            self._thread.join()
            self._wake.close()

    def _nudge(self) -> None:
        with contextlib.suppress(OSError):  # the thread has ended, and left its reason for wait to raise
            self._wake.send(b".")

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Watcher:
    """The watching thread: starts workers, hands out jobs, ends and replaces workers."""

    def __init__(
        self,
        spec: EvaluatorSpec,
        resources: tuple[Resources, ...],
        candidates: Path | None,
        shared: _Shared,
        woken: socket.socket,
    ) -> None:
        self._spec, self._resources, self._candidates = spec, resources, candidates
        self._shared, self._woken = shared, woken
        self._workers: list[_Worker] = []
        self._killed: dict[int, int] = {}  # job number -> workers that were killed from outside under it
        self._alone: set[int] = set()  # numbers of jobs that a batch was ended under
        self._pace = SHORT  # seconds that a candidate took lately
        self._broken_starts = 0
        self._folder = Path()

    def run(self) -> None:
        with tempfile.TemporaryDirectory(prefix="evosearch-workers-", ignore_cleanup_errors=True) as folder:
            self._folder = Path(folder)
            try:
                for seat in range(len(self._resources)):
                    self._start(seat)
                while not self._shared.closing.is_set():
                    self._turn()
            except WorkerError as error:
                self._shared.results.put(error)
            except Exception as error:  # noqa: BLE001 - raised again in the calling thread, by wait
                log.error("the pool of workers broke: %s", traceback.format_exc())
                self._shared.results.put(WorkerError(f"the pool of workers broke: {type(error).__name__}: {error}"))
            finally:
                for worker in self._workers:
                    _kill(worker)
                    worker.connection.close()
                self._woken.close()

    def _turn(self) -> None:
        for worker in self._workers:
            if worker.ready and not worker.leaving and not worker.jobs and self._shared.jobs:
                self._give(worker, self._next())
        for heard in wait([self._woken, *(worker.connection for worker in self._workers)], WATCH):
            if heard is self._woken:
                self._woken.recv(4096)
        for worker in list(self._workers):
            self._hear(worker)
            if worker.process.poll() is None:
                self._look(worker)
            if worker.process.poll() is not None:
                self._hear(worker)  # what it said between the last look and its end
                self._bury(worker)
        self._shared.held = sum(worker.held for worker in self._workers)

    def _start(self, seat: int) -> None:
        path = self._folder / f"{seat}-{time.monotonic_ns()}.log"
        for refused in range(1, REFUSED + 1):
            try:
                process, connection = _opened(path)
                break
            except OSError as error:
                if refused == REFUSED or isinstance(error, FileNotFoundError):  # where there is none, none will be
                    raise WorkerError(f"no worker could be started: {error}") from error
                log.warning("a worker could not be started (%s); the next try is in %g s", error, PAUSE)
                self._shared.closing.wait(PAUSE)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died already; _bury says so
            connection.send((self._spec, self._resources[seat]))
        worker = _Worker(seat, self._resources[seat], process, connection, path, time.monotonic())
        self._workers.append(worker)

    def _next(self) -> tuple[Job, ...]:
        """The next job, and as many behind it as make a batch: short ones, shared fairly among the workers."""
        jobs = self._shared.jobs
        most = 1
        if self._pace < SHORT:
            most = min(MOST, int(BATCH / max(self._pace, BATCH / MOST)), -(-len(jobs) // len(self._workers)))
        found = [jobs.popleft()]
        while len(found) < most and jobs and not {found[0].number, jobs[0].number} & self._alone:
            found.append(jobs.popleft())
        return tuple(found)

    def _give(self, worker: _Worker, jobs: tuple[Job, ...]) -> None:
        worker.jobs, worker.started = jobs, time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send(jobs)

    def _hear(self, worker: _Worker) -> None:
        while True:
            try:
                if not worker.connection.poll():
                    return
                said, *rest = worker.connection.recv()
            except (EOFError, OSError):
                return  # it is ending, which poll() will show in a moment
            if said == "ready":
                worker.ready, self._broken_starts = True, 0
            elif said == "done":
                self._done(worker, *rest)
            else:
                raise WorkerError(str(rest[0]))

    def _done(self, worker: _Worker, answers: list[tuple[int, Score, str]], leave: bool, held: int) -> None:
        taken = (time.monotonic() - worker.started) / len(answers)
        self._pace += 0.2 * (taken - self._pace) if taken < self._pace else taken - self._pace
        worker.jobs, worker.leaving = (), leave
        worker.held = held or worker.held
        for number, score, said in answers:
            self._killed.pop(number, None)
            self._alone.discard(number)
            self._answer(number, score, said)
        if leave:
            _kill(worker)  # what a candidate left behind could hang its exit, and with it the seat

    def _look(self, worker: _Worker) -> None:
        """End a worker that takes too much."""
        over = _over(worker)
        if over is not None:
            worker.ended_for = over
            _kill(worker)

    def _bury(self, worker: _Worker) -> None:
        """Answer for a dead worker's candidate, and start the next worker."""
        _kill(worker)
        worker.connection.close()
        self._workers.remove(worker)
        if not worker.ready:
            self._broken_starts += 1
            code = worker.process.returncode
            if self._broken_starts >= (SHOT_STARTS if -code in OUTSIDE else BROKEN_STARTS):
                last = _tail(worker.log).strip().splitlines()[-1:] or ["it said nothing"]
                raise WorkerError(
                    f"{self._broken_starts} workers in a row ended before they were ready ({_ending(code)}); "
                    f"the last one said: {last[0]}"
                )
        elif len(worker.jobs) > 1:
            self._alone.update(job.number for job in worker.jobs)
            self._shared.jobs.extendleft(reversed(worker.jobs))
        elif worker.jobs:
            self._answer_for(worker, worker.jobs[0])
        worker.log.unlink(missing_ok=True)
        self._start(worker.seat)

    def _answer_for(self, worker: _Worker, job: Job) -> None:
        code = worker.process.returncode
        if worker.ended_for is not None:
            status, reason = worker.ended_for
        elif -code in OUTSIDE:
            self._killed[job.number] = self._killed.get(job.number, 0) + 1
            if self._killed[job.number] < 2:
                log.warning("a worker was ended from outside (%s); its candidate is tried once more", _ending(code))
                self._shared.jobs.appendleft(job)
                return
            status, reason = "crashed", f"two workers were ended from outside under it, the last by {_ending(code)}"
        else:
            status, reason = "crashed", f"its process ended by itself: {_ending(code)}"
        self._killed.pop(job.number, None)
        self._alone.discard(job.number)
        seconds = time.monotonic() - worker.started
        score = Score(key=job.key, status=status, seconds=seconds, seed=job.seed, error=reason)
        self._answer(job.number, score, _tail(worker.log))

    def _answer(self, number: int, score: Score, output: str) -> None:
        keep(self._candidates, score, output)
        self._shared.results.put((number, score))


def _opened(path: Path) -> tuple[subprocess.Popen[bytes], Connection]:
    """A worker's process, whose output goes to that file, and the way to it. Raises OSError."""
    ours, theirs = socket.socketpair()
    with ours, theirs, path.open("a+b") as output:  # readable too: the worker sends what a candidate printed
        process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-c", SERVE, str(theirs.fileno()), *map(str, sys.path)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for this process; and what a candidate starts can be ended with it
        )
        return process, Connection(ours.detach())


def _kill(worker: _Worker) -> None:
    """End a worker with everything that its candidates have started, and wait for it to be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.kill()
    worker.process.wait()


def _over(worker: _Worker) -> tuple[Status, str] | None:
    """The status and reason that a worker is to be ended for now, if there is one."""
    taken, limits = time.monotonic() - worker.started, worker.resources
    if not worker.ready:
        return ("timeout", f"not ready after {STARTING:g} s") if taken > STARTING else None
    if not worker.jobs:
        return None
    if limits.time_limit and taken > limits.time_limit + GRACE:
        return "timeout", f"time limit of {limits.time_limit:g} s reached"
    used = _resident(worker)
    if limits.device == "cpu":
        worker.held = used
    if limits.memory and used > limits.memory:
        return "oom", f"took {used / GIB:.2f} GiB, the worker's limit is {limits.memory / GIB:.2f}"
    return None


def _resident(worker: _Worker) -> int:
    try:
        return int(psutil.Process(worker.process.pid).memory_info().rss)
    except psutil.Error:
        return 0  # gone between two looks


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _tail(path: Path) -> str:
    """The end of what a worker printed during its last candidate; where that cannot be read, why."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LONGEST_LOG))
            return file.read().decode("utf-8", "replace")
    except OSError as error:  # temporary files are cleared away under long runs, and a score must not hang on one
        return f"what it printed cannot be read: {error}\n"
