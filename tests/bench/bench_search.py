"""The search itself: a whole run on a table, and offspring on einspace. `make bench`."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch import engine, grammar, layers, operators
from evosearch.architecture import Space
from evosearch.config import Config
from evosearch.search import Search, SearchSettings
from evosearch.store.run import Run
from evosearch.tasks import table
from evosearch.workers import WorkerSettings
from tests.watch import Silent

CELLS = """
// input: none
start: "cell" "(" op "," op "," op "," op "," op "," op ")" -> cell
op: "none" -> none | "skip_connect" -> skip | "nor_conv_1x1" -> conv1 | "nor_conv_3x3" -> conv3 | "avg_pool_3x3" -> pool
"""
EVALUATIONS = 10_000
PROPOSALS = 2_000
SEEDS = Path(__file__).parents[2] / "grammars" / "seeds"


def test_a_run_of_ten_thousand_table_evaluations(benchmark: Any, tmp_path: Path) -> None:
    """Journal, fsyncs and checkpoints included; under 20 s on one core."""
    rng = np.random.default_rng(0)
    rows = [f'"cell({",".join(cell)})",{rng.random():.6f}' for cell in itertools.product(table.NASBENCH201, repeat=6)]
    (tmp_path / "cells.csv").write_text("arch,val\n" + "\n".join(rows) + "\n")
    (tmp_path / "cells.lark").write_text(CELLS)
    folder = tmp_path / "run"
    config = Config(
        grammar=str(tmp_path / "cells.lark"),
        task=f"table:{tmp_path / 'cells.csv'}",
        search=SearchSettings(budget=EVALUATIONS),
        workers=WorkerSettings(pool="inline"),
    )
    before = time.process_time()
    benchmark.pedantic(engine.start, (config, folder, Silent()), rounds=1)
    spent = time.process_time() - before
    assert sum(record["kind"] == "score" for record in Run.open(folder).records()) == EVALUATIONS
    print(f"\n{EVALUATIONS} evaluations, journal and checkpoints included: {spent:.1f} s of one core")
    assert spent < 20


@pytest.mark.parametrize("seeds", [(), ("resnet18", "vit")], ids=["random", "resnet18-vit"])
def test_proposals_on_einspace(benchmark: Any, seeds: tuple[str, ...]) -> None:
    """One ask and tell: parents, mutation, key, limits, rendering. At least 500 a second in the mean."""
    read = grammar.load("einspace")
    space = Space(read, layers.vocabulary(read), (3, 32, 32))
    known = {name: space.parse((SEEDS / f"{name}.arch").read_text()) for name in seeds}
    settings = SearchSettings(budget=1_000_000, population=100, initialise="seeded")
    search = Search(space, settings, operators.find(), seeds=known)

    def step() -> None:
        proposal = search.ask()
        assert proposal is not None
        search.tell(proposal.number, float(proposal.seed % 1000))

    for _ in range(100):
        step()
    before = time.process_time()
    benchmark.pedantic(step, rounds=PROPOSALS)
    rate = PROPOSALS / (time.process_time() - before)
    print(f"\n{rate:.0f} proposals/s on one core, journal and evaluation aside")
    assert rate >= 500
