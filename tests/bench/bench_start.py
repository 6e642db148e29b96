"""How soon commands answer: help, a grammar's check, the status of a long run; and a run of 100,000 goes on."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evosearch import engine
from evosearch.config import Config
from evosearch.search import SearchSettings
from evosearch.workers import WorkerSettings
from tests.watch import Silent

LETTERS = 10
GRAMMAR = f"""
// input: none
start: {"letter " * LETTERS}
letter: "a" -> a | "b" -> b | "c" -> c | "d" -> d | "e" -> e
"""


def in_order(text: str, derivation: Any, seed: int) -> float:
    """A function task that costs next to nothing: letters that stand in alphabetical order."""
    return float(sum(a <= b for a, b in itertools.pairwise(text)))


def evolve(*arguments: str) -> Callable[[], None]:
    def once() -> None:
        subprocess.run([sys.executable, "-m", "evosearch", *arguments], check=True, capture_output=True)

    return once


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A finished run of so many evaluations."""
    made: dict[int, Path] = {}

    def run(evaluations: int) -> Path:
        if evaluations not in made:
            folder = tmp_path_factory.mktemp("runs")
            (folder / "letters.lark").write_text(GRAMMAR)
            config = Config(
                grammar=str(folder / "letters.lark"),
                task=f"{__name__}:in_order",
                search=SearchSettings(budget=evaluations),
                workers=WorkerSettings(pool="inline"),
            )
            engine.start(config, folder / "run", Silent())
            made[evaluations] = folder / "run"
        return made[evaluations]

    return run


def test_help(benchmark: Any) -> None:
    """`evolve --help` in under 0.2 s."""
    benchmark.pedantic(evolve("--help"), rounds=10, warmup_rounds=1)
    assert benchmark.stats.stats.min < 0.2


def test_check(benchmark: Any) -> None:
    """`evolve check einspace` says what is exact in under a second."""
    benchmark.pedantic(evolve("check", "einspace", "--samples", "0"), rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.min < 1


def test_check_with_its_thousand_samples(benchmark: Any) -> None:
    """In under three seconds."""
    benchmark.pedantic(evolve("check", "einspace"), rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.min < 3


def test_status_of_a_run_of_10_000_evaluations(benchmark: Any, run_of: Callable[[int], Path]) -> None:
    """In under half a second."""
    benchmark.pedantic(evolve("status", str(run_of(10_000))), rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.min < 0.5


def test_resume_of_a_run_of_100_000_evaluations(benchmark: Any, run_of: Callable[[int], Path]) -> None:
    """Checked, read, replayed, and one evaluation further, in under 5 s."""
    folder, budget = run_of(100_000), iter(range(100_001, 100_010))
    benchmark.pedantic(lambda: engine.resume(folder, Silent(), budget=next(budget)), rounds=3)
    print(f"\n{(folder / 'journal.msgpack').stat().st_size / 1e6:.0f} MB of journal")
    assert benchmark.stats.stats.min < 5
