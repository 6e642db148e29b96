"""The curve rule: a training ends that will hardly be better at its end than the best one so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RENEWED, GROWTH = 8, 4  # trainings that have ended after which the curves are learned from anew: so many, or a quarter
LEARNED = 200  # of them at the most, the latest ones

Brief = tuple[float, float, tuple[tuple[float, ...], ...]]


class Curve:
    """Extrapolation of learning curves by Bayesian ridge regression, one for each epoch, from the curve so far and its
    first and second differences to the value at the end. A training ends where that is not above the best one known
    with a probability of `sure` at the least.

    The deviation of a prediction is that of the residuals, each curve left out once. Whose curve is as long as any is
    learned from; a curve of another length, as of a sentence that says its own epochs, is not foreseen by it.

    Source: Baker, Gupta, Raskar and Naik 2017, "Accelerating neural architecture search using performance prediction",
    with scikit-learn's `BayesianRidge` in place of support vectors.

    least: curves that must have reached their end. sure: the probability.
    """

    relative = True

    def __init__(self, least: int = 20, sure: float = 0.95) -> None:
        self.least, self.sure = least, sure
        self._known: tuple[Sequence[float], ...] = ()
        self._fits: tuple[tuple[float, ...], ...] = ()

    def brief(self, curves: Iterable[Sequence[float]]) -> Brief | None:
        """The largest and the smallest end so far; of each epoch intercept, deviation and coefficients of its fit."""
        known = [tuple(curve) for curve in curves if curve]
        epochs = max(map(len, known), default=0)
        ended = [curve for curve in known if len(curve) == epochs]
        if epochs < 2 or len(ended) < self.least:
            return None
        learned = due = self.least
        while due <= len(ended):
            learned, due = due, due + max(RENEWED, due // GROWTH)
        rows = tuple(ended[max(0, learned - LEARNED) : learned])
        if rows != self._known:
            self._known, self._fits = rows, _fits(np.array(rows))
        ends = [curve[-1] for curve in ended]
        return max(ends), min(ends), self._fits

    def stop(self, brief: Any, curve: Sequence[float], sign: int) -> str:
        if brief is None or len(curve) > len(brief[2]):
            return ""
        best = brief[0] if sign > 0 else brief[1]
        intercept, deviation, *coefficients = brief[2][len(curve) - 1]
        mean = intercept + float(_features(np.array([curve]))[0] @ np.array(coefficients))
        z = sign * (best - mean) / max(deviation, 1e-12)
        if 0.5 * math.erfc(-z / math.sqrt(2)) < self.sure:
            return ""
        return (
            f"{curve[-1]:.4g} after epoch {len(curve)}, {mean:.4g} is expected at its end, and the best is {best:.4g}"
        )


def _features(curves: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(curves, epochs) -> the values, and their first and second differences, side by side."""
    return np.hstack([curves, np.diff(curves, axis=1), np.diff(curves, n=2, axis=1)])


def _fits(curves: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[tuple[float, ...], ...]:
    """The fit of each epoch but the last; on one thread of the linear algebra, so that the number of a machine's cores
    does not show in the last bits.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return tuple(_fit(curves, epoch) for epoch in range(1, curves.shape[1]))


def _fit(curves: np.ndarray[Any, np.dtype[np.float64]], epoch: int) -> tuple[float, ...]:
    """Intercept, deviation and coefficients of the prediction of the end from so many epochs."""
    from sklearn.linear_model import BayesianRidge

    x, y = _features(curves[:, :epoch]), curves[:, -1]
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-12
    z = (x - mean) / scale
    model = BayesianRidge().fit(z, y)
    # a residual without its own curve is the residual by 1 - leverage, as for any linear smoother
    leverage = model.alpha_ * np.einsum("ij,jk,ik->i", z, model.sigma_, z) + 1 / len(z)
    deviation = math.sqrt(float(np.mean(((y - model.predict(z)) / (1 - np.clip(leverage, 0, 0.99))) ** 2)))
    coefficients = model.coef_ / scale
    return (float(model.intercept_ - mean @ coefficients), deviation, *map(float, coefficients))
