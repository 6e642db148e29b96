"""Evaluations through a folder that several machines share: files written beside and renamed, and nothing else.

    RUN/queue/jobs/NUMBER                a job that waits, as msgpack
    RUN/queue/claimed/NUMBER.WORKER      the same file, renamed by the worker that does it
    RUN/queue/done/NUMBER                its result
    RUN/queue/workers/WORKER, drivers/DRIVER   a sign of life: a number that grows

The run's process, the *driver*, writes jobs and takes in what is done. A sign that has not grown for `workers.silence`
seconds by the watcher's own clock is a death: what the worker had claimed is tried once more, the second time it
crashed. Nothing here compares the clocks of two machines.

A rename makes one worker the owner of a job. Over NFS a rename that succeeded may be answered as one that failed, when
the answer was lost and the request came again: the worker looks whether the file has its name.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from evosearch.score import Score
from evosearch.store.disk import Disk, content
from evosearch.store.framing import decode, encode
from evosearch.workers import EvaluatorSpec, Job, Pool, WorkerSettings
from evosearch.workers.records import keep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

QUEUE = "queue"
BEATS = 8  # signs of life in the time after which their lack is a death
SHORTEST, LONGEST = 0.005, 0.25  # seconds between two looks into a folder: doubled while there is nothing
TRIES = 2  # of a job whose worker ends under it


class Signs:
    """Signs of life in a folder, and for how long each has not grown, by this process's clock."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock = folder, clock
        self.seen: dict[str, tuple[bytes, float]] = {}

    def silent(self) -> dict[str, float]:
        """Seconds since each sign was seen to grow, by its name; 0 of one that is seen for the first time."""
        now, there = self.clock(), {path.name: content(path) or b"" for path in plain(self.folder)}
        for name, sign in there.items():
            if name not in self.seen or self.seen[name][0] != sign:
                self.seen[name] = sign, now
        self.seen = {name: self.seen[name] for name in there}
        return {name: now - at for name, (_, at) in self.seen.items()}


class Alive:
    """Gives a sign of life until it is closed, from a thread of its own."""

    def __init__(self, path: Path, silence: float) -> None:
        self.path, self.every = path, silence / BEATS
        self._over = threading.Event()
        self._beat(0)
        self._thread = threading.Thread(target=self._run, name="evosearch-alive", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _run(self) -> None:
        number = 0
        while not self._over.wait(self.every):
            number += 1
            with contextlib.suppress(OSError):  # a file system that is away for a moment
                self._beat(number)

    def _beat(self, number: int) -> None:
        replace(self.path, f"{NAME} {number}".encode())


def new_name() -> str:
    """A name that no other process, and no other caller in this one, has on any machine."""
    return f"{socket.gethostname().replace('.', '-')}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


NAME = new_name()  # of this process


def replace(path: Path, data: bytes) -> None:
    """Put a file in its place, whole."""
    beside = path.with_name(f".{path.name}.{NAME}")
    beside.write_bytes(data)
    beside.replace(path)


def plain(folder: Path) -> list[Path]:
    """The files of a folder that are whole, by name; none where it is not there."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith("."))
    except FileNotFoundError:
        return []


def _folders(work: Path) -> None:
    for name in ("", "jobs", "claimed", "done", "workers", "drivers"):
        Disk().mkdir(work / name)


# --- the driver's side -----------------------------------------------------------------------------------------------


class FolderPool:
    """A Pool whose workers are processes that look into `RUN/queue/`: `evolve work RUN` on any machine that has it.

    Of jobs that an earlier driver gave, what is done or claimed is taken as it is.
    """

    memory = (0, 0)

    def __init__(self, spec: EvaluatorSpec, settings: WorkerSettings, candidates: Path | None) -> None:
        assert candidates is not None, "a shared folder is the run's"
        self.folder, self.candidates, self.silence = candidates.parent / QUEUE, candidates, settings.silence
        _folders(self.folder)
        self._out: dict[int, Job] = {}
        self._lost: Counter[int] = Counter()
        self._signs = Signs(self.folder / "workers")
        self._looked = 0.0
        self._unseen: dict[str, float] = {}  # workers that have claims and no sign of life, and since when
        self._alive = Alive(self.folder / "drivers" / NAME, settings.silence)
        self.size = 1

    def submit(self, job: Job) -> None:
        self._out[job.number] = job
        at = self.folder / "jobs" / _name(job)
        if not (self.folder / "done" / at.name).exists() and not self._claimed(at.name):
            replace(at, encode(job.pack()))

    def wait(self, timeout: float | None = None) -> list[tuple[int, Score]]:
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        pause = SHORTEST
        while self._out:
            found = [*self._taken_in(), *self._of_the_dead()]
            left = until - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST)
        return []

    def close(self) -> None:
        """Workers see that the driver gives no sign of life; what they were evaluating they write all the same."""
        self._alive.close()

    def _taken_in(self) -> Iterator[tuple[int, Score]]:
        for path in plain(self.folder / "done"):
            data = content(path)
            answer = decode(data) if data is not None else {}
            job = self._out.get(int(path.name))
            if job is not None and data is not None and answer["job"] == encode(job.pack()):
                del self._out[job.number]
                self._lost.pop(job.number, None)
                yield job.number, Score.unpack(answer["score"])
            path.unlink(missing_ok=True)
            for claim in self._claimed(path.name):
                claim.unlink(missing_ok=True)
            if job is not None and job.number in self._out:  # the answer to another driver's job of that number
                self.submit(job)

    def _of_the_dead(self) -> Iterator[tuple[int, Score]]:
        """Give what dead workers had claimed to others; a job that had its tries crashed."""
        if time.monotonic() - self._looked < self.silence / BEATS:
            return
        self._looked = time.monotonic()
        silent = self._signs.silent()
        alive = {name for name, seconds in silent.items() if seconds < self.silence}
        self.size = max(1, len(alive))
        claims = {path: path.name.partition(".")[2] for path in plain(self.folder / "claimed")}
        self._unseen = {
            name: self._unseen.get(name, self._looked) for name in set(claims.values()) if name not in silent
        }
        for name in silent.keys() - alive:
            (self.folder / "workers" / name).unlink(missing_ok=True)
        for path, name in claims.items():
            gone = name in silent and name not in alive
            gone |= name in self._unseen and self._looked - self._unseen[name] >= self.silence
            job = self._out.get(int(path.name.partition(".")[0]))
            if not gone:
                continue
            path.unlink(missing_ok=True)
            if job is None or (self.folder / "done" / _name(job)).exists():
                continue
            self._lost[job.number] += 1
            if self._lost[job.number] < TRIES:
                log.warning("worker %s gives no sign of life; its candidate is tried once more", name)
                self.submit(job)
                continue
            del self._out[job.number], self._lost[job.number]
            reason = f"{TRIES} workers gave no sign of life any more under it, the last was {name}"
            score = Score(job.key, "crashed", seed=job.seed, error=reason)
            keep(self.candidates, score, "")
            yield job.number, score

    def _claimed(self, name: str) -> list[Path]:
        return list((self.folder / "claimed").glob(f"{name}.*"))


def _name(job: Job) -> str:
    return f"{job.number:09d}"


# --- a worker's side -------------------------------------------------------------------------------------------------


class Worker:
    """Does the jobs of a run's `work/` in a pool of its own."""

    def __init__(self, folder: Path, silence: float) -> None:
        self.folder, self.name = folder / QUEUE, new_name()
        _folders(self.folder)
        self._alive = Alive(self.folder / "workers" / self.name, silence)
        self._claims: dict[int, tuple[Path, bytes]] = {}
        self.evaluated = 0

    def turn(self, pool: Pool, timeout: float) -> bool:
        """Claim what the pool has room for, write what is done. False where there was nothing to do."""
        while len(self._claims) < pool.size and (claimed := self._claim()) is not None:
            path, data = claimed
            job = Job.unpack(decode(data))
            self._claims[job.number] = path, data
            pool.submit(job)
        if not self._claims:
            return False
        for number, score in pool.wait(timeout):
            path, data = self._claims.pop(number)
            name = path.name.partition(".")[0]
            replace(self.folder / "done" / name, encode({"job": data, "score": score.pack()}))
            path.unlink(missing_ok=True)
            self.evaluated += 1
        return True

    def close(self) -> None:
        """Give back what is claimed and not done."""
        for path, _ in self._claims.values():
            with contextlib.suppress(OSError):
                path.rename(self.folder / "jobs" / path.name.partition(".")[0])
        self._alive.close()

    def _claim(self) -> tuple[Path, bytes] | None:
        """The next job, now this worker's. One that it has at hand still was given to others meanwhile, since it had
        given no sign of life (a machine that slept): it is claimed again, and not begun again.
        """
        for job in plain(self.folder / "jobs"):
            _, mine = self._claims.get(int(job.name), (None, None))
            if mine is not None and content(job) != mine:
                continue  # another driver's of this number: after the one at hand
            path = self.folder / "claimed" / f"{job.name}.{self.name}"
            with contextlib.suppress(FileNotFoundError):  # another was quicker
                job.rename(path)
            if mine is None and (data := content(path)) is not None:
                return path, data
        return None


__all__ = ["LONGEST", "SHORTEST", "FolderPool", "Signs", "Worker"]
