"""What an executor runs in its processes, on whatever machine: functions from bytes to bytes.

A request and its answer are msgpack. The first request that a machine cannot serve is answered by `missing`, and comes
again with the parcel (`evosearch.workers.parcel`) that all later ones find there. A candidate is evaluated in a pool of
one worker that this process keeps, contained as on the run's own machine.
"""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.errors import EvosearchError
from evosearch.evaluation.job import Job
from evosearch.store.framing import decode, encode
from evosearch.workers import WorkerSettings, open_pool, parcel
from evosearch.workers import devices as devices_of
from evosearch.workers.records import UNEVENTFUL

if TYPE_CHECKING:
    from evosearch.score import Score

_idle: dict[bytes, list[_Station]] = {}  # by what they were made for
_here = threading.Lock()
_inline = threading.Lock()  # what a candidate prints is caught by exchanging sys.stdout, which is all threads' own


def request(digest: str, settings: WorkerSettings, job: Job) -> bytes:
    """What `evaluate` is asked. digest: of the parcel. settings: as the run has them, with the device's kind."""
    plain = {name: getattr(settings, name) for name in ("device", "memory", "time_limit", "threads", "pool")}
    return encode({"parcel": digest, "settings": plain, "job": job.pack()})


def devices(settings: bytes) -> bytes:
    """The devices that a worker finds where this runs: `evosearch.workers.devices`."""
    return encode(devices_of(WorkerSettings(**decode(settings))))


def evaluate(asked: bytes, sent: bytes = b"") -> bytes:
    """The answer to a request: a score and its log, or `missing`, or why there can be none (`broken`).

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
        return station.answer(Job.unpack(told["job"]))
    finally:
        with _here:
            idle.append(station)


class _Station:
    """A pool of one worker, and a folder for what it keeps of failures."""

    def __init__(self, digest: str, settings: WorkerSettings) -> None:
        self.inline = settings.pool == "inline"
        self.kept = tempfile.TemporaryDirectory(prefix="evosearch-station-")
        self.pool = open_pool(parcel.opened(digest), settings, Path(self.kept.name))

    def answer(self, job: Job) -> dict[str, Any]:
        job = replace(job, number=0)
        if self.inline:
            with _inline:
                score = self._score(job)
        else:
            score = self._score(job)
        return {"score": score.pack(), "log": self._log(score)}

    def _score(self, job: Job) -> Score:
        self.pool.submit(job)
        while not (found := self.pool.wait(60.0)):
            time.sleep(0)
        return found[0][1]

    def _log(self, score: Score) -> str:
        """What the worker kept of a failure."""
        log = Path(self.kept.name) / score.key / "log"
        if score.status in UNEVENTFUL or not log.is_file():
            return ""
        return log.read_text(encoding="utf-8", errors="replace")


__all__ = ["devices", "evaluate", "request"]
