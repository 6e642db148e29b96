"""A run that was given a time ends when it is over, and the time decides nothing else."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evosearch import config as configuration
from evosearch import engine
from evosearch.cli import main
from evosearch.engine.session import Session
from evosearch.engine.timing import TimeBudget, closed, opened, used_seconds
from evosearch.errors import ConfigError, UsageError
from evosearch.evaluation.fit import final_train
from evosearch.evaluation.recipe import Recipe
from evosearch.store.run import Run
from evosearch.tasks import Task, load
from evosearch.watch import Summary
from tests.chaos.sessions import child, killed, session, words
from tests.watch import Silent


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("2m 5s", 125), (".5", 0.5)],
)
def test_times_as_people_write_them(text: str, expected: float) -> None:
    assert configuration.seconds(text) == expected


@pytest.mark.parametrize("text", ["soon", "0", "-5", "10 minutes", "inf", "m"])
def test_what_is_no_time_is_refused_with_how_to_say_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"time: .*10m"):
        configuration.load(None, {"time": text})


def test_a_time_without_a_budget_has_a_budget_without_end() -> None:
    assert configuration.load(None, {"time": "10m"}).search.budget == configuration.NO_END
    assert configuration.load(None, {"time": "10m", "search.budget": 7}).search.budget == 7
    assert configuration.load(None).search.budget == 80


@given(total=st.floats(1, 1e6), used=st.floats(0, 2e6), final=st.floats(0, 1e7))
def test_the_search_ends_before_the_final_training_and_that_before_the_end(
    total: float, used: float, final: float
) -> None:
    budget = TimeBudget(total, used, begun=100.0)
    assert budget.search_end(final) < budget.final_end < budget.end
    assert budget.final_end - budget.search_end(final) >= 0.1 * total * (1 - 1e-9)
    if used <= 0.9 * total:
        assert math.isclose(budget.end, 100.0 + total - used)


def test_no_time_has_no_end() -> None:
    assert not TimeBudget().limited
    assert TimeBudget().search_end(3.0) == TimeBudget().final_end == math.inf


def test_used_is_what_each_session_worked_until_its_last_record() -> None:
    score = {"kind": "score"}
    records = [
        opened(100.0), {**score, "at": 103.0}, {**score, "at": 107.0},  # killed after 7 seconds
        opened(500.0), {"kind": "proposal"}, closed(511.0),
        opened(900.0),
    ]  # fmt: skip
    assert used_seconds(records) == 18.0


def test_a_clock_that_is_put_back_takes_nothing_from_what_was_used() -> None:
    scores = [{"kind": "score", "at": at} for at in (110.0, 130.0, 40.0, 55.0)]
    assert used_seconds([opened(100.0), *scores, closed(60.0)]) == 50.0


def _candidates(folder: Path) -> list[str]:
    return [record["key"] for record in Run.open(folder).records() if record["kind"] == "proposal"]


def _config(table: Path, **settings: object) -> configuration.Config:
    overrides = {"grammar": str(table / "words.lark"), "task": f"table:{table / 'words.csv'}", "seeds": [], **settings}
    return configuration.load(None, overrides)


def test_the_candidates_of_a_run_that_ends_with_its_time_are_the_first_of_any_other(tmp_path: Path) -> None:
    """Also of one that is given more time later, and the time it had counts."""
    table = words(tmp_path / "table", letters=5)
    engine.start(_config(table, **{"search.budget": 2000}), tmp_path / "long", Silent())
    expected = _candidates(tmp_path / "long")

    folder = tmp_path / "short"
    began = time.monotonic()
    told = engine.start(_config(table, time="0.6s"), folder, Silent())
    first = _candidates(folder)
    assert (folder / "best" / "architecture.arch").is_file()
    assert first
    assert first == expected[: len(first)]
    assert used_seconds(Run.open(folder).records()) <= time.monotonic() - began

    before = {file.name: file.read_bytes() for file in (folder / "best").iterdir()}
    assert engine.resume(folder, Silent()) == replace(told, before=True)
    for budget, same in ((2 * 10**9, None), (None, "0.6s"), (2 * 10**9, "0.6s")):
        with pytest.raises(UsageError, match=r"is finished; a longer time gives it more$"):
            engine.resume(folder, Silent(), budget=budget, time=same)
    assert {file.name: file.read_bytes() for file in (folder / "best").iterdir()} == before
    at = folder / "best" / "metrics.json"
    at.write_bytes(before["metrics.json"][:9])
    with pytest.raises(UsageError, match=r"is finished; a longer time gives it more$"):
        engine.resume(folder, Silent())
    with pytest.raises(UsageError, match=r"--time soon: a time is written as 10m, 90s or 1h30m"):
        engine.resume(folder, Silent(), time="soon")
    with pytest.raises(UsageError, match=r"0\.6s already"):
        engine.resume(folder, Silent(), time="0.5s")
    engine.resume(folder, Silent(), time="1.2s")
    more = _candidates(folder)
    assert len(more) > len(first)
    length = min(len(more), len(expected))
    assert more[:length] == expected[:length]


def test_a_run_that_is_killed_while_its_processes_end_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is there by then: trained once more it would have what is left of the time."""

    def killed() -> None:
        raise KeyboardInterrupt

    def finish(session: Session) -> Summary:
        summary = whole(session)
        session.finishing = dying
        return summary

    dying: Any = SimpleNamespace(close=killed)
    whole, folder = Session._finish, tmp_path / "run"
    settings = _config(words(tmp_path / "table", letters=5), time="10m", **{"search.budget": 40})
    with monkeypatch.context() as patch:
        patch.setattr(Session, "_finish", finish)
        with pytest.raises(KeyboardInterrupt):
            engine.start(settings, folder, Silent())
    before = {file.name: file.read_bytes() for file in (folder / "best").iterdir()}
    assert engine.resume(folder, Silent()).before
    assert {file.name: file.read_bytes() for file in (folder / "best").iterdir()} == before


def test_a_run_that_ended_by_its_budget_has_time_left_for_a_larger_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    engine.start(_config(words(tmp_path / "table", letters=5), time="10m", **{"search.budget": 20}), folder, Silent())
    for same in (None, 20):
        assert engine.resume(folder, Silent(), budget=same).before
    with pytest.raises(UsageError, match=r"is finished; a longer time, or a larger budget, gives it more$"):
        engine.resume(folder, Silent(), time="10m")
    assert engine.resume(folder, Silent(), budget=30).evaluated == 30


def test_what_reading_the_data_took_is_part_of_the_time(tmp_path: Path) -> None:
    """A command that began a minute before has used a minute, as the journal tells whoever resumes the run."""
    table, now = words(tmp_path / "table", letters=5), time.monotonic()
    settings = _config(table, time="10m", **{"search.budget": 20})
    engine.start(settings, tmp_path / "run", Silent(), began=now - 60)
    assert 60 < used_seconds(Run.open(tmp_path / "run").records()) < 60 + time.monotonic() - now


def test_a_run_that_is_killed_and_goes_on_has_the_first_candidates_of_any_other(tmp_path: Path) -> None:
    """Killed as a machine dies, with proposals under way; what it was at work before counts as used."""
    table = words(tmp_path / "table", letters=5)
    engine.start(_config(table, **{"search.budget": 1000}), tmp_path / "long", Silent())
    expected = _candidates(tmp_path / "long")
    folder, acknowledged = tmp_path / "short", tmp_path / "acknowledged"
    settings = _config(table, time="1.5s")
    pid = child(lambda seed, at, told: session(settings, at, told), 0, folder, acknowledged)
    assert killed(pid, acknowledged, 30, 0.01)
    before = used_seconds(Run.open(folder).records())
    engine.resume(folder, Silent())
    found = _candidates(folder)
    assert len(found) > 30
    length = min(len(found), len(expected))
    assert found[:length] == expected[:length]
    assert 0 < before < used_seconds(Run.open(folder).records())
    assert (folder / "best" / "architecture.arch").is_file()


@pytest.mark.slow
def test_networks_of_a_killed_run_and_of_one_with_another_time_are_prefixes(tmp_path: Path) -> None:
    """Two workers that train, settings from the data; the second run has those of the first, and more time."""
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    np.savez(tmp_path / "wine.npz", x=x, y=y)

    def evolve(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        cache = {"EVOSEARCH_CACHE": str(tmp_path / f"{name}-ledger")}
        command = [sys.executable, "-m", "evosearch", *arguments, "--quiet"]
        return subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **cache}, start_new_session=True)

    first = evolve("first", "run", "--task", "wine.npz", "--time", "30s", "--name", "first")
    rows, end = tmp_path / "runs/first/evaluations.jsonl", time.monotonic() + 30
    while time.monotonic() < end and (not rows.is_file() or rows.read_text().count("\n") < 4):
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert evolve("first", "resume", "first").wait() == 0
    config = str(tmp_path / "runs/first/config.toml")
    assert evolve("second", "run", config, "--time", "45s", "--name", "second").wait() == 0
    one, other = (_candidates(tmp_path / "runs" / name) for name in ("first", "second"))
    length = min(len(one), len(other))
    assert length > 4
    assert one[:length] == other[:length]


def test_a_run_whose_time_is_over_before_any_candidate_has_a_score_hands_back_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = f"run --grammar tiny_cnn --task digits --time 0.01s --runs {tmp_path} --name r".split()
    assert main([*arguments, "--set", "workers.workers=1", "--quiet"]) == 0
    metrics = json.loads((tmp_path / "r" / "best" / "metrics.json").read_text())
    assert metrics["fitness"] is None
    assert metrics["test"]["accuracy"] >= 0
    for command in ("status", "best", "report", "verify"):
        assert main([command, str(tmp_path / "r")]) == 0
    assert main(["list", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert (
        "of the final training was done, so the network is trained too little; a longer --time gives a better" in told
    )
    assert "Traceback" not in told


class _Clock:
    """A second for each time it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_final_training_without_time_is_shortened_and_still_gives_a_network() -> None:
    task = load("digits")
    assert isinstance(task, Task)
    steps: list[float] = []

    class Counting(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                steps.append(0.0)
            return super().forward(x.flatten(1))

    def trained(finish_by: float) -> tuple[int, float]:
        steps.clear()
        result = final_train(
            lambda: Counting(64, 10), task, Recipe(epochs=5, batch=64), finish_by=finish_by, clock=_Clock()
        )
        assert result.score.status == "ok"
        return len(steps), result.score.metrics["epochs"]

    counts = [trained(finish_by) for finish_by in (3.0, 30.0, 80.0, math.inf)]
    assert all(a[0] < b[0] for a, b in pairwise(counts))
    a_pass = (len(task.train) + len(task.validation)) // 64
    assert counts[-1] == (5 * a_pass, 5.0)
    for number, epochs in counts:
        assert math.isclose(number / a_pass, epochs)


def test_a_search_that_has_no_score_leaves_half_of_the_time_to_the_final_training() -> None:
    """What is under way takes as long as it has already, and a final training no less."""
    task = load("digits")

    def goes_on(after: float) -> bool:
        now = time.monotonic()
        budget = TimeBudget(100.0, begun=now - after)
        known, setup = SimpleNamespace(seconds={}), SimpleNamespace(task=task)
        session: Any = SimpleNamespace(time=budget, begun=budget.begun, durations=known, setup=setup)
        return now < budget.search_end(Session._final_seconds(session))

    assert [goes_on(after) for after in (1.0, 20.0, 44.0, 50.0, 80.0)] == [True, True, True, False, False]
