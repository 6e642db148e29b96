"""Whole runs of the engine on a table of words, each in a process of its own that can be killed."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import math
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from evosearch import config as configuration
from evosearch import engine
from evosearch.engine import session as running
from evosearch.errors import EvosearchError
from evosearch.store.run import Run
from evosearch.store.verify import verify
from tests.journals import journal_digest
from tests.watch import Silent

GRAMMAR = """\
// input: none
start: word
word: {letters}
letter: "a" -> a
      | "b" -> b
      | "c" -> c
      | "d" -> d
      | "e" -> e
"""


SETTLING = 0.002  # seconds in which scores share an fsync here: such a run is over before the usual 0.05 are

Work = Callable[[int, Path, Path | None], None]


def fitness(word: str) -> float:
    """Close to the number of letters in alphabetical order, and never the same twice."""
    ordered = sum(a <= b for a, b in itertools.pairwise(word))
    return ordered + int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) / 2**33


def words(folder: Path, letters: int = 6) -> Path:
    """A grammar of 5^letters words and a table of their fitness; the folder that `config` asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "words.lark").write_text(GRAMMAR.format(letters=" ".join(["letter"] * letters)))
    rows = ("".join(word) for word in itertools.product("abcde", repeat=letters))
    lines = []
    for word in rows:
        of = fitness(word)
        lines.append(f"{word},{of},{of + fitness(word[::-1]) / 2},{of + fitness(word[1:]) / 4}\n")
    (folder / "words.csv").write_text("key,fitness,fitness@0.1,fitness@0.3\n" + "".join(lines))
    return folder


def config(table: Path, budget: int, seed: int, **more: Any) -> configuration.Config:
    overrides: dict[str, Any] = {
        "grammar": str(table / "words.lark"), "task": f"table:{table / 'words.csv'}", "seeds": [], "seed": seed,
        "search.budget": budget,
    }  # fmt: skip
    return configuration.load(None, overrides | {f"search.{name}": value for name, value in more.items()})


def session(settings: configuration.Config, folder: Path, acknowledged: Path | None = None) -> None:
    """Start the run, or go on with it, to its end; each acknowledged score's number becomes a line."""
    if acknowledged is not None:
        out = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        write, sync, written = Run.write_scores, Run.sync, list[int]()

        def write_scores(run: Run, records: list[dict[str, Any]]) -> None:
            write(run, records)
            written.extend(record["number"] for record in records)

        def synced(run: Run) -> None:
            sync(run)
            os.write(out, "".join(f"{number}\n" for number in written).encode())
            written.clear()

        Run.write_scores, Run.sync = write_scores, synced  # type: ignore[method-assign, assignment]
        running.SYNC = SETTLING
    if folder.exists():
        engine.resume(folder, Silent())
    else:
        engine.start(settings, folder, Silent())


def child(work: Work, seed: int, folder: Path, acknowledged: Path | None) -> int:
    """Do the work in a process of its own; its id. It ends with 0, or with the error's exit code."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        work(seed, folder, acknowledged)
        code = 0
    except EvosearchError as error:
        print(error, file=sys.stderr, flush=True)
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - a forked child must not go on as pytest
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def killed(pid: int, acknowledged: Path, scores: int, delay: float) -> bool:
    """Kill a child a moment after it has acknowledged so many scores more: seconds of it, so that any step is hit.

    Whether that is what ended it; it has not failed by itself.
    """

    def lines() -> int:
        return acknowledged.read_bytes().count(b"\n") if acknowledged.exists() else 0

    before, until = lines(), math.inf
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        if until == math.inf and lines() - before >= scores:
            until = time.monotonic() + delay
        time.sleep(min(0.001, max(0.0, until - time.monotonic())))
    status = ended[1]
    if ended[0] == 0:
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def best(folder: Path) -> bytes:
    return (folder / "best" / "architecture.arch").read_bytes()


def logged(folder: Path) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """The rows of a run's CSV and of its JSON Lines by number, times aside."""
    with (folder / "evaluations.csv").open(newline="", encoding="utf-8") as file:
        table: list[dict[str, Any]] = list(csv.DictReader(file))
    lines: list[dict[str, Any]] = [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]
    for row in (*table, *lines):
        for name in ("at", "seconds", "objective_seconds"):
            row.pop(name, None)
    return sorted(table, key=lambda row: int(row["number"])), sorted(lines, key=lambda row: int(row["number"]))


def state(folder: Path) -> Any:
    """The search's state at the end of a run."""
    loaded = Run.open(folder).load_checkpoint()
    assert loaded
    return loaded.state


def kills(work: Work, tmp_path: Path, *, runs: int, seeds: int, times: int, rng: np.random.Generator) -> None:
    """Runs killed at random moments end as those that nobody killed, and hold every acknowledged score.

    work: a session of the run with this seed in this folder, writing acknowledged scores to a file.
    """
    for seed in range(seeds):
        whole = tmp_path / f"whole-{seed}"
        assert os.waitpid(child(work, seed, whole, None), 0)[1] == 0
        total = sum(record["kind"] == "score" for record in Run.open(whole).records())
        expected, timeless = journal_digest(Run.open(whole)), logged(whole)
        for number in range(seed, runs, seeds):
            folder, acknowledged = tmp_path / f"run-{number}", tmp_path / f"acknowledged-{number}"
            hits = 0
            while hits < times:
                more = int(rng.integers(total // times))  # 0: as it starts
                delay = float(rng.uniform(0, 0.02 if more else 0.5))
                hit = killed(child(work, seed, folder, acknowledged), acknowledged, more, delay)
                if not hit:  # over before its time: killed as it is told again, then begun anew for moments within it
                    killed(child(work, seed, folder, acknowledged), acknowledged, 0, delay)
                findings = verify(folder) if folder.exists() else []
                assert [finding for finding in findings if "incomplete last record" not in finding.message] == []
                hits += hit
                if not hit:
                    assert journal_digest(Run.open(folder)) == expected, folder
                    shutil.rmtree(folder)
                    acknowledged.unlink()
                    hits = 0
            assert os.waitpid(child(work, seed, folder, acknowledged), 0)[1] == 0
            run = Run.open(folder)
            assert journal_digest(run) == expected, folder
            scores = [record["number"] for record in run.records() if record["kind"] == "score"]
            assert sorted(scores) == list(range(len(scores)))
            lines = [int(line) for line in acknowledged.read_text().split()]
            assert len(lines) == len(set(lines)), "a score was acknowledged twice"
            assert set(lines) <= set(scores)
            assert engine.verify(folder) == []  # the journal, replayed, ends in the checkpoint's state
            assert best(folder) == best(whole)
            assert state(folder) == state(whole)
            assert logged(folder) == timeless
