"""A run's configuration: what is said where, what wins, what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evosearch import config
from evosearch.errors import ConfigError


def test_printed_and_read_again_it_is_the_same() -> None:
    """The defaults survive being written as TOML, limits that are none included."""
    resolved = config.load(None, {"limits.max_modules": "none", "limits.max_params": 10})
    assert resolved.limits.max_modules is None
    assert config.loads(config.dumps(resolved)) == resolved


@given(
    budget=st.integers(1, 10**6),
    seed=st.integers(0, 2**31),
    lr=st.floats(1e-9, 10, allow_nan=False),
    name=st.text(max_size=20).filter(lambda text: "\x00" not in text and text.isprintable()),
    max_params=st.none() | st.integers(0, 10**12),
    augment=st.lists(st.sampled_from(["crop", "flip", "cutout"]), unique=True),
)
def test_any_settings_survive_being_written(
    budget: int, seed: int, lr: float, name: str, max_params: int | None, augment: list[str]
) -> None:
    """Every kind of value that settings have reads back equal."""
    values = {"search": {"budget": budget}, "seed": seed, "name": name, "recipe": {"lr": lr, "augment": augment}}
    resolved = config.validate({**values, "limits": {"max_params": max_params}}, "test")
    again = config.loads(config.dumps(resolved))
    assert again == resolved
    assert (again.search.budget, again.seed, again.recipe.lr, again.limits.max_params) == (budget, seed, lr, max_params)


def test_every_key_is_printed() -> None:
    """The resolved TOML hides no setting: each table has all of its keys."""
    text = config.dumps(config.load(None))
    for table, keys in config.tables().items():
        body = text.split(f"[{table}]")[1].split("\n[")[0]
        assert set(re.findall(r"^(\w+) =", body, re.MULTILINE)) == set(keys)


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    """Flags over the file, the file over the defaults."""
    path = tmp_path / "run.toml"
    path.write_text('[search]\nbudget = 7\nstrategy = "random"\n')
    resolved = config.load(path, {"search.budget": 9})
    assert (resolved.search.budget, resolved.search.strategy) == (9, "random")
    assert resolved.search.population == config.load(None).search.population


def test_one_seed_decides_for_all() -> None:
    """The seed at the top reaches search and training; it cannot be said twice."""
    resolved = config.load(None, {"seed": 5})
    assert (resolved.search.seed, resolved.recipe.seed, resolved.final.seed) == (5, 5, 5)
    with pytest.raises(ConfigError, match=r"search\.seed: say seed at the top"):
        config.load(None, {"search.seed": 5})


def test_the_final_training_follows_the_recipe() -> None:
    """[final] states only how it differs: the rest, and four times the epochs, come from [recipe]."""
    resolved = config.load(None, {"recipe.lr": 0.5, "recipe.epochs": 3})
    assert (resolved.final.lr, resolved.final.epochs) == (0.5, 12)
    resolved = config.load(None, {"recipe.lr": 0.5, "final.epochs": 5})
    assert (resolved.final.lr, resolved.final.epochs) == (0.5, 5)


def test_files_are_found_beside_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in a config is relative to the config, so that it can be used from any folder; names stay names."""
    (tmp_path / "mine.lark").write_text("start: A\n")
    (tmp_path / "layers").mkdir()
    (tmp_path / "run.toml").write_text('grammar = "mine.lark"\nlayers = ["layers/"]\ntask = "digits"\n')
    resolved = config.load(tmp_path / "run.toml")
    assert resolved.grammar == str((tmp_path / "mine.lark").resolve())
    assert resolved.layers == (str((tmp_path / "layers").resolve()),)
    assert resolved.task == "digits"
    monkeypatch.chdir(tmp_path)
    assert config.load(None, {"grammar": "mine.lark"}).grammar == resolved.grammar


def test_a_folder_of_data_needs_no_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task, layers or operators beside the config are found by a bare name; what is built in comes first."""
    for name in ("imgs", "digits", "mine"):
        (tmp_path / name).mkdir()
    (tmp_path / "run.toml").write_text('task = "imgs"\noperators = ["mine"]\n')
    resolved = config.load(tmp_path / "run.toml")
    assert resolved.task == str((tmp_path / "imgs").resolve())
    assert resolved.operators == (str((tmp_path / "mine").resolve()),)
    monkeypatch.chdir(tmp_path)
    assert config.load(None, {"task": "imgs"}).task == resolved.task
    assert config.load(None, {"task": "digits"}).task == "digits"
    assert config.load(None, {"task": "torchvision:imgs"}).task == "torchvision:imgs"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"search.bugdet": 3}, r"unknown key search\.bugdet; did you mean search\.budget\?"),
    ({"serach.budget": 3}, r"unknown key serach; did you mean search\?"),
    ({"budget": 3}, r"unknown key budget; did you mean search\.budget\?"),
    ({"qqq": 3}, r"unknown key qqq; there are: data, ensemble, evaluator, final, grammar"),
    ({"search.budget": "many"}, r"search\.budget: input should be a valid integer.*'many'"),
    ({"search.budget": 0}, r"search\.budget: input should be greater than or equal to 1, not 0"),
    ({"recipe.optimizer": "adam"}, r"recipe\.optimizer: input should be .*, not 'adam'; did you mean 'adamw'\?$"),
    ({"recipe.optimizer": "SGD"}, r"not 'SGD'; did you mean 'sgd'\?$"),
    ({"recipe.learning_rate": 0.1}, r"unknown key recipe\.learning_rate; did you mean recipe\.lr\?"),
    ({"search.n_trials": 5}, r"unknown key search\.n_trials; did you mean search\.budget\?"),
    ({"search.order": "rnd"}, r"search\.order: input should be 'proposal' or 'arrival', not 'rnd'"),
    ({"search": 3}, r"search is a table"),
    ({"name.x": 3}, r"name is a single value, not a table"),
    ({"recipe.epochs": "x"}, r"recipe\.epochs: .*'x'"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=[next(iter(settings)) for settings, _ in REFUSED])
def test_what_is_wrong_is_said_in_one_line(settings: dict[str, Any], message: str) -> None:
    """A wrong key or value is one line that names it and what would be right."""
    with pytest.raises(ConfigError, match=message) as caught:
        config.load(None, settings)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    """The path stands at the front of every message about a file."""
    path = tmp_path / "run.toml"
    with pytest.raises(ConfigError, match=r"run\.toml: no such config file"):
        config.load(path)
    path.write_text("search == 1")
    with pytest.raises(ConfigError, match=r"run\.toml: not TOML: .*line 1"):
        config.load(path)
    path.write_text("[search]\nbugdet = 3\n")
    with pytest.raises(ConfigError, match=r"run\.toml: unknown key search\.bugdet"):
        config.load(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search.budget=80", ("search.budget", 80)),
        ("search.strategy=random", ("search.strategy", "random")),
        ('recipe.augment=["flip"]', ("recipe.augment", ["flip"])),
        ("recipe.lr = 1e-3", ("recipe.lr", 1e-3)),
        ("recipe.nesterov=true", ("recipe.nesterov", True)),
        ("name=", ("name", "")),
    ],
)
def test_settings_on_the_command_line_are_read_as_toml(text: str, expected: tuple[str, object]) -> None:
    """`--set key=value` reads numbers, lists and booleans as TOML does, and takes other text as it is."""
    assert config.parse_setting(text) == expected


def test_a_setting_without_a_value_is_refused() -> None:
    """`--set search.budget` is a slip, not a key to be emptied."""
    with pytest.raises(ConfigError, match="say KEY=VALUE"):
        config.parse_setting("search.budget")
