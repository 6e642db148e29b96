"""Calibration: against torchmetrics and scikit-learn, and on made-up rows whose calibration is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.neighbors import NearestNeighbors
from torchmetrics.classification import MulticlassCalibrationError

from evosearch.evaluation import calibration
from evosearch.evaluation.fit import train
from evosearch.evaluation.hardware import HardwareSettings
from evosearch.evaluation.measures import asked
from evosearch.evaluation.measures.judged import answered
from evosearch.tasks.metrics import log_likelihood
from evosearch.tasks.source import answer_source
from tests.test_training import QUICK, blobs, perceptron

Rows = tuple[np.ndarray, np.ndarray]


def rows(seed: int, count: int = 500, classes: int = 4, sharpness: float = 2.0) -> Rows:
    """(probabilities, right classes) that have little to do with one another."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes)) * sharpness
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True), rng.integers(classes, size=count)


def made_up(count: int, off: float = 0.0, seed: int = 0) -> Rows:
    """(confidences, hits) of predictions that are right as often as they say, less `off`."""
    rng = np.random.default_rng(seed)
    confidences = rng.uniform(0.5, 1.0, size=count)
    return confidences, rng.random(count) < confidences - off


@pytest.mark.parametrize("seed", range(5))
def test_ece_is_torchmetrics(seed: int) -> None:
    probabilities, y = rows(seed)
    ours = calibration.ece(calibration.confidence(probabilities), calibration.right(probabilities, y))
    theirs = MulticlassCalibrationError(num_classes=4, n_bins=15, norm="l1")
    assert ours == pytest.approx(float(theirs(torch.from_numpy(probabilities), torch.from_numpy(y))), abs=1e-6)


@pytest.mark.parametrize("measure", [calibration.ece, calibration.adaptive_ece])
def test_errors_of_known_calibration(measure: object) -> None:
    """Right as often as said: nothing but chance is left, about 15 sqrt(p (1 - p) / (15 N)) / 15. Right a tenth less
    often: a tenth."""
    assert callable(measure)
    assert measure(*made_up(40_000)) < 0.012
    assert measure(*made_up(40_000, off=0.1)) == pytest.approx(0.1, abs=0.012)


@pytest.mark.parametrize("seed", range(40))
def test_piece_is_never_below_ece(seed: int) -> None:
    """Whatever the proximities are, equal ones among them."""
    rng = np.random.default_rng(seed)
    probabilities, y = rows(seed, count=int(rng.integers(2, 400)))
    confidences, hits = calibration.confidence(probabilities), calibration.right(probabilities, y)
    near = np.round(rng.random(len(y)), 1)
    piece = calibration.piece(confidences, hits, near)
    assert piece >= calibration.ece(confidences, hits) - 1e-12
    assert calibration.piece(confidences, hits, np.ones(len(y))) == pytest.approx(calibration.ece(confidences, hits))


def test_piece_sees_what_cancels_out() -> None:
    """Too sure where examples are far, too unsure where they are near: the whole looks calibrated, its parts do not."""
    near = np.repeat([0.1, 0.9], 20_000)
    rng = np.random.default_rng(0)
    confidences = np.full(40_000, 0.75)
    hits = rng.random(40_000) < np.where(near > 0.5, 0.9, 0.6)
    assert calibration.ece(confidences, hits) < 0.01
    assert calibration.piece(confidences, hits, near) == pytest.approx(0.15, abs=0.01)


def test_proximity_is_that_of_the_nearest_neighbours() -> None:
    """exp(-mean squared distance) of scikit-learn's ten nearest, of rows of length 1."""
    rng = np.random.default_rng(0)
    mine, known = rng.normal(size=(50, 6)), rng.normal(size=(200, 6))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (mine, known)]
    distances, _ = NearestNeighbors(n_neighbors=10).fit(unit[1]).kneighbors(unit[0])
    np.testing.assert_allclose(calibration.proximity(mine, known), np.exp(-np.square(distances).mean(1)), atol=1e-9)


def test_brier_and_log_loss() -> None:
    """The log loss is scikit-learn's; the Brier score of certainty is 0 or 2, of an even guess among four 0.75."""
    probabilities, y = rows(1)
    assert calibration.log_loss(probabilities, y) == pytest.approx(log_loss(y, probabilities, labels=range(4)))
    assert calibration.brier(np.eye(4)[y], y) == 0
    assert calibration.brier(np.eye(4)[(y + 1) % 4], y) == 2
    assert calibration.brier(np.full((10, 4), 0.25), y[:10]) == pytest.approx(0.75)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_is_what_logits_were_multiplied_by(factor: float) -> None:
    """Of classes that are drawn by the softmax of other logits; no prediction changes, and the log loss falls."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 1.5
    e = np.exp(logits)
    y = (e.cumsum(1) / e.sum(1, keepdims=True) > rng.random((20_000, 1))).argmax(1)
    found = calibration.temperature(logits * factor, y)
    assert found == pytest.approx(factor, rel=0.05)

    def softmax(logits: np.ndarray) -> np.ndarray:
        return np.asarray(torch.from_numpy(logits).softmax(1))

    figures = calibration.scaled(logits * factor, y, softmax)
    assert figures["temperature"] == found
    assert figures["ece_at_temperature"] < 0.012
    assert factor == 1.0 or figures["ece"] > 0.05


def test_probabilities_are_by_the_temperature_and_labels_are_not() -> None:
    """As model.py gives them: on other rows than it was fitted on the log loss falls by what is lost to being too sure,
    to that of the probabilities that classes were drawn by.
    """
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 3)) * 1.5
    e = np.exp(logits)
    y = (e.cumsum(1) / e.sum(1, keepdims=True) > rng.random((20_000, 1))).argmax(1)
    fitted, held = np.split(np.arange(20_000), 2)
    sure = torch.from_numpy(3 * logits[held])
    task = blobs()
    task = replace(task, outputs=3, labels=("a", "b", "c"), values=("a", "b", "c"))

    def answers(temperature: float) -> tuple[list[str], np.ndarray]:
        names: dict[str, Any] = {"torch": torch}
        exec(answer_source(task, temperature), names)
        x = np.zeros((len(held), *task.input_shape))
        return names["predict"](lambda _: sure, x), names["predict_proba"](lambda _: sure, x).numpy()

    plain, tempered = answers(1.0), answers(calibration.temperature(3 * logits[fitted], y[fitted]))
    assert plain[0] == tempered[0]
    best = log_loss(y[held], e[held] / e[held].sum(1, keepdims=True))
    assert log_loss(y[held], plain[1]) > best + 0.3
    assert log_loss(y[held], tempered[1]) == pytest.approx(best, abs=0.001)


def test_few_answers_that_are_all_right_do_not_make_it_sure_of_everything() -> None:
    """Eight right answers of two classes: as if one of ten were wrong, by Platt's rule; the sign of it is kept."""
    logits = np.tile([2.0, 0.0], (8, 1))
    found = calibration.temperature(logits, np.zeros(8, int))
    assert 1 / (1 + np.exp(-2 / found)) == pytest.approx(9 / 10, abs=1e-3)


def test_measures_of_a_trained_network_are_those_of_its_answers() -> None:
    trained = train(perceptron(), blobs(), QUICK, seed=1)
    names = ("ece", "adaptive_ece", "brier", "log_loss", "piece", "robustness")
    found = {one.name: one.value(trained, blobs()) for one in asked(names, {}, HardwareSettings())}
    answers = answered(trained, blobs())
    assert answers is not None
    probabilities, y = answers
    assert calibration.right(probabilities, y).mean() == pytest.approx(trained.metric)
    assert found["log_loss"] == pytest.approx(trained.score.metrics["loss"], abs=1e-5)
    assert found["ece"] == calibration.ece(calibration.confidence(probabilities), calibration.right(probabilities, y))
    assert found["piece"] is not None
    assert found["ece"] is not None
    assert found["piece"] >= found["ece"] - 1e-6
    assert found["robustness"] is not None
    assert 0.5 < found["robustness"] < trained.metric


def test_a_task_without_classes_has_no_calibration() -> None:
    trained = train(perceptron(), blobs("regression"), QUICK, seed=1)
    assert [one.value(trained, blobs("regression")) for one in asked(("ece", "piece"), {}, HardwareSettings())] == [
        None,
        None,
    ]


def test_the_likelihood_of_the_truth_is_the_log_loss_at_the_best_temperature() -> None:
    """As scikit-learn has the log loss; and the same whatever logits are multiplied by, which changes no prediction."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 500)
    logits = 2 * np.eye(4)[y] + rng.standard_normal((500, 4))
    found = log_likelihood(y, logits)
    cooled = logits / calibration.temperature(logits, y)
    shares = np.exp(cooled) / np.exp(cooled).sum(1, keepdims=True)
    assert found.shape == (500,)
    assert found.mean() == pytest.approx(-log_loss(y, shares))
    for times in (0.2, 1.3, 5.0):
        np.testing.assert_allclose(log_likelihood(y, times * logits), found, atol=1e-4)
        other = np.exp(times * cooled)
        assert -log_loss(y, other / other.sum(1, keepdims=True)) < found.mean() + 1e-3
    assert (log_likelihood(y, np.where(logits > 4, np.inf, logits)) == -np.inf).all()
