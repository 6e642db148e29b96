"""`evolve ablate`: a search without each of its parts, over several seeds, gone on with wherever it was ended."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evosearch import ablation, config, engine
from evosearch.ablation import RANDOM, WHOLE, Row, effects, permuted
from evosearch.cli import DONE, main
from tests.chaos.sessions import words

Capture = pytest.CaptureFixture[str]
SEEDS = 2


def arguments(table: Path, folder: Path) -> list[str]:
    said = (
        f"ablate --grammar {table / 'words.lark'} --task table:{table / 'words.csv'} --budget 60 --seeds {SEEDS} --json"
    )
    return [*said.split(), "--set", "search.screen=3", "--set", "search.surrogate=ridge", "--output", str(folder)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return words(tmp_path / "words", letters=4)


def test_the_arms_are_the_parts_that_a_search_has() -> None:
    usual = config.load(None, {"search.screen": 20, "search.learn": 50, "strategy": {}})
    found = ablation.arms(usual)
    assert list(found) == [WHOLE, "no learner", "no screening", "no crossover", RANDOM]
    assert found[WHOLE] == usual
    changed = {name: config.flat(one.model_dump()) for name, one in found.items()}
    differing = {
        name: {key for key, value in keys.items() if value != changed[WHOLE][key]} for name, keys in changed.items()
    }
    assert differing["no learner"] == {"search.policy", "search.learn"}
    assert differing["no screening"] == {"search.screen"}
    assert differing["no crossover"] == {"search.crossover"}
    assert differing[RANDOM] == {"search.strategy", "search.screen", "search.learn"}
    more = usual.model_copy(update={"learn_from": ("another",), "search": replace(usual.search, proxies=("naswot",))})
    for name, one in ablation.arms(more).items():
        screens = one.search.screen > 1
        assert (bool(one.learn_from), bool(one.search.proxies)) == (screens, screens), name
    plain = config.load(None, {"search.policy": "uniform", "search.crossover": 0, "search.strategy": "random"})
    assert list(ablation.arms(plain)) == [WHOLE]


def test_each_arm_with_each_seed_is_a_row_and_nothing_is_done_twice(
    table: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended in the middle of a run, it goes on there; ended at its end, it says the same again."""
    begun, original = [0], engine.start

    def start(*given: object, **named: object) -> object:
        begun[0] += 1
        if begun[0] == 3:
            raise KeyboardInterrupt
        return original(*given, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(engine, "start", start)
        assert main(arguments(table, tmp_path / "there")) != DONE
    assert main(arguments(table, tmp_path / "there")) == DONE
    found = json.loads(capsys.readouterr().out)
    assert [one["arm"] for one in found] == [WHOLE, "no learner", "no screening", "no crossover", RANDOM]
    with (tmp_path / "there" / "ablation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["arm"], row["seed"]) for row in rows} == {(one["arm"], str(n)) for one in found for n in range(SEEDS)}
    assert all(row["evaluations"] == "60" for row in rows)
    assert [one["runs"] for one in found] == [SEEDS] * 5

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a run that is there is begun again")

    monkeypatch.setattr(engine, "start", refuse)
    monkeypatch.setattr(engine, "resume", refuse)
    assert main(arguments(table, tmp_path / "there")) == DONE
    assert json.loads(capsys.readouterr().out) == found


def test_epochs_are_said_as_to_a_run(table: Path, tmp_path: Path) -> None:
    assert main([*arguments(table, tmp_path / "there"), "--budget", "3", "--seeds", "1", "--epochs", "2"]) == DONE
    runs = sorted((tmp_path / "there").glob("*/config.toml"))
    assert [config.load(path).recipe.epochs for path in runs] == [2] * 5


@pytest.mark.parametrize("sign", [1, -1])
def test_effects_are_of_pairs_and_p_is_that_of_all_flips(sign: int) -> None:
    rng = np.random.default_rng(0)
    whole, less = sign * rng.normal(1.0, 0.1, 6), sign * rng.normal(0.9, 0.1, 6)
    rows = [Row(WHOLE, seed, 9, value, None, 1.0) for seed, value in enumerate(whole)]
    rows += [Row("less", seed, 9, value, None, 1.0) for seed, value in enumerate(less)]
    _, found = effects(rows, sign)
    pairs = sign * (whole - less)
    assert found.difference == pytest.approx(pairs.mean())
    assert found.error == pytest.approx(pairs.std(ddof=1) / np.sqrt(6))
    flips = [np.mean(pairs * signs) for signs in itertools.product((1, -1), repeat=6)]
    upper = np.mean([flip >= pairs.mean() - 1e-12 for flip in flips])
    lower = np.mean([flip <= pairs.mean() + 1e-12 for flip in flips])
    assert found.p == pytest.approx(min(1, 2 * min(upper, lower)))
    assert found.p_corrected == found.p
    assert found.least_p == 2**-5
    assert permuted([0.1]) is permuted([0.0, 0.0]) is None
