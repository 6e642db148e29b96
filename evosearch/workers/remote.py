"""What an executor runs in its processes, on whatever machine: functions from bytes to bytes.

A request and its answer are msgpack. The first request that a machine cannot serve is answered by `missing`, and comes
again with the parcel (`evosearch.workers.parcel`) that all later ones find there. A candidate is evaluated in a pool of
one worker that this process keeps, contained as on the run's own machine.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.errors import EvosearchError
from evosearch.evaluation.job import Job
from evosearch.evaluation.lineage import file_of, put
from evosearch.store.disk import content
from evosearch.store.framing import decode, encode
from evosearch.workers import WorkerSettings, open_pool, parcel
from evosearch.workers import devices as devices_of
from evosearch.workers.records import UNEVENTFUL

if TYPE_CHECKING:
    from evosearch.score import Score

OWN, PARENT = 0, 1  # what a candidate and its parent are called at a station

_idle: dict[bytes, list[_Station]] = {}  # by what they were made for
_here = threading.Lock()
_inline = threading.Lock()  # what a candidate prints is caught by exchanging sys.stdout, which is all threads' own


def request(digest: str, settings: WorkerSettings, job: Job, weights: bytes | None = None) -> bytes:
    """What `evaluate` is asked. digest: of the parcel. settings: as the run has them, with the device's kind.

    weights: the content of the file that the candidate begins with, where it begins with some.
    """
    plain = {name: getattr(settings, name) for name in ("device", "memory", "time_limit", "threads", "pool")}
    return encode({"parcel": digest, "settings": plain, "job": job.pack(), "weights": weights})


def devices(settings: bytes) -> bytes:
    """The devices that a worker finds where this runs: `evosearch.workers.devices`."""
    return encode(devices_of(WorkerSettings(**decode(settings))))


def evaluate(asked: bytes, sent: bytes = b"") -> bytes:
    """The answer to a request: a score, its log and, where weights pass on, the candidate's; or `missing`, or why there
    can be none (`broken`).

    sent: the parcel, where the answer before was that it is missing.
    """
    told = decode(asked)
    try:
        if sent:
            parcel.put(told["parcel"], sent)
        elif not parcel.has(told["parcel"]):
            return encode({"missing": told["parcel"]})
        return encode(_answered(told))
    except EvosearchError as error:
        return encode({"broken": str(error)})


def _answered(told: dict[str, Any]) -> dict[str, Any]:
    made_for = encode([told["parcel"], told["settings"]])
    with _here:
        idle = _idle.setdefault(made_for, [])
        station = idle.pop() if idle else None
    if station is None:
        station = _Station(told["parcel"], WorkerSettings(**told["settings"], workers=1))
    try:
        return station.answer(Job.unpack(told["job"]), told["weights"])
    finally:
        with _here:
            idle.append(station)


class _Station:
    """A pool of one worker, and a folder for what it keeps of failures, and for weights while they pass through."""

    def __init__(self, digest: str, settings: WorkerSettings) -> None:
        self.inline = settings.pool == "inline"
        self.kept = tempfile.TemporaryDirectory(prefix="evosearch-station-")
        self.folder = Path(self.kept.name)
        with _inline if self.inline else contextlib.nullcontext():  # it warms torch up, whose generator is all threads'
            self.pool = open_pool(replace(parcel.opened(digest), folder=self.kept.name), settings, self.folder)

    def answer(self, job: Job, weights: bytes | None) -> dict[str, Any]:
        job = replace(job, number=OWN, parent=None if job.parent is None else (PARENT, job.parent[1]))
        own, parent = (file_of(self.folder, number) for number in (OWN, PARENT))
        if weights is not None:
            put(parent, weights)
        if self.inline:
            with _inline:
                score = self._score(job)
        else:
            score = self._score(job)
        left = content(own)
        for file in (own, parent):
            file.unlink(missing_ok=True)
        return {"score": score.pack(), "log": self._log(score), "weights": left}

    def _score(self, job: Job) -> Score:
        self.pool.submit(job)
        while not (found := self.pool.wait(60.0)):
            time.sleep(0)
        return found[0][1]

    def _log(self, score: Score) -> str:
        """What the worker kept of a failure."""
        log = self.folder / score.key / "log"
        if score.status in UNEVENTFUL or not log.is_file():
            return ""
        return log.read_text(encoding="utf-8", errors="replace")


__all__ = ["devices", "evaluate", "request"]
