"""A candidate is contained, whatever it is: a function's, by default, like a network's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from evosearch.score import Score
from evosearch.store import framing
from evosearch.store.run import Run
from evosearch.tasks.function import FunctionTask, reads_second
from evosearch.workers import Evaluation, Job, WorkerSettings, processes
from evosearch.workers.processes import ProcessPool
from evosearch.workers.records import contained
from tests.accidents import Accidents
from tests.conftest import ROOT

GRAMMAR = """\
// input: none
start: "a" | "b" | "c" | "d" | "e" | "f" | "g" | "h" | both
both: "(" start "," start ")"
"""
# What each candidate does is told by its text.
FITNESS = """
import multiprocessing, os, signal, sys, threading, time

def fitness(text, derivation, seed):
    print("evaluating", text, flush=True)
    os.write(1, b"past Python too\\n")
    if text == "a":
        os._exit(0)
    if text == "b":
        os.kill(os.getpid(), signal.SIGSEGV)
    if text == "c":
        threading.Thread(target=time.sleep, args=(600,)).start()
    if text == "d":
        sys.stdout.close()
        os.close(2)
    if text == "e":
        time.sleep(600)
    if text == "f":
        with multiprocessing.Pool(2) as pool:
            return float(sum(pool.map(len, [text, text])))
    if text == "g":
        raise BaseException("nobody catches this")
    return float(len(text))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "evosearch.toml").write_text("")
    (tmp_path / "lang.lark").write_text(GRAMMAR)
    (tmp_path / "fit.py").write_text(FITNESS)
    return tmp_path


def evolve(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "evosearch", *arguments]


def environment(project: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "EVOSEARCH_CACHE": str(project / "cache"), **more}


def test_a_function_s_candidates_ruin_their_worker_and_no_more(project: Path) -> None:
    """Exit, a signal, threads, closed streams, a pool, a sleep over the time limit: each its status, and the run ends.

    Nothing that they print reaches stdout, which is promised to be JSON.
    """
    command = "run --task fit:fitness --grammar lang.lark --budget 30 --name r --json --workers 2"
    done = subprocess.run(
        evolve(*command.split(), "--set", "workers.time_limit=1"),
        cwd=project, env=environment(project), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["evaluated"] == 30
    records = list(Run.open(project / "runs" / "r").records())
    texts = {record["number"]: record["text"] for record in records if record["kind"] == "proposal"}
    came = {texts[r["number"]]: r for r in records if r["kind"] == "score"}
    wanted = {"a": "crashed", "b": "crashed", "c": "ok", "d": "ok", "e": "timeout", "f": "ok", "g": "crashed"}
    assert {text: came[text]["status"] for text in wanted} == wanted
    assert "exit code 0" in came["a"]["error"]
    assert "SIGSEGV" in came["b"]["error"]
    assert "nobody catches this" in came["g"]["error"]
    kept = project / "runs" / "r" / "candidates" / next(r["key"] for r in records if r.get("text") == "a") / "log"
    assert kept.read_text() == "evaluating a\npast Python too\n"


def test_what_a_module_prints_as_it_loads_is_no_json(project: Path) -> None:
    """Whoever loads it: the parent does too, to look at the function."""
    noise = "import os\nprint('hello')\nos.write(1, b'hello again\\n')\nos.system('echo and again')\n"
    (project / "fit.py").write_text(noise + "def fitness(text, derivation, seed):\n    return float(len(text))\n")
    done = subprocess.run(
        evolve("run", "--task", "fit:fitness", "--grammar", "lang.lark", "--budget", "5", "--json"),
        cwd=project, env=environment(project), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["evaluated"] == 5
    for said in ("hello\n", "hello again\n", "and again\n"):
        assert said in done.stderr


@pytest.mark.usefixtures("hears_signals")
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP], ids=lambda sign: sign.name)
def test_a_run_that_is_asked_to_end_leaves_nothing_behind(project: Path, sign: signal.Signals) -> None:
    """No worker, nothing that a candidate has started, no temporary folder; and it can be gone on with."""
    (project / "fit.py").write_text(
        textwrap.dedent(
            """
            import os, pathlib, subprocess, time
            def fitness(text, derivation, seed):
                child = subprocess.Popen(["sleep", "600"])
                pathlib.Path(f"pid-{os.getpid()}").write_text(str(child.pid))
                time.sleep(600)
            """
        )
    )
    (project / "temporary").mkdir()
    run = subprocess.Popen(
        evolve("run", "--task", "fit:fitness", "--grammar", "lang.lark", "--name", "r", "-q", "--workers", "2"),
        cwd=project, env=environment(project, TMPDIR=str(project / "temporary")), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(marks := [m for m in project.glob("pid-*") if m.read_text()]) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    started = [psutil.Process(int(text)) for mark in marks for text in (mark.name[4:], mark.read_text())]
    assert len(started) == 4
    run.send_signal(sign)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 128 + sign
    assert f"evolve: ended by {sign.name}; go on with: evolve resume" in said
    assert psutil.wait_procs(started, 10)[1] == []
    assert list((project / "temporary").iterdir()) == []


# --- batches


def answered(pool: ProcessPool, texts: list[str]) -> dict[int, str]:
    for number, text in enumerate(texts):
        pool.submit(Job(number, text, f"{number:032x}", number))
    found: dict[int, str] = {}
    until = time.monotonic() + 120
    while len(found) < len(texts) and time.monotonic() < until:
        for number, score in pool.wait(1):
            assert number not in found, "answered twice"
            found[number] = f"{score.status} {score.error}".strip()
    return found


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates travel in batches however busy the machine is."""
    monkeypatch.setattr(processes, "SHORT", 60.0)
    monkeypatch.setattr(processes, "BATCH", 1000.0)


def test_short_candidates_travel_together_and_die_alone(tmp_path: Path, batches: None) -> None:
    """Whatever ends a worker under a batch, the others of the batch are scored, and who did it is named."""
    marks = tmp_path / "marks"
    marks.mkdir()
    texts = ["fine"] * 200
    texts[100], texts[150] = "exit 7", "abort"
    with ProcessPool(Accidents(marks=str(marks)), WorkerSettings(workers=1, device="cpu"), tmp_path / "kept") as pool:
        found = answered(pool, texts)
    assert {number: said for number, said in found.items() if said != "ok"} == {
        100: "crashed its process ended by itself: exit code 7",
        150: "crashed its process ended by itself: SIGABRT",
    }
    assert (tmp_path / "kept" / f"{100:032x}" / "log").read_text() == "going now\n"
    twice = [number for number in range(200) if len((marks / str(number)).read_text().split()) > 1]
    assert {100, 150} < set(twice), "no batch was ended under it: nothing was shown"
    assert all(len((marks / str(number)).read_text().split()) <= 3 for number in range(200))


def test_of_a_batch_each_keeps_what_it_printed(tmp_path: Path, batches: None) -> None:
    with ProcessPool(Accidents(), WorkerSettings(workers=1, device="cpu"), tmp_path) as pool:
        answered(pool, ["fine"] * 50 + [f"say {number}" for number in range(50, 90)])
    for number in range(50, 90):
        assert (tmp_path / f"{number:032x}" / "log").read_text() == f"Traceback{number}\n"


# --- what a function looks at


class _Silent(Exception):
    def __str__(self) -> str:
        raise ValueError("an exception without a text")


class _Shy:
    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


def _raises(error: BaseException) -> Any:
    raise error


GIVEN: dict[str, tuple[Callable[[], Any], str, str]] = {
    "half of a complex number": (lambda: np.complex128(3 + 1j), "crashed", "it returned np.complex128(3+1j); return"),
    "a complex array": (lambda: np.array(3 + 1j), "crashed", "it returned array(3.+1.j); return"),
    "a text in an array": (lambda: np.array("0.5"), "crashed", "it returned array('0.5'"),
    "beyond the doubles": (lambda: 10**400, "crashed", "fitness: 1000"),
    "a fraction beyond them": (lambda: Fraction(10**400, 3), "crashed", "is beyond what"),
    "what cannot be shown": (_Shy, "crashed", "it returned a _Shy; return"),
    "a name twice": (lambda: {"fitness": 1, 3: 2, "3": 4}, "crashed", "it returned two values for '3'; return"),
    "a name with two signs": (lambda: {"fitness": 1, "-size": 2, "size": 4}, "crashed", "two values for 'size'"),
    "no name": (lambda: {"": 1.0}, "crashed", "it returned 1.0 for ''; return"),
    "an error without a text": (lambda: _raises(_Silent()), "crashed", "_Silent: (its text cannot be had: ValueError)"),
    "an error of megabytes": (lambda: _raises(ValueError("x" * 20_000_000)), "crashed", "ValueError: xxx"),
    "the end of a generator": (lambda: _raises(GeneratorExit()), "crashed", "GeneratorExit"),
}  # fmt: skip


@pytest.mark.parametrize("what", GIVEN)
def test_whatever_a_function_gives_is_a_score_that_a_journal_holds(what: str) -> None:
    """A number is its value, anything else a failure that says what it was; never half of it, and never megabytes."""
    give, status, said = GIVEN[what]
    task = FunctionTask("a:f", "", "fitness", lambda text, derivation, seed: give(), None)
    score, _ = contained(
        lambda job: Evaluation(task.evaluate(job.text, None, job.key, job.seed)), Job(0, "a", "0" * 32)
    )
    assert score.status == status
    assert said in score.error
    assert len(framing.encode(score.pack())) < 4096


def test_a_process_that_a_candidate_forked_gives_no_second_answer() -> None:
    """It would be taken for another candidate's, or run the search a second time on the same folder."""
    read, write = os.pipe()
    os.set_inheritable(write, True)

    def evaluate(job: Job) -> Evaluation:
        child = os.fork() == 0
        return Evaluation(Score(job.key, "ok", {"fitness": 999.0 if child else 1.0}))

    score, _ = contained(evaluate, Job(0, "a", "0" * 32))
    os.write(write, b"%d\n" % score.objectives["fitness"])
    os.wait()
    assert os.read(read, 100) == b"1\n"
    os.close(read)
    os.close(write)


def test_a_derivation_is_parsed_for_who_looks_at_it() -> None:
    def ignores(text: str, derivation: object, seed: int) -> float:
        return float(len(text) + seed)

    def reads(text: str, derivation: object, seed: int) -> float:
        return float(str(derivation) != text)

    def inner(text: str, derivation: object, seed: int) -> float:
        return (lambda: float(derivation is None))()

    def everything(text: str, derivation: object, seed: int) -> float:
        return float(len(locals()))

    def gathers(*arguments: object) -> float:
        return float(len(arguments))

    class Called:
        def __call__(self, text: str, derivation: object, seed: int) -> float:
            return float(seed)

    assert not reads_second(ignores)
    for function in (reads, inner, everything, gathers, Called(), Called().__call__):
        assert reads_second(function)
