"""The curve rule: a training ends that will hardly be better at its end than the best one so far."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.evaluation.stopping import Growing

if TYPE_CHECKING:
    from collections.abc import Sequence

RENEWED, GROWTH = 8, 4  # trainings that have ended after which the curves are learned from anew: so many, or a quarter
SURE = 0.95  # probability of not becoming better than the best one, from which a training ends
LEARNED = 200  # of them at the most, the latest ones

Brief = tuple[float, float, tuple[tuple[float, ...], ...]]


class Curve(Growing):
    """Extrapolation of learning curves by Bayesian ridge regression, one for each epoch, from the curve so far and its
    first and second differences to the value at the end. A training ends where that is not above the best one known
    with a probability of SURE at the least.

    The deviation of a prediction is that of the residuals, each curve left out once. Whose curve is as long as any is
    learned from; a curve of another length, as of a sentence that says its own epochs, is not foreseen by it.

    Source: Baker, Gupta, Raskar and Naik 2017, "Accelerating neural architecture search using performance prediction",
    with scikit-learn's `BayesianRidge` in place of support vectors.

    least: curves that must have reached their end.
    """

    relative = True

    def __init__(self, least: int = 20) -> None:
        self.least = least

    def known(self) -> Ended:
        return Ended(self.least)

    def stop(self, brief: Any, curve: Sequence[float], sign: int) -> str:
        if brief is None or len(curve) > len(brief[2]):
            return ""
        best = brief[0] if sign > 0 else brief[1]
        intercept, deviation, *coefficients = brief[2][len(curve) - 1]
        mean = intercept + float(_features(np.array([curve]))[0] @ np.array(coefficients))
        z = sign * (best - mean) / max(deviation, 1e-12)
        if 0.5 * math.erfc(-z / math.sqrt(2)) < SURE:
            return ""
        return (
            f"{curve[-1]:.4g} after epoch {len(curve)}, {mean:.4g} is expected at its end, and the best is {best:.4g}"
        )


class Ended:
    """The curves that are as long as any, the latest of them, and how often they were learned from."""

    def __init__(self, least: int) -> None:
        self.least = least
        self._begin(0)

    def _begin(self, epochs: int) -> None:
        """Of curves that are longer than all before."""
        self._epochs, self._count, self._due = epochs, 0, self.least
        self._best, self._worst = -math.inf, math.inf
        self._latest: deque[tuple[float, ...]] = deque(maxlen=LEARNED)
        self._rows: tuple[tuple[float, ...], ...] = ()
        self._fits: tuple[tuple[float, ...], ...] | None = None

    def add(self, curve: Sequence[float]) -> None:
        if len(curve) > self._epochs:
            self._begin(len(curve))
        if not curve or len(curve) < self._epochs:
            return
        self._latest.append(tuple(curve))
        self._count += 1
        self._best, self._worst = max(self._best, curve[-1]), min(self._worst, curve[-1])
        if self._count == self._due:
            self._due += max(RENEWED, self._due // GROWTH)
            self._rows, self._fits = tuple(self._latest), None

    def brief(self) -> Brief | None:
        """The largest and the smallest end so far; of each epoch intercept, deviation and coefficients of its fit."""
        if self._epochs < 2 or not self._rows:
            return None
        if self._fits is None:
            self._fits = _fits(np.array(self._rows))
        return self._best, self._worst, self._fits


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
