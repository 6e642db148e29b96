"""`--learn-from`: the surrogate that screens begins with what other runs found, in a run that needs them no more."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch import engine
from evosearch.config import Config
from evosearch.engine.prior import gathered, read, written
from evosearch.engine.setup import prepare
from evosearch.evaluation.measures import objective
from evosearch.report.reading import read_run
from evosearch.store.run import Run
from tests.chaos.sessions import config, words
from tests.journals import equal_journals
from tests.watch import Silent


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table's folder, with a random run of it."""
    table = words(tmp_path_factory.mktemp("before"), letters=4)
    engine.start(config(table, 120, 5, strategy="random"), table / "run", Silent())
    return table


def screened(table: Path, seed: int, budget: int, **more: Any) -> Config:
    usual = config(table, budget, seed, screen=6, surrogate="ridge", population=10, lookahead=2)
    return usual.model_copy(update=more)


def test_what_is_known_is_each_candidate_with_its_quantile_there(before: Path) -> None:
    there = prepare(config(before, 10, 0)).space
    known = gathered([str(before / "run")], there, (objective("+fitness"),))
    run = read_run(before / "run")
    assert [there.render(one) for one, _ in known] == [one.text for one in run.scored()]
    values = np.array([one.objectives.get("fitness", -np.inf) for one in run.scored()])
    ranks = [(values < value).mean() + (values == value).mean() / 2 for value in values]
    assert [rank for _, (rank,) in known] == pytest.approx(ranks)
    assert read(written(known, there), there) == known


def test_a_run_begins_with_it_and_is_better_from_the_first_candidate_on(before: Path, tmp_path: Path) -> None:
    first = []
    for seed in range(4):
        for name, more in (("with", {"learn_from": (str(before / "run"),)}), ("without", {})):
            engine.start(screened(before, seed, 24, **more), tmp_path / f"{name}-{seed}", Silent())
            run = read_run(tmp_path / f"{name}-{seed}")
            assert all((one.expected is not None) is bool(more) for one in run.candidates)
            first.append(np.mean([one.objectives.get("fitness", 0.0) for one in run.candidates]))
    gain = np.array(first).reshape(4, 2) @ [1, -1]
    assert gain.min() > 0


def test_it_goes_on_without_the_other_run_and_with_scores_of_its_own(before: Path, tmp_path: Path) -> None:
    """Ended half-way, the other run gone: the journal of the run that nobody ended."""
    other = tmp_path / "other"
    shutil.copytree(before / "run", other)
    settings = screened(before, 0, 70, learn_from=(str(other),))
    engine.start(settings, tmp_path / "whole", Silent())
    short = settings.model_copy(update={"search": replace(settings.search, budget=45)})
    engine.start(short, tmp_path / "half", Silent())
    shutil.rmtree(other)
    engine.resume(tmp_path / "half", Silent(), budget=70)
    assert equal_journals(Run.open(tmp_path / "whole"), Run.open(tmp_path / "half"))
    assert engine.verify(tmp_path / "half") == []
