"""A run that is killed and resumed is the run it would have been. The short form; `make chaos` has the long one."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evosearch import config as configuration
from evosearch import engine
from evosearch.cli import main
from evosearch.store.framing import FORMAT
from evosearch.store.run import CHECKPOINT_FILE, PREVIOUS_FILE, Run
from evosearch.store.verify import verify
from tests.chaos.sessions import best, config, kills, session, state, words
from tests.journals import journal_digest
from tests.watch import Silent


def test_a_run_that_is_killed_ends_as_the_run_that_nobody_killed(tmp_path: Path) -> None:
    table = words(tmp_path / "table", letters=4)
    session(config(table, 10, 0), tmp_path / "warm")  # the forked sessions need not import everything anew
    kills(
        lambda seed, folder, acknowledged: session(config(table, 60, seed), folder, acknowledged),
        tmp_path, runs=2, seeds=1, times=2, rng=np.random.default_rng(5),
    )  # fmt: skip


def test_a_run_with_screening_rungs_and_learning_that_is_killed_ends_as_the_run_that_nobody_killed(
    tmp_path: Path,
) -> None:
    table = words(tmp_path / "table", letters=4)

    def settings(budget: int, seed: int) -> configuration.Config:
        return config(table, budget, seed, rungs=[0.1, 0.3], grow=True, learn=15, screen=4, surrogate="ridge")

    session(settings(60, 0), tmp_path / "warm")
    kills(
        lambda seed, folder, acknowledged: session(settings(90, seed), folder, acknowledged),
        tmp_path, runs=2, seeds=1, times=2, rng=np.random.default_rng(6),
    )  # fmt: skip
    fidelities = {row.get("fidelity", 1.0) for row in Run.open(tmp_path / "whole-0").records() if "text" in row}
    assert fidelities >= {0.1, 0.3}


def test_a_run_that_is_killed_before_its_last_checkpoint_gets_one_when_it_is_resumed(tmp_path: Path) -> None:
    settings, folder = config(words(tmp_path / "table", letters=4), 40, 0), tmp_path / "run"
    session(settings, folder)
    expected = state(folder)
    for file in (CHECKPOINT_FILE, PREVIOUS_FILE):
        (folder / file).unlink(missing_ok=True)
    session(settings, folder)
    assert state(folder) == expected
    assert verify(folder) == []


def test_a_damaged_checkpoint_is_written_anew_by_a_resume(tmp_path: Path) -> None:
    """Though the one before it, from a `repair`, holds every score as well."""
    settings, folder = config(words(tmp_path / "table", letters=4), 40, 0), tmp_path / "run"
    session(settings, folder)
    expected = state(folder)
    engine.repair(folder)
    data = bytearray((folder / CHECKPOINT_FILE).read_bytes())
    data[-1] ^= 4
    (folder / CHECKPOINT_FILE).write_bytes(data)
    assert verify(folder)
    session(settings, folder)
    assert state(folder) == expected
    assert verify(folder) == []


SEEN = ": space exhausted: 500 draws gave no candidate that this run had not seen (5 are known)"


@pytest.mark.parametrize(
    ("letters", "flags", "said"),
    [
        (4, ["--budget", "40"], "; a larger budget gives it more"),
        (4, ["--budget", "40", "--time", "10m"], "; a longer time, or a larger budget, gives it more"),
        (6, ["--time", "2s"], "; a longer time gives it more"),
        (1, ["--budget", "40"], SEEN),
        (1, ["--time", "10m"], SEEN),
    ],
)
def test_a_finished_run_is_told_again_and_left_as_it_is(
    letters: int, flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever ended it, and with code 0; what it took is what it took."""
    table, folder = words(tmp_path / "table", letters=letters), tmp_path / "run"
    of = ["--grammar", str(table / "words.lark"), "--task", f"table:{table / 'words.csv'}", "--start", "none"]
    more = ["--set", "search.draws=500", "--name", "run", "--runs", str(tmp_path)]
    assert main(["run", *of, *flags, *more, "--quiet"]) == 0
    before, result = _files(folder), capsys.readouterr().out
    for same in ([], flags[:2] if flags[0] == "--budget" else []):
        assert main(["resume", str(folder), *same]) == 0
        out = capsys.readouterr().out
        assert out == f"{folder} is finished{said}\n{result}"
    assert _files(folder) == before
    report = folder / "report.html"
    report.write_text("of before the run had more")
    os.utime(report, (0, 0))
    assert main(["resume", str(folder)]) == 0
    assert "of before" not in report.read_text()


def test_an_exhausted_run_has_no_use_for_a_larger_budget(tmp_path: Path) -> None:
    settings, folder = config(words(tmp_path / "table", letters=1), 40, 0, draws=500), tmp_path / "run"
    told = engine.start(settings, folder, Silent())
    assert engine.resume(folder, Silent(), budget=80) == replace(told, before=True)


def test_a_finished_run_whose_best_does_not_check_gets_it_anew(tmp_path: Path) -> None:
    """As one that an older evosearch ended, which did not keep what it said."""
    settings, folder = config(words(tmp_path / "table", letters=4), 40, 0), tmp_path / "run"
    engine.start(settings, folder, Silent())
    expected = best(folder)
    (folder / "best/architecture.arch").write_text("eeee\n")
    assert verify(folder)
    assert not engine.resume(folder, Silent()).before
    assert (best(folder), verify(folder)) == (expected, [])
    kept = json.loads((folder / "best/metrics.json").read_text())
    del kept["summary"]
    with Run.open(folder, write=True) as run:
        run.write_best({"architecture.arch": best(folder), "metrics.json": json.dumps(kept)})
    assert not engine.resume(folder, Silent()).before
    assert engine.resume(folder, Silent()).before


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_command_ends_in_a_traceback_on_a_damaged_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands_on_damaged_runs(tmp_path, capsys, flips=24, resumed=8, rng=np.random.default_rng(8))


def commands_on_damaged_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flips: int, resumed: int, rng: np.random.Generator
) -> None:
    """One byte of a run is damaged: `verify` says so, and every other command works or ends in one line."""
    folder = tmp_path / "runs" / "mine"
    session(config(words(tmp_path / "table", letters=4), 40, 0), folder)
    expected = journal_digest(Run.open(folder))
    key = next(Run.open(folder).records())["key"]
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert len(names) > 5
    for number in range(flips):
        path = folder / names[number % len(names)]
        sound = path.read_bytes()
        offset = int(rng.integers(len(sound)))
        damaged = bytes([sound[offset] ^ int(rng.integers(1, 256))])
        path.write_bytes(sound[:offset] + damaged + sound[offset + 1 :])
        capsys.readouterr()
        assert main(["verify", str(folder)]) == 1, f"{path}:{offset}"
        assert str(path.relative_to(folder).parts[0]) in capsys.readouterr().out
        commands = [
            ["status", str(folder)], ["list", str(folder.parent)], ["best", str(folder)], ["why", str(folder), key[:8]],
            ["lineage", str(folder), key[:8]], ["pareto", str(folder)], ["show", str(folder)],
        ]  # fmt: skip
        if number < resumed:
            copy = tmp_path / "copy"
            shutil.copytree(folder, copy)
            commands.append(["resume", str(copy), "--quiet"])
        for command in commands:
            code = main(command)
            said = capsys.readouterr().err
            assert code in (0, 1, 2), (command, said)
            assert "internal error" not in said, (path, offset, command, said)
            if code and command[0] != "list":
                assert said.startswith("evolve: "), (command, said)
                assert said.count("\n") == 1, (command, said)
        if number < resumed:
            if code == 0:
                assert journal_digest(Run.open(copy)) == expected
            shutil.rmtree(copy)
        path.write_bytes(sound)
    assert main(["verify", str(folder)]) == 0


# What each released format version's run in tests/golden/ says: never changed, only added to.
GOLDEN = {1: "5824ef8d6331c76201d4fea24f781112"}


@pytest.mark.parametrize("version", range(1, FORMAT + 1))
def test_a_run_of_every_format_version_is_still_read(
    version: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(Path(__file__).parent / "golden" / f"run-format-{version}", folder)
    run = Run.open(folder)
    assert run.version == version
    assert journal_digest(run) == GOLDEN[version]
    assert Counter(record["kind"] for record in run.records()) == {"proposal": 12, "score": 12}
    assert state(folder)["evaluated"] == 12
    for name in ("checkpoint.msgpack", "checkpoint.previous.msgpack"):
        assert (folder / name).exists()
    assert verify(folder) == []
    assert main(["status", str(folder)]) == 0
    assert "12 of 12" in capsys.readouterr().out
    with Run.open(folder, write=True) as writer:
        assert (writer.proposals, writer.scores) == (12, 12)
