"""The long forms: every byte, every call, thousands of flips, hundreds of kills. Run by `make chaos`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evosearch import config as configuration
from evosearch.errors import StorageError
from evosearch.store.run import Run
from evosearch.store.verify import verify
from tests.chaos import sessions
from tests.chaos.faults import FaultyDisk, search
from tests.journals import equal_journals
from tests.test_cache import crowd
from tests.test_resume import commands_on_damaged_runs
from tests.test_runs import flips, kills, refusals, tears

pytestmark = pytest.mark.chaos


def test_a_torn_write_at_every_byte_of_every_write_resumes_to_the_same_end(tmp_path: Path) -> None:
    tears(tmp_path, stride=1)


def test_a_disk_that_refuses_at_every_call(tmp_path: Path) -> None:
    refusals(tmp_path, total=10, every=1)


def test_five_thousand_byte_flips_are_found_and_run_nothing(tmp_path: Path) -> None:
    flips(tmp_path, 5_000, np.random.default_rng(3))


def test_no_command_ends_in_a_traceback_on_damaged_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands_on_damaged_runs(tmp_path, capsys, flips=600, resumed=150, rng=np.random.default_rng(9))


def test_two_hundred_small_searches_killed_three_times(tmp_path: Path) -> None:
    kills(tmp_path, runs_killed=200, times=3, total=300, rng=np.random.default_rng(4))


def test_ten_processes_on_one_ledger_with_two_killed(tmp_path: Path) -> None:
    for repetition in range(5):
        crowd(tmp_path / str(repetition), processes=10, killed=2, scores=300)


def test_two_hundred_runs_of_three_hundred_evaluations_killed_three_times(tmp_path: Path) -> None:
    table = sessions.words(tmp_path / "table")
    sessions.session(sessions.config(table, 10, 0), tmp_path / "warm")

    def work(seed: int, folder: Path, acknowledged: Path | None) -> None:
        sessions.session(sessions.config(table, 300, seed), folder, acknowledged)

    sessions.kills(work, tmp_path, runs=200, seeds=20, times=3, rng=np.random.default_rng(6))


def test_ten_runs_of_a_function_in_the_pool_killed_three_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers, batches and all: what a killed parent leaves ends with it, and the history is the same."""
    (tmp_path / "chaos_fitness.py").write_text(
        "def fitness(text, derivation, seed):\n    return float(len(text) % 7)\n"
    )
    (tmp_path / "lang.lark").write_text(
        '// input: none\nstart: "a" | "b" | "c" | "d" | both\nboth: "(" start "," start ")"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)

    def work(seed: int, folder: Path, acknowledged: Path | None) -> None:
        overrides = {"seed": seed, "search.budget": 200, "workers.workers": 2, "task": "chaos_fitness:fitness"}
        grammar = str(tmp_path / "lang.lark")
        sessions.session(configuration.load(None, {**overrides, "grammar": grammar}), folder, acknowledged)

    sessions.kills(work, tmp_path, runs=10, seeds=2, times=3, rng=np.random.default_rng(8))


def test_twenty_runs_on_digits_with_two_workers_killed_three_times(tmp_path: Path) -> None:
    def work(seed: int, folder: Path, acknowledged: Path | None) -> None:
        overrides = {
            "seed": seed,
            "search.budget": 20,
            "search.population": 6,
            "recipe.epochs": 2,
            "workers.workers": 2,
        }
        os.environ["EVOSEARCH_CACHE"] = str(folder.with_name(f"cache-{folder.name}"))  # no score from another run
        sessions.session(configuration.load(None, overrides | {"final.epochs": 2}), folder, acknowledged)

    sessions.kills(work, tmp_path, runs=20, seeds=2, times=3, rng=np.random.default_rng(7))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full_is_a_clear_error_and_the_run_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    total = 60
    search(tmp_path / "whole", FaultyDisk(), total)
    folder = small_disk / "run"
    ballast = small_disk / "ballast"
    acknowledged: list[int] = []
    stops = []
    for room in range(0, 64, 4):  # KiB
        ballast.write_bytes(b"x" * max(0, 40 - room) * 1024)
        try:
            search(folder, FaultyDisk(), total, acknowledged.append)
            break
        except StorageError as error:
            stops.append(str(error))
        ballast.unlink()
    assert len(stops) > 1
    assert all("No space left on device: make room" in stop for stop in stops)
    run = Run.open(folder)
    assert equal_journals(run, Run.open(tmp_path / "whole"))
    assert set(acknowledged) <= {record["number"] for record in run.records() if record["kind"] == "score"}
    assert verify(folder) == []
    shutil.rmtree(folder)
