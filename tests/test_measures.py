"""Objectives: one table says what is better, and what it does not know must be said."""

from __future__ import annotations

from pathlib import Path

import pytest

from evosearch import config, engine
from evosearch.architecture import Limits
from evosearch.errors import ConfigError
from evosearch.evaluation import measures, stopping
from evosearch.evaluation.evaluators import evaluator
from evosearch.evaluation.evaluators.direct import unsigned
from evosearch.evaluation.job import EvaluationContext, Job, Resources
from evosearch.evaluation.measures.ece import Ece
from evosearch.evaluation.recipe import Recipe
from evosearch.report.reading import read_run
from evosearch.score import Score
from evosearch.space import space_of
from evosearch.tasks import Task, load
from tests.spaces import language
from tests.watch import Silent


def digits() -> Task:
    task = load("digits")
    assert isinstance(task, Task)
    return task


@pytest.mark.parametrize("name", ["delay", "width", "length", "rmse", "tokens", "train_time"])
def test_what_the_table_does_not_know_must_say_its_direction(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        measures.objective(name)
    assert f"'+{name}'" in str(caught.value)
    assert f"'-{name}'" in str(caught.value)
    assert [measures.objective(f"{sign}{name}").sign for sign in "+-"] == [1, -1]


@pytest.mark.parametrize(
    ("name", "sign"),
    [("val_accuracy_12ep", 1), ("test_loss", -1), ("val", 1), ("val_error", -1), ("train_seconds_12ep", -1)],
)  # fmt: skip
def test_a_benchmark_s_column_is_a_name_of_the_table(name: str, sign: int) -> None:
    assert measures.objective(name).sign == sign


def test_an_evaluator_s_own_sign_counts() -> None:
    assert measures.objective("tokens", {"tokens": -1}).sign == -1
    assert measures.objective("+tokens", {"tokens": -1}).sign == 1


def test_a_run_of_before_the_table_keeps_its_directions() -> None:
    """Without objectives in its header a bare name is read by its words, as it was when the run was started."""
    older = [str(one) for one in measures.recorded({"metric": "rmse"}, ["latency", "val_loss", "-margin"])]
    assert older == ["+latency", "-val_loss", "-margin"]
    assert [str(one) for one in measures.recorded({"metric": "rmse"}, [])] == ["-rmse"]
    assert [str(one) for one in measures.recorded({"objectives": ["-latency"]}, ["latency"])] == ["-latency"]


def test_a_mapping_s_signs_must_agree_with_the_search() -> None:
    score = Score("k", "ok", {"-tokens": 3.0, "+margin": 1.0})
    assert unsigned(score, {"tokens": -1}).objectives == {"tokens": 3.0, "margin": 1.0}
    wrong = unsigned(score, {"tokens": 1})
    assert wrong.status == "invalid"
    assert "it returned '-tokens', and the search is for '+tokens'" in wrong.error


def test_every_objective_of_a_network_runs(tmp_path: Path) -> None:
    """All are searched for at once, with the signs of the table, and the run says which."""
    names = [measure.name for measure in measures.of_networks(digits())]
    settings = {
        "grammar": "tiny_cnn", "task": "digits", "recipe.epochs": 1, "final.epochs": 1, "search.budget": 2,
        "search.population": 2, "search.strategy": "nsga2", "search.objectives": names, "workers.pool": "inline",
        "workers.device": "cpu", "limits.max_flops": 1_000_000,
    }  # fmt: skip
    engine.start(config.load(None, settings), tmp_path / "run", Silent())
    reading = read_run(tmp_path / "run")
    assert reading.header["objectives"] == [f"{'+' if name == 'accuracy' else '-'}{name}" for name in names]
    assert {"activations", "modules", "seconds"} < set(names)
    assert all(one.objectives[name] > 0 for one in reading.ranked() for name in names)


def test_calibration_by_folds_of_a_share_of_the_rows_is_of_those_rows() -> None:
    task = digits()
    recipe = Recipe(epochs=1, batch=256, folds=2, shorten="rows")
    there = space_of(task, language("tiny_cnn"), (), Limits())
    network = evaluator(EvaluationContext(there, task, recipe, Resources(), signs={"ece": -1}, measures=(Ece(),)))
    network.prepare(None)
    text = "conv(16,3);maxpool"
    score = network(Job(0, text, there.read(there.parse(text)).key, fidelity=0.25)).score
    assert score.status == "ok", score.error
    assert 0 < score.objectives["ece"] < 1


def test_stop_rules_are_found_by_name() -> None:
    class Always:
        relative = False

        def brief(self, curves: object) -> None:
            return None

        def stop(self, brief: object, curve: object, sign: int) -> str:
            return "that is enough"

    assert stopping.find("off") is None
    assert type(stopping.find("median")).__name__ == "Median"
    assert isinstance(stopping.find("always", {"always": Always}), Always)
    with pytest.raises(ConfigError, match="no stop rule 'medain'; did you mean median"):
        stopping.find("medain")
