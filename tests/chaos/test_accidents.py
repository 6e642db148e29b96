"""Candidates that ruin their processes: a search finishes with exactly its scores, and leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from evosearch.store.run import Run

pytestmark = pytest.mark.chaos

GRAMMAR = """// input: vector
start: network
network: block (";" block)* -> chain    // more=0.6
?block: "linear" "(" WIDTH ")" -> linear
      | "relu" -> relu
      | "accident" -> accident          // p=0.04
WIDTH: "4" | "5" | "6" | "7" | "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15" | "16"
"""

LAYER = """
import os, signal, time
from dataclasses import dataclass
from evosearch.layers.base import Leaf, register

@register("accident")
@dataclass(frozen=True)
class Accident(Leaf):
    def shape(self, x):
        return x

    def params(self, x):
        return 0

    def module(self, x):
        import torch

        class Broken(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()

            @staticmethod
            def backward(ctx, gradient):
                raise ValueError("no way back")

        class Module(torch.nn.Module):
            step = 0

            def forward(self, x):
                self.step += 1
                ACCIDENT
                return x

        return Module()
"""

LIMIT, NO_LIMIT = 20, 600  # seconds; where nothing sleeps none is reached, however busy the machine is
ACCIDENTS = {
    "allocates": ("hoard = []\nwhile True: hoard.append(torch.ones(1 << 22))", "oom"),
    "sleeps": ("time.sleep(600)", "timeout"),
    "exits": ("os._exit(0)", "crashed"),
    "raises in backward": ("x = Broken.apply(x if x.requires_grad else x.clone().requires_grad_())", "crashed"),
    "is NaN from step 3": ("x = x * float('nan') if self.step >= 3 else x", "nan"),
    "kills its worker": ("os.kill(os.getpid(), signal.SIGKILL)", "crashed"),
    "harmless": ("", "ok"),
}


def prepared(folder: Path, accident: str, workers: int = 2) -> list[str]:
    """The command of a search of 50 over a language in which one word is an accident."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    np.savez(folder / "clouds.npz", x=x, y=(x.sum(1) > 0).astype(np.int64))
    (folder / "accidents.lark").write_text(GRAMMAR)
    body = ACCIDENTS[accident][0].replace("\n", "\n" + " " * 16) or "pass"
    (folder / "accidents.py").write_text(LAYER.replace("ACCIDENT", body))
    (folder / "run.toml").write_text(
        textwrap.dedent(
            """
            grammar = "accidents.lark"
            task = "clouds.npz"
            layers = ["accidents.py"]
            [search]
            budget = 50
            population = 10
            tournament = 3
            [recipe]
            epochs = 3
            batch = 32
            [workers]
            workers = WORKERS
            device = "cpu"
            memory = 0.75
            time_limit = LIMIT
            """
        )
        .replace("WORKERS", str(workers))
        .replace("LIMIT", str(LIMIT if accident == "sleeps" else NO_LIMIT))
    )
    return [sys.executable, "-m", "evosearch", "run", str(folder / "run.toml"), "--name", "run", "--runs", str(folder)]


def scores(folder: Path) -> tuple[dict[int, str], dict[int, dict[str, Any]]]:
    """Proposed texts and scores by number."""
    with Run.open(folder / "run") as run:
        records = list(run.records())
    texts = {r["number"]: r["text"] for r in records if r["kind"] == "proposal"}
    arrived = [r for r in records if r["kind"] == "score"]
    assert len({r["number"] for r in arrived}) == len(arrived), "scored twice"
    return texts, {r["number"]: r for r in arrived}


def arrived(folder: Path) -> int:
    """Scores that a run at work has journaled, by the log that follows."""
    log = folder / "run" / "evaluations.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_a_search_outlives_its_candidates(tmp_path: Path, accident: str) -> None:
    """Fifty proposals, fifty scores; those with the accident have its status and a kept reason, all others are ok."""
    with subprocess.Popen(prepared(tmp_path, accident), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        workers: dict[int, psutil.Process] = {}
        while process.poll() is None:
            workers |= {child.pid: child for child in family(process.pid)}
            time.sleep(0.2)
        assert process.stdout is not None
        printed = process.stdout.read().decode()
    assert process.returncode == 0, printed
    assert not [worker for worker in workers.values() if worker.is_running()]
    texts, found = scores(tmp_path)
    assert len(found) == 50
    status = ACCIDENTS[accident][1]
    for number, score in found.items():
        assert score["status"] == (status if "accident" in texts[number] else "ok"), (texts[number], score["error"])
    struck = [score for number, score in found.items() if "accident" in texts[number]]
    assert struck, "no candidate had the accident: the test shows nothing"
    if status != "ok":
        for score in struck:
            assert (tmp_path / "run" / "candidates" / score["key"] / "error.txt").is_file()


def test_a_search_outlives_workers_killed_from_outside(tmp_path: Path) -> None:
    """Workers shot after so many scores: each candidate is tried once more, and the history is that of a quiet run."""
    quiet, shot = tmp_path / "quiet", tmp_path / "shot"
    environment = {**os.environ, "EVOSEARCH_CACHE": str(tmp_path / "ledger")}
    subprocess.run(prepared(quiet, "harmless"), check=True, capture_output=True, env=environment)
    environment["EVOSEARCH_CACHE"] = str(tmp_path / "another ledger")
    process = subprocess.Popen(
        prepared(shot, "harmless"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    due, shots = [5, 15, 25, 35], 0  # scores: so far apart that no candidate is hit twice
    while process.poll() is None:
        if due and arrived(shot) >= due[0] and (workers := family(process.pid)):
            workers[0].send_signal(signal.SIGKILL)
            due, shots = due[1:], shots + 1
        time.sleep(0.01)
    assert process.stdout is not None
    printed = process.stdout.read()
    assert process.returncode == 0, printed
    assert shots == 4
    assert Counter(score["status"] for score in scores(shot)[1].values()) == {"ok": 50}
    assert history(quiet) == history(shot)


def test_the_history_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    """One worker and four, each with a ledger of its own: equal journals, times aside."""
    for workers in (1, 4):
        environment = {**os.environ, "EVOSEARCH_CACHE": str(tmp_path / f"ledger {workers}")}
        command = prepared(tmp_path / str(workers), "is NaN from step 3", workers)
        subprocess.run(command, check=True, capture_output=True, env=environment)
    assert history(tmp_path / "1") == history(tmp_path / "4")


def history(folder: Path) -> tuple[dict[int, str], dict[int, dict[str, Any]]]:
    """What two runs have in common that are equal in the sense of the journal: proposals and scores without times."""
    texts, found = scores(folder)
    kept = ("key", "status", "objectives", "metrics", "curve", "cost", "seed")
    timeless = {number: {name: score[name] for name in kept} for number, score in found.items()}
    for score in timeless.values():
        score["objectives"] = {name: value for name, value in score["objectives"].items() if name != "seconds"}
    return texts, timeless
