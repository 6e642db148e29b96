"""One of many identical workers on a run's folder: `evolve work`. See `evosearch.workers.folder` for how they agree."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from evosearch import workers
from evosearch.engine.replay import Changes, resumed_config, setup_of
from evosearch.errors import RunError, RunLocked
from evosearch.store import lock
from evosearch.store.disk import Disk
from evosearch.store.run import Run
from evosearch.workers.folder import BEATS, LONGEST, QUEUE, SHORTEST, Signs, Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What a driver runs: it ends with the worker that started it, so that none is left alone with a run.
DRIVE = (
    "import ctypes, sys; ctypes.CDLL(None).prctl(1, 15) if sys.platform == 'linux' else None; "
    "from evosearch.cli import main; sys.exit(main(sys.argv[1:]))"
)


def work(folder: Path, changes: Changes, told: Callable[[str], None]) -> int:
    """Evaluate candidates of a run until it is finished; drive it where nobody does. Returns how many were evaluated.

    The run's grammar, layers, operators and data are compared as a resume compares them, and no code is taken from its
    folder. changes: as for `resume`, executor aside. told: hears what happens, a line each. Raises EvosearchError; also
    where the run could not be driven to its end.
    """
    run = Run.open(folder)
    config = resumed_config(run, replace(changes, executor=workers.LOCAL))
    setup = setup_of(run, config)
    silence = config.workers.silence
    settings = setup.worker_settings
    spec = setup.spec(run.folder / "grammar" / str(run.header["grammar_file"]), run.folder)
    pool = workers.open_pool(spec, replace(settings, device=setup.device), run.folder / "candidates")
    worker = Worker(run.folder, silence)
    drive = _Drive(run.folder, changes, silence, told)
    pause = SHORTEST
    try:
        while not drive.over():
            if worker.turn(pool, LONGEST):
                pause = SHORTEST
            else:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST)
    finally:
        pool.close()
        worker.close()
        drive.close()
    return worker.evaluated


class _Drive:
    """Sees to it that somebody drives the run, and sees when it is finished."""

    def __init__(self, folder: Path, changes: Changes, silence: float, told: Callable[[str], None]) -> None:
        self.folder, self.silence, self.told = folder, silence, told
        self.signs = Signs(folder / QUEUE / "drivers")
        self.begun = self.looked = time.monotonic()
        self.driver: subprocess.Popen[bytes] | None = None
        self.held = -1  # the lock of who may start a driver, while this process's runs
        own = [word for path in changes.layers for word in ("--layers", str(path))]
        own += [word for path in changes.operators for word in ("--operators", str(path))]
        own += ["--task", changes.task] if changes.task else []
        own += ["--device", changes.device] if changes.device else []
        self.command = [
            sys.executable,
            "-P",
            "-c",
            DRIVE,
            "resume",
            str(folder),
            "--executor",
            "folder",
            "--quiet",
            *own,
        ]

    def over(self) -> bool:
        """Whether the run is finished. Raises RunError where its driver gave up."""
        now = time.monotonic()
        if now - self.looked < self.silence / BEATS and now != self.begun:
            return False
        self.looked = now
        if self.driver is not None:
            return self._ended()
        alive = any(seconds < self.silence for seconds in self.signs.silent().values())
        if alive or lock.is_written(self.folder):
            return False
        if (self.folder / "best" / "metrics.json").is_file():
            return True
        self._start()
        return False

    def _ended(self) -> bool:
        assert self.driver is not None
        code = self.driver.poll()
        if code is None:
            return False
        self._let_go()
        if code > 0 and not lock.is_written(self.folder):
            raise RunError(f"{self.folder}: its driver gave up, and said why above; put it right and work on")
        return False

    def _start(self) -> None:
        try:
            self.held = lock.take(self.folder / QUEUE, Disk())
        except RunLocked:
            return  # another worker starts one
        self.told("nobody drives this run; this process does")
        self.driver = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def _let_go(self) -> None:
        lock.give(self.folder / QUEUE, self.held)
        self.driver, self.held = None, -1

    def close(self) -> None:
        if self.driver is not None:
            self.driver.terminate()
            self.driver.wait()
            self._let_go()


__all__ = ["work"]
