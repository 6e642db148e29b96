"""Validation schemes and standard errors, against scikit-learn and against formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold
from torch import nn

from evosearch.errors import ConfigError
from evosearch.evaluation.crossing import folds_of, judged, judged_rows
from evosearch.evaluation.fit import train
from evosearch.evaluation.measures.piece import Piece
from evosearch.evaluation.measures.robustness import Robustness
from evosearch.evaluation.recipe import Recipe, check
from evosearch.tasks import Split, Task, make_task
from evosearch.tasks import metrics as measured
from evosearch.tasks.assemble import Part, assemble
from evosearch.tasks.base import Reading, TaskSettings
from evosearch.tasks.folds import fold_rows
from evosearch.tasks.noise import error_of_folds, standard_error

QUICK = Recipe(epochs=3, batch=8, optimizer="adamw", lr=0.02)


def blobs(kind: str = "classification", rows: int = 90) -> Task:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 4)).astype(np.float32)
    x[:, 0] = np.sort(x[:, 0])  # files are often sorted
    y = (np.arange(rows) >= rows // 3).astype(np.int64) if kind == "classification" else (3 + 5 * x[:, :1])
    part = rows // 6
    cut = [slice(0, rows - 2 * part), slice(rows - 2 * part, rows - part), slice(rows - part, rows)]
    splits = [Split(x[rows_of], y[rows_of]) for rows_of in cut]
    return make_task("blobs", *splits, kind=kind)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


# --- folds ----------------------------------------------------------------------------------------------------------


def test_folds_are_as_balanced_as_scikit_learns() -> None:
    """Each row is in one fold; of each class a fold has as many as StratifiedKFold gives it, within one."""
    task = blobs()
    y = np.concatenate([task.train.y, task.validation.y])
    rows = fold_rows(task, 5)
    assert sorted(np.concatenate(rows)) == list(range(len(y)))
    theirs = [test for _, test in StratifiedKFold(5, shuffle=True, random_state=0).split(y, y)]
    ours_counts = sorted(tuple(np.bincount(y[chosen], minlength=2)) for chosen in rows)
    their_counts = sorted(tuple(np.bincount(y[chosen], minlength=2)) for chosen in theirs)
    assert np.abs(np.array(ours_counts) - np.array(their_counts)).max() <= 1


def test_folds_are_the_same_for_every_candidate_and_others_in_a_repeat() -> None:
    task = blobs()
    assert folds_of(task, 3) is folds_of(task, 3)
    assert any(
        (a != b).any() for a, b in zip(fold_rows(task, 3), fold_rows(task, 3, 1), strict=True) if len(a) == len(b)
    )


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_score_over_folds_is_what_the_folds_say_one_by_one(kind: str) -> None:
    """Each fold by `train` alone; the outputs put together are of networks that did not see their rows."""
    task = blobs(kind)
    build = perceptron if kind == "classification" else lambda: nn.Linear(4, 1)
    found = judged(build, task, replace(QUICK, folds=3), seed=7)
    alone = [train(build, part, QUICK, seed=7 + number) for number, part in enumerate(folds_of(task, 3))]
    values = [one.metric for one in alone]
    assert found.metric == pytest.approx(np.mean(values))
    assert found.score.metrics[f"{task.metric}_se"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(3))
    assert found.score.seed == 7
    assert found.outputs is not None
    for number, (rows, part) in enumerate(zip(fold_rows(task, 3), folds_of(task, 3), strict=True)):
        mine = task.kind.denormalise(task, found.outputs[rows])
        theirs = part.kind.denormalise(part, alone[number].outputs)  # type: ignore[arg-type]
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("first", [1, 2])
def test_of_the_first_folds_outputs_are_for_their_rows_alone(first: int) -> None:
    """As the whole has them there; a repeat has another seed and the same rows, or its outputs would not compare."""
    task, recipe = blobs(), replace(QUICK, folds=4)
    rows = judged_rows(task, 4, first)
    assert sorted(rows) == list(rows) == sorted(np.concatenate(fold_rows(task, 4)[:first]))
    whole, part = judged(perceptron, task, recipe, seed=7), judged(perceptron, task, recipe, seed=7, first=first)
    assert whole.outputs is not None
    assert part.outputs is not None
    np.testing.assert_array_equal(part.outputs, whole.outputs[rows])
    again = judged(perceptron, task, recipe, seed=8, first=first, repeat=1)
    assert again.fold is part.fold
    assert math.isfinite(part.score.metrics[f"{task.metric}_se"])
    y = np.concatenate([task.train.y, task.validation.y])[rows]
    if first == 1:
        assert part.metric == pytest.approx(task.judge(y, part.outputs))


def test_folds_have_no_more_of_the_validation_rows_than_chance_gives_them() -> None:
    """Rows that were drawn by the same seed as the split itself; 400 rows a fold, 80 of them validation rows."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2400, 2)).astype(np.float32), rng.integers(0, 2, 2400)
    task = assemble("made", {"train": Part(x, y, "x", "y")}, Reading(TaskSettings(validation=1 / 6, test=1 / 6)))
    known = len(task.train)  # validation rows come behind
    shared = [(chosen >= known).mean() for chosen in fold_rows(task, 5)]
    assert task.drawn
    assert all(abs(share - 0.2) < 0.06 for share in shared)  # three standard errors


def test_a_figure_that_not_every_fold_has_is_left_out() -> None:
    """Of a fold of one row the metric has no standard error; the folds' own error takes its place."""
    task = blobs("regression", rows=9)
    sizes = [len(rows) for rows in fold_rows(task, 5)]
    assert min(sizes) == 1 < max(sizes)
    found = judged(lambda: nn.Linear(4, 1), task, replace(QUICK, epochs=1, folds=5))
    assert found.score.status == "ok"
    assert math.isfinite(found.score.metrics[f"{task.metric}_se"])


def test_what_is_measured_of_the_network_of_a_fold_is_measured_on_that_fold() -> None:
    """The network that is kept was trained on most validation rows of the task: those would flatter it."""
    task = blobs()
    found = judged(perceptron, task, replace(QUICK, folds=3))
    last = folds_of(task, 3)[-1]
    assert found.fold is last
    for measure in (Robustness(), Piece()):
        assert measure.value(found, task) == measure.value(found._replace(fold=None), last)
        assert measure.value(found, task) != measure.value(found._replace(fold=None), task)


def test_one_fold_is_the_held_out_part_bit_for_bit() -> None:
    task = blobs()
    one, other = judged(perceptron, task, QUICK, seed=3), train(perceptron, task, QUICK, seed=3)
    assert one.metric == other.metric
    assert one.score.curve == other.score.curve
    assert QUICK.digest() == replace(QUICK, folds=1).digest() != replace(QUICK, folds=3).digest()


def test_a_fold_that_fails_fails_the_candidate() -> None:
    class Bad(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.layer(x) * math.nan
            return out

    assert judged(Bad, blobs(), replace(QUICK, folds=3)).score.status == "nan"


def test_more_folds_than_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="75 rows"):
        check(blobs(), Recipe(folds=76))


# --- standard errors ------------------------------------------------------------------------------------------------


def test_the_error_of_a_mean_is_the_formulas() -> None:
    """Over many data sets the mean of the squared errors is the variance of the accuracy, p (1 - p) / n."""
    rng = np.random.default_rng(1)
    squares = []
    for _ in range(200):
        y, out = rng.integers(0, 2, 200), np.zeros((200, 2))
        out[np.arange(200), np.where(rng.random(200) < 0.8, y, 1 - y)] = 1.0
        squares.append(standard_error(measured.accuracy, y, out) ** 2)
    assert np.mean(squares) == pytest.approx(0.8 * 0.2 / 200, rel=0.1)


def test_the_error_of_a_ratio_is_the_spread_over_data_sets() -> None:
    """r2 is no mean over examples; its spread over many test sets is what the errors say, roughly."""
    rng = np.random.default_rng(2)
    values, errors = [], []
    for _ in range(300):
        y = rng.standard_normal((150, 1))
        out = y + 0.7 * rng.standard_normal((150, 1))
        values.append(measured.r2(y, out))
        errors.append(standard_error(measured.r2, y, out))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)


def test_too_few_examples_have_no_error() -> None:
    assert math.isnan(standard_error(measured.accuracy, np.array([1]), np.array([[0.0, 1.0]])))
    assert math.isnan(error_of_folds([0.5]))
    assert error_of_folds([0.0, 1.0]) == pytest.approx(0.5)
