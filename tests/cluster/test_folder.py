"""Many processes on one folder, some of them killed: nothing is lost, nothing done twice but what the dead had claimed.

EVOSEARCH_PROCESSES says how many; each takes about 60 MB and a second of processor time to start.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from evosearch import config as configuration
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
STARTED = 1.0  # seconds between two starts: few cores are shared by all of them
SILENCE = 60.0  # seconds: on few cores a living process may be late with its signs
# A table's figures; each evaluation waits until all processes are there, says that it begins, and takes a moment.
LOOKED_UP = """
import os, time
from pathlib import Path

rows = Path(__file__).with_name("words.csv").read_text().splitlines()[1:]
found = {row.split(",")[0]: float(row.split(",")[1]) for row in rows}

def fitness(text, derivation, seed):
    if place := os.environ.get("EVALUATED"):
        while not Path(place, "go").exists():
            time.sleep(0.1)
        with open(Path(place, "begun"), "a") as file:
            file.write(text + "\\n")
        time.sleep(seed % 100 / 50)
    return found[text]
"""


def until(condition: Callable[[], bool], seconds: float = 1_200) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.2)


def drivers(workers: Sequence[subprocess.Popen[bytes]]) -> list[psutil.Process]:
    """The processes that workers started to drive the run."""
    children = [child for worker in workers for child in psutil.Process(worker.pid).children()]
    return [child for child in children if "resume" in child.cmdline()]


def test_a_hundred_processes_ten_killed_and_the_driver_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = words(tmp_path / "words", 5)
    (table / "looked_up.py").write_text(LOOKED_UP)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{table}")
    monkeypatch.syspath_prepend(str(table))
    settings = configuration.load(None, {
        "grammar": str(table / "words.lark"), "task": "looked_up:fitness", "seeds": [], "seed": 4,
        "search.budget": 1_000, "search.lookahead": 2 * PROCESSES, "workers.silence": SILENCE, "workers.pool": "inline",
    })  # fmt: skip
    engine.start(settings, tmp_path / "here", Silent())
    there, told = tmp_path / "there", tmp_path / "told"
    told.mkdir()
    with pytest.raises(RunError):
        interrupted(settings, there)
    before = {record["number"] for record in Run.open(there).records() if record["kind"] == "score"}
    monkeypatch.setenv("EVALUATED", str(told))
    command = [sys.executable, "-m", "evosearch", "work", str(there)]
    processes = []
    for _ in range(PROCESSES):
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        time.sleep(STARTED)
    claimed = there / "queue" / "claimed"
    until(lambda: len(list(claimed.iterdir())) == PROCESSES)
    (told / "go").touch()
    rng = np.random.default_rng(0)
    doomed = [processes[at] for at in rng.choice(PROCESSES, PROCESSES // 10, replace=False)]
    until(lambda: Path(told, "begun").exists() and len(Path(told, "begun").read_text().split()) > 150)
    lost = set()
    for process in doomed:
        process.send_signal(signal.SIGKILL)
        process.wait()
        lost |= {int(file.name.split(".")[0]) for file in claimed.glob(f"*-{process.pid}-*")}
        time.sleep(float(rng.uniform(0, 0.5)))
    living = [process for process in processes if process not in doomed]
    until(lambda: bool(drivers(living)))  # one of the killed may have been the driver's
    drivers(living)[0].kill()
    for process in living:
        _, error = process.communicate(timeout=1_200)
        assert process.returncode == 0, error.decode()
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(there))
    texts = {record["number"]: record["text"] for record in Run.open(there).records() if record["kind"] == "proposal"}
    begun = Counter(Path(told, "begun").read_text().split())
    assert begun.keys() == {text for number, text in texts.items() if number not in before}
    twice = {text for text, times in begun.items() if times > 1}
    assert twice <= {texts[number] for number in lost}
    print(f"{PROCESSES} processes: {sum(begun.values())} evaluations of {len(texts)} candidates; {len(lost)} were lost")


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
