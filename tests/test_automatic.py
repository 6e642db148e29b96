"""What nobody gave follows from the data, the machine and the time; what was given is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evosearch import config as configuration
from evosearch import engine
from evosearch.cli import main
from evosearch.errors import ShapeError
from evosearch.tasks import Task


def _saved(folder: Path, shape: tuple[int, ...]) -> str:
    rng = np.random.default_rng(0)
    folder.mkdir()
    file = folder / "data.npz"
    np.savez(file, x=rng.normal(size=(60, *shape)).astype(np.float32), y=rng.integers(0, 3, 60))
    return str(file)


SHAPES = [(7,), (40, 3), (3, 20, 24)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_that_names_no_grammar_gets_one_that_takes_its_examples(tmp_path: Path, shape: tuple[int, ...]) -> None:
    found = engine.chosen(None, {"task": _saved(tmp_path / "d", shape), "time": "20s"})
    setup = engine.prepare(found.config)
    assert isinstance(setup.task, Task)
    assert setup.space.network_input == setup.task.input_shape == shape
    assert setup.seeds
    assert any("classification" in line for line in found.data)
    assert all(": " in line for line in found.choices)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_chosen_is_written_down_whole(tmp_path: Path, shape: tuple[int, ...]) -> None:
    config = engine.chosen(None, {"task": _saved(tmp_path / "d", shape)}).config
    assert config.time == "10m"
    assert configuration.loads(configuration.dumps(config)) == config
    named = tmp_path / "same.toml"
    named.write_text(configuration.dumps(config))
    assert engine.chosen(named).config == config, "a configuration that names its grammar is left as it is"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("most", [600, 20_000, 200_000])
def test_known_networks_that_are_over_a_limit_are_left_out(tmp_path: Path, shape: tuple[int, ...], most: int) -> None:
    """The task's outputs count. Where none is left the run begins with samples, and says so."""
    given = {"task": _saved(tmp_path / "d", shape), "time": "60s", "limits.max_params": most}
    found = engine.chosen(None, given)
    setup = engine.prepare(found.config)
    assert all(setup.space.within(setup.space.read(seed)) is None for seed in setup.seeds.values())
    said = "none of the known networks is within the limits: samples are the beginning"
    assert any(said in line for line in found.choices) == (not setup.seeds)
    if most == 600:
        assert found.config.search.initial == found.config.search.population
    if most == 200_000:
        assert setup.seeds


def test_what_is_given_is_kept_and_not_explained(tmp_path: Path) -> None:
    given = {"task": _saved(tmp_path / "d", (7,)), "recipe.batch": 17, "search.budget": 5, "recipe.lr": 0.5}
    found = engine.chosen(None, given)
    assert (found.config.recipe.batch, found.config.search.budget, found.config.recipe.lr) == (17, 5, 0.5)
    assert found.config.time == ""
    assert not any(line.startswith(("recipe.batch ", "search.budget", "recipe.lr ")) for line in found.choices)


def test_a_grammar_that_is_named_has_a_recipe_for_the_data(tmp_path: Path) -> None:
    """How its networks are trained and judged; what it begins with and how it is searched is as ever."""
    task = _saved(tmp_path / "d", (7,))
    found = engine.chosen(None, {"task": task, "grammar": "mlp"})
    usual = configuration.load(None, {"task": task, "grammar": "mlp"})
    assert (found.config.recipe.optimizer, found.config.recipe.schedule) == ("adamw", "onecycle")
    assert found.config.recipe.batch == 16
    assert (found.config.search, found.config.limits, found.config.seeds) == (usual.search, usual.limits, ())
    assert found.config.time == ""
    assert found.config.recipe.stop == "off"
    assert all(line.startswith(("recipe.", "final.", "data.")) for line in found.choices)
    timed = engine.chosen(None, {"task": task, "grammar": "mlp", "time": "30s"}).config
    assert timed.limits.max_flops is not None
    assert timed.search.budget == configuration.NO_END


@pytest.mark.parametrize("key", ["recipe.lr", "recipe.optimizer", "recipe.schedule"])
def test_a_recipe_of_ones_own_is_left_as_it_is(tmp_path: Path, key: str) -> None:
    value = {"recipe.lr": 0.1, "recipe.optimizer": "adamw", "recipe.schedule": "constant"}[key]
    given = {"task": _saved(tmp_path / "d", (7,)), "grammar": "mlp", key: value}
    assert engine.chosen(None, given).config == configuration.load(None, given)


def test_another_optimizer_has_its_own_learning_rate(tmp_path: Path) -> None:
    config = engine.chosen(None, {"task": _saved(tmp_path / "d", (7,)), "recipe.optimizer": "sgd"}).config
    assert config.recipe.lr == configuration.load(None).recipe.lr


def test_a_function_has_the_defaults() -> None:
    function = {"task": "tests.bench.problems:norms"}
    assert engine.chosen(None, function).config == configuration.load(None, function)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_grammar_for_other_data_is_refused_with_one_that_fits(tmp_path: Path, shape: tuple[int, ...]) -> None:
    task = _saved(tmp_path / "d", shape)
    fitting = engine.chosen(None, {"task": task}).config.grammar
    wrong = "tables" if len(shape) > 1 else "einspace"
    with pytest.raises(ShapeError, match=f"--grammar {fitting}"):
        engine.prepare(configuration.load(None, {"task": task, "grammar": wrong}))


def test_a_dry_run_prints_a_configuration_that_can_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--task", _saved(tmp_path / "d", (7,)), "--dry-run"]) == 0
    printed = tmp_path / "printed.toml"
    printed.write_text(capsys.readouterr().out)
    assert engine.chosen(printed).config.grammar == "tables"
