"""A run says where a setting does nothing, since it waits for more results than there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evosearch import config as configuration
from evosearch import engine
from tests.chaos.sessions import config, words
from tests.test_engine import Watching
from tests.test_engine import config as trained


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return words(tmp_path_factory.mktemp("waiting"), letters=4)


def said(settings: configuration.Config, folder: Path, **more: Any) -> list[str]:
    """What a run says of what waits; of one that is there, when it is resumed with more."""
    watch = Watching()
    if folder.exists():
        engine.resume(folder, watch, **more)
    else:
        engine.start(settings, folder, watch)
    return [line for line in watch.notes if "waits for" in line]


@pytest.mark.parametrize(
    ("setting", "needs", "what"),
    [({"screen": 2, "surrogate": "ridge"}, 32, "scores"), ({"learn": 20}, 20, "results")],
)
def test_a_budget_that_is_too_small_is_said_once(
    setting: dict[str, Any], needs: int, what: str, table: Path, tmp_path: Path
) -> None:
    """At the start; with one candidate more there is nothing to say, resumed or not."""
    name = next(f"search.{key}={value}" for key, value in setting.items())
    for order, window in (("proposal", 8), ("arrival", 0)):
        folder, short = tmp_path / order, needs + window
        line = f"{name} will do nothing: it waits for {needs} {what}"
        line += f", and search.lookahead={window} more" if window else ""
        line += f"; there are {short} candidates"
        assert said(config(table, short, 0, order=order, **setting), folder) == [line]
        assert said(config(table, short, 0), folder, budget=short + 1) == []
        assert said(config(table, short + 1, 0, order=order, **setting), tmp_path / f"{order}-more") == []


def test_a_stop_rule_that_waits_is_said(tmp_path: Path) -> None:
    line = "recipe.stop=median will do nothing: it waits for 5 trainings, and search.lookahead=2 more; there are "
    assert said(trained(recipe__stop="median"), tmp_path / "median") == [f"{line}6 candidates"]


def test_what_a_budget_does_not_tell_is_said_at_the_end(tmp_path: Path) -> None:
    """Of a space of five words there are no 32 scores, whatever the budget is; and a table trains nothing."""
    table = words(tmp_path / "few", letters=1)
    settings = config(table, 100, 0, screen=2, learn=5, surrogate="ridge", draws=500, lookahead=1)
    settings = settings.model_copy(update={"recipe": replace(settings.recipe, stop="curve")})
    expected = [
        "search.screen=2 did nothing: it waits for 32 scores, and the last candidate was made from 3",
        "search.learn=5 did nothing: it waits for 5 results, and the last candidate was made from 3",
        "recipe.stop=curve did nothing: it waits for 20 trainings, and the last candidate was made from 0",
    ]
    assert said(settings, tmp_path / "run") == expected


def test_what_another_run_told_is_not_waited_for(table: Path, tmp_path: Path) -> None:
    engine.start(config(table, 40, 0), tmp_path / "first", Watching())
    settings = config(table, 6, 1, screen=2, surrogate="ridge")
    assert said(settings.model_copy(update={"learn_from": (str(tmp_path / "first"),)}), tmp_path / "second") == []
