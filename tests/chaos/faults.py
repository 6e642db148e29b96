"""A disk that fails where it is told to, and a small deterministic search to run on it.

As a program, `python -m tests.chaos.faults FOLDER ACKNOWLEDGED [TOTAL] [PAUSE]`, it starts or resumes that search and
writes a line to ACKNOWLEDGED for each score that was acknowledged, so that it can be killed from outside.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from evosearch.store.disk import Disk
from evosearch.store.run import Run
from tests.journals import append_score

T = TypeVar("T")

LOOKAHEAD = 3


class Died(BaseException):
    """The process is killed here; nothing of it runs any more."""


class FaultyDisk(Disk):
    """Counts system calls (and leaves out the fsyncs themselves). At number `fault`, from 0, one fails.

    error: the errno it fails with; None to die there. A full disk stays full, the dead stay dead. keep: bytes that a
    failing write has written. only: the one kind of call that counts.
    """

    def __init__(self, fault: int = -1, error: int | None = None, keep: int = 0, only: str = "") -> None:
        self.fault, self.error, self.keep, self.only = fault, error, keep, only
        self.calls: list[tuple[str, Path]] = []
        self.written: list[int] = []  # bytes of each write

    def perform(self, step: str, path: Path, function: Callable[..., T], *arguments: Any) -> T:
        if self.only and step != self.only:
            return self.carry_out(step, function, *arguments)
        number = len(self.calls)
        self.calls.append((step, path))
        if step == "write":
            self.written.append(len(arguments[1]))
        failing = number == self.fault or (number > self.fault >= 0 and self.error in (None, errno.ENOSPC))
        if number == self.fault and step == "write" and self.keep:
            os.write(arguments[0], arguments[1][: self.keep])
        if failing and self.error is None:
            raise Died
        if failing and self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return self.carry_out(step, function, *arguments)

    @staticmethod
    def carry_out(step: str, function: Callable[..., T], *arguments: Any) -> T:
        """An fsync costs a test's time and shows nothing: only a power cut tells whether it was made."""
        skipped: Any = os.fstat if step == "fsync" else function
        result: T = skipped(*arguments)
        return result


def proposal(number: int) -> dict[str, Any]:
    """What the search proposes depends on nothing but the number and the scores before the look-ahead."""
    text = hashlib.blake2b(str(number).encode()).hexdigest()
    return {
        "number": number,
        "key": text[:32],
        "text": f"seq(linear({number}),{text[: number % 40]})",
        "parents": [number - 1],
    }


def score(number: int) -> dict[str, Any]:
    return {"number": number, "status": "ok", "objectives": {"accuracy": number / 1000}, "seconds": time.perf_counter()}


def search(
    folder: Path,
    disk: Disk,
    total: int = 10,
    acknowledge: Callable[[int], None] = lambda number: None,
    pause: float = 0,
) -> None:
    """Start, or resume, a run of `total` evaluations whose results come in another order than their proposals."""
    if folder.exists():
        run = Run.open(folder, write=True, disk=disk)
    else:
        run = Run.create(
            folder, header={"seed": 1}, files={"config.toml": "seed = 1\n", "grammar/a.lark": "a: b"}, disk=disk
        )
    with run:
        run.cut_torn_tail()
        proposed, told = restored(run)
        whole = [record for record in run.records() if record["kind"] == "score"]
        assert sorted(told) == sorted(record["number"] for record in whole), "checkpoint + tail is not the journal"
        while len(told) < total:
            while proposed < total and proposed < min(set(range(total + 1)) - told) + LOOKAHEAD:
                run.append_proposal(proposal(proposed))
                proposed += 1
            number = max(set(range(proposed)) - told)  # the youngest first
            time.sleep(pause)
            append_score(run, score(number))
            acknowledge(number)
            told.add(number)
            if number % 4 == 1:
                run.write_checkpoint({"proposed": proposed, "told": sorted(told), "rng": 1 << 100})
        run.write_best({"architecture.arch": "linear(3)", "weights.safetensors": bytes(range(100))})
        run.write_checkpoint({"proposed": proposed, "told": sorted(told), "rng": 1 << 100})


def restored(run: Run) -> tuple[int, set[int]]:
    """The state: a checkpoint's, and the tail of the journal folded in."""
    checkpoint = run.load_checkpoint()
    state: dict[str, Any] = checkpoint.state if checkpoint else {"proposed": 0, "told": []}
    offset = checkpoint.offset if checkpoint else None
    proposed, told = state["proposed"], set(state["told"])
    for record in run.records(offset):
        if record["kind"] == "proposal":
            assert record["number"] == proposed
            proposed += 1
        else:
            told.add(record["number"])
    return proposed, told


def main() -> None:
    folder, acknowledged, total, pause = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    out = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    search(folder, Disk(), total, lambda number: print(os.write(out, f"{number}\n".encode()) and ""), pause)


if __name__ == "__main__":
    main()
