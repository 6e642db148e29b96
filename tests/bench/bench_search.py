"""The search itself: a whole run on a table, and offspring on einspace. `make bench`."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch import engine, grammar, layers, operators
from evosearch.architecture import Limits, Space
from evosearch.config import Config
from evosearch.features import Features
from evosearch.score import Score
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.search.screening import GROWTH, REFIT
from evosearch.store.run import Run
from evosearch.tasks import table
from evosearch.tasks.function import FunctionTask
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


@pytest.mark.parametrize("problem", ["sized", "quartic"])
def test_symbolic_regression_with_trees_of_up_to_a_thousand_nodes(
    problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole run in this process, the fitness itself not counted: at most 0.6 ms an evaluation.

    `sized` is a search of trees of about 900 nodes; those of `quartic` grow as they like.
    """
    inside = 0.0
    evaluate = FunctionTask.evaluate

    def timed(*arguments: Any) -> Score:
        nonlocal inside
        before = time.process_time()
        try:
            return evaluate(*arguments)
        finally:
            inside += time.process_time() - before

    monkeypatch.setattr(FunctionTask, "evaluate", timed)
    grammar_file = str(Path(__file__).with_name("symbolic.lark"))

    def spent(evaluations: int) -> float:
        nonlocal inside
        config = Config(
            grammar=grammar_file,
            task=f"tests.bench.problems:{problem}",
            limits=Limits(max_nodes=1_000),
            search=SearchSettings(budget=evaluations),
            workers=WorkerSettings(pool="inline"),
        )
        inside, before = 0.0, time.process_time()
        engine.start(config, tmp_path / str(evaluations), Silent())
        return time.process_time() - before - inside

    few, many = 500, 500 + EVALUATIONS
    each = (spent(many) - spent(few)) / EVALUATIONS  # without what a run takes to begin
    texts = [record["text"] for record in Run.open(tmp_path / str(many)).records() if record["kind"] == "proposal"]
    space = Space(grammar.load(grammar_file), None, None, Limits(max_nodes=1_000))
    nodes = float(np.mean([space.parse(text).size for text in texts[few::50]]))
    print(
        f"\n{problem}: {1000 * each:.3f} ms an evaluation of {nodes:.0f} nodes, its fitness {1e6 * inside / few:.0f} us"
    )
    assert each < 0.0006


@pytest.mark.parametrize(("evaluations", "most"), [(1_000, 0.020), (10_000, 0.050)])
def test_screened_proposals_on_einspace(evaluations: int, most: float) -> None:
    """Twenty drafts for each, their figures and the share of a fit that falls on one: under 20 ms at 1,000 evaluations,
    50 ms at 10,000. The population is full, as it is by then."""
    read = grammar.load("einspace")
    space = Space(read, layers.vocabulary(read), (3, 32, 32))
    settings = SearchSettings(budget=1_000_000, screen=20)
    search = Search(space, settings, operators.find())
    assert search.screen is not None
    rng = np.random.default_rng(0)
    for number in range(evaluations):
        derivation = space.draw(rng)
        text, size = space.render(derivation), math.log2(1 + space.read(derivation).cost.params)
        proposal = Proposal(number, derivation, f"{number:032x}", text, (), "sample", number)
        search.history.add(proposal, (size + 3 * rng.standard_normal(),), None)
    search.screen.model.follow(search.history)
    figures = search.screen.model.features(space.draw(rng))[None]
    import sklearn.ensemble  # noqa: F401 - once in a process, and not on a fit's time

    before = time.process_time()
    search.screen.model.predict(figures)
    fit = time.process_time() - before
    spent = []
    for asked in range(settings.population + 60):
        search.screen.model.follow(search.history)
        search.screen.model.predict(figures)  # where another fit is due: its share is that of the first
        before = time.process_time()
        proposed = search.ask()
        if asked >= settings.population:
            spent.append(time.process_time() - before)
        assert proposed is not None
        search.tell(proposed.number, float(rng.standard_normal()))
    share = fit / max(REFIT, evaluations // GROWTH)
    print(f"\n{evaluations} evaluations: a fit {fit:.2f} s, {1000 * share:.1f} ms of it and "
          f"{1000 * float(np.mean(spent)):.1f} ms of drafts for a proposal")  # fmt: skip
    assert share + float(np.mean(spent)) < most


def test_a_pool_of_ten_thousand_with_keys_and_figures() -> None:
    """Samples of einspace: drawn, read, keyed, and their figures found, under 12 s."""
    read = grammar.load("einspace")
    space = Space(read, layers.vocabulary(read), (3, 32, 32))
    features, rng = Features(space), np.random.default_rng(0)
    before = time.process_time()
    rows = [(space.read(one).key, features(one)) for one in (space.draw(rng) for _ in range(10_000))]
    spent = time.process_time() - before
    print(f"\n{len(rows)} samples with keys and figures: {spent:.1f} s of one core")
    assert spent < 12


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
