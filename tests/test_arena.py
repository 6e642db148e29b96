"""The arena measures nothing twice, and its page says what its rows say. Its arms are `make arena`'s to run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evosearch.tasks import Task, TaskSettings, load
from tests.bench.arena import arms, rows, sets, table
from tests.bench.resumable import read


def row(name: str, seed: int, arm: str, value: float) -> dict[str, Any]:
    return {
        "set": name,
        "seed": seed,
        "arm": arm,
        "time": "3m" if arm in arms.SEARCHES else "",
        "metric": "accuracy",
        "value": value,
        "seconds": 1.0,
        "cpu_seconds": 1.0,
        "rows": [300, 50],
        "date": "2026-01-01",
        "machine": {"processor": "a processor", "cores": 2, "load": 0.5},
        "versions": {"python": "3.11"},
    }


def test_a_row_that_is_there_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An arm that fails leaves no row, so that the next call tries it again."""
    calls: list[rows.Key] = []

    def measured(key: rows.Key, measure: rows.Measure, load: rows.Load) -> dict[str, Any]:
        calls.append(key)
        if key.arm == "linear" and len(calls) == 1:
            raise arms.ArmError("no")
        return row(key.set, key.seed, key.arm, 0.5)

    monkeypatch.setattr(rows, "measured", measured)
    file = tmp_path / "rows.jsonl"
    keys = rows.wanted(["wine"], [0], ["linear", "evosearch"], "3m")
    assert rows.append_missing(keys, file) == ["wine, seed 0, linear: no"]
    assert rows.append_missing(keys, file) == []
    assert rows.append_missing(keys, file) == []
    assert [key.arm for key in calls] == ["linear", "evosearch", "linear"]
    assert {rows.Key.of(found) for found in read(file)} == set(keys)


def test_data_that_is_not_there_is_named_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sets, "DATA", tmp_path / "nowhere")
    file = tmp_path / "rows.jsonl"
    assert rows.append_missing(rows.wanted(["adult"], [0, 1], ["linear"], "3m"), file) == []
    assert not file.exists()
    assert "adult: skipped" in capsys.readouterr().out


def test_fewer_images_are_drawn_by_class_and_judged_on_the_same(tmp_path: Path) -> None:
    whole = sets.load("digits", 0, tmp_path)
    part = sets.fewer(whole, 200, 0, tmp_path)
    assert sets.fewer(whole, len(whole.x_train), 0, tmp_path) is whole
    assert set(np.bincount(part.y_train)) <= {19, 20, 21}
    task = load(str(part.file))
    assert isinstance(task, Task)
    assert len(task.train) + len(task.validation) == len(part.x_train) == 200
    assert np.array_equal(task.test_split().x, whole.x_test)


@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer", "diabetes"])
def test_evosearch_reads_from_a_file_the_rows_that_the_other_arms_get(name: str, tmp_path: Path) -> None:
    """As many rows to fit on, and the same test rows in the same order, however the classes are numbered; another seed
    draws others.
    """
    data = sets.load(name, 0, tmp_path / "a")
    task = load(str(data.file), TaskSettings(kind="classification" if data.classes else "regression"))
    assert isinstance(task, Task)
    test = task.test_split()
    assert len(task.train) + len(task.validation) == len(data.x_train)
    if data.classes:
        assert task.outputs == data.classes
        assert len({*zip(test.y.tolist(), data.y_test.tolist(), strict=True)}) == data.classes
    assert not np.array_equal(sets.load(name, 1, tmp_path / "b").y_test, data.y_test)


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        ("linear", "wine"),
        ("gradient boosting", "wine"),
        ("1-nearest neighbour", "wine"),
        ("linear", "diabetes"),
        ("gradient boosting", "diabetes"),
    ],
)
def test_a_model_beats_a_guess(arm: str, name: str, tmp_path: Path) -> None:
    """Of three classes, and of a target whose mean has r2 0."""
    data = sets.load(name, 0, tmp_path)
    assert arms.measure(arm, data, 0, "", tmp_path).value > (0.6 if data.classes else 0.0)


@pytest.mark.slow
def test_the_networks_by_hand_learn(tmp_path: Path) -> None:
    """On a table; the other modes take a minute."""
    assert arms.measure("by hand", sets.load("wine", 7, tmp_path), 0, "", tmp_path).value > 0.9


def test_ranks_share_ties_and_leave_out_what_is_not_measured() -> None:
    found = table._figures(
        [
            *(row("wine", seed, arm, value) for seed in (0, 1) for arm, value in (("a", 0.9), ("b", 0.9), ("c", 0.5))),
            row("digits", 0, "a", 0.1),
            row("digits", 0, "b", 0.2),
            row("digits", 0, "c", 0.3),
            row("adult", 0, "a", 0.1),
        ]
    )
    assert table.ranks(found, ["wine", "digits", "adult"], ["a", "b", "c"]) == {
        "a": [1.5, 3.0],
        "b": [1.5, 2.0],
        "c": [3.0, 1.0],
    }


def test_the_interval_is_students() -> None:
    values = [0.1, 0.4, 0.2]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert math.isclose(2 * table.half_width(values), high - low)


def test_the_page_says_which_search_was_better() -> None:
    found = [
        row("wine", seed, arm, value + seed / 1000)
        for seed in range(3)
        for arm, value in (("evosearch", 0.95), ("random search", 0.9), ("linear", 0.8))
    ]
    page = table.page(found)
    assert "| wine | evosearch, 3m | +0.0500 (+0.0500 to +0.0500) | evolution earned it |" in page
    assert "Not measured: digits" in page
    worse = table.page([{**one, "value": 1 - one["value"]} for one in found])
    assert "worse than random search" in worse
    one_row = table.page([{**one, "value": 0.9 + (one["arm"] == "evosearch") / 50} for one in found])
    assert "| wine | evosearch, 3m | +0.0200 (+0.0200 to +0.0200) | no difference beyond noise |" in one_row


def test_the_page_is_the_one_of_the_rows() -> None:
    """docs/arena.md is made of the rows and of nothing else."""
    assert table.PAGE.read_text(encoding="utf-8") == table.page(read(rows.FILE))
