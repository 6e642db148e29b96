"""Many processes on one folder, some of them killed: nothing is lost, nothing done twice but what the dead had claimed.

EVOSEARCH_PROCESSES says how many; each takes about 60 MB and a second of processor time to start.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from evosearch import engine
from evosearch.errors import RunError
from evosearch.store.run import Run
from evosearch.workers import WorkerSettings
from tests.chaos.sessions import config as words_config
from tests.chaos.sessions import words
from tests.conftest import ROOT
from tests.journals import equal_journals
from tests.test_work import interrupted
from tests.watch import Silent

pytestmark = pytest.mark.cluster
PROCESSES = int(os.environ.get("EVOSEARCH_PROCESSES", "100"))


def evaluations(folder: Path) -> int:
    return sum(record["kind"] == "score" for record in Run.open(folder).records())


def test_a_hundred_processes_ten_killed_and_the_driver_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = words_config(words(tmp_path / "words", 5), budget=1_000, seed=4)
    settings = settings.model_copy(
        update={
            "search": settings.search.__class__(**{**vars(settings.search), "lookahead": 2 * PROCESSES}),
            "workers": WorkerSettings(silence=5.0),
        }
    )
    engine.start(settings, tmp_path / "here", Silent())
    there = tmp_path / "there"
    with pytest.raises(RunError):
        interrupted(settings, there)
    command = [sys.executable, "-m", "evosearch", "work", str(there)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(PROCESSES)]
    rng = np.random.default_rng(0)
    doomed = [processes[at] for at in rng.choice(PROCESSES, PROCESSES // 10, replace=False)]
    while evaluations(there) < 100:
        time.sleep(0.2)
    (driver,) = (
        one for process in processes for one in psutil.Process(process.pid).children() if "resume" in one.cmdline()
    )
    driver.kill()
    for process in doomed:
        process.send_signal(signal.SIGKILL)
        time.sleep(float(rng.uniform(0, 0.5)))
    done = 0
    for process in processes:
        out, error = process.communicate(timeout=600)
        if process not in doomed:
            assert process.returncode == 0, error.decode()
            done += int(out.split(b";")[1].split()[0])
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(there))
    print(f"{PROCESSES} processes: the living ones evaluated {done} of {settings.search.budget}")
    assert done <= settings.search.budget + PROCESSES // 10


def test_pilot_jobs_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--executor slurm` by submitit's local executor."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("EVOSEARCH_SLURM", "local")
    settings = words_config(words(tmp_path / "words", 4), budget=100, seed=5)
    engine.start(settings, tmp_path / "here", Silent())
    there = WorkerSettings(executor="slurm", workers=2, device="cpu", silence=10.0)
    engine.start(settings.model_copy(update={"workers": there}), tmp_path / "there", Silent())
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(tmp_path / "there"))
