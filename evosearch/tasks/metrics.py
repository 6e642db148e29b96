"""The metrics a candidate can be judged by, as scikit-learn defines them, on plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Metric:
    """value(targets, predictions, outputs) -> float.

    Classification: (N,) class numbers each. Regression: (N, outputs) floats each.
    """

    kind: str
    larger_is_better: bool
    value: Callable[[Array, Array, int], float]


def _accuracy(y: Array, predicted: Array, _: int) -> float:
    return float(np.mean(y == predicted))


def _confusion(y: Array, predicted: Array, outputs: int) -> Array:
    """(outputs, outputs) counts; rows are the true classes."""
    return np.bincount(y * outputs + predicted, minlength=outputs * outputs).reshape(outputs, outputs)


def _balanced_accuracy(y: Array, predicted: Array, outputs: int) -> float:
    """Mean recall over the classes that occur."""
    counts = _confusion(y, predicted, outputs)
    present = counts.sum(1) > 0
    return float(np.mean(counts.diagonal()[present] / counts.sum(1)[present]))


def _macro_f1(y: Array, predicted: Array, outputs: int) -> float:
    """Mean F1 over the classes that occur or are predicted."""
    counts = _confusion(y, predicted, outputs)
    support = counts.sum(0) + counts.sum(1)
    present = support > 0
    return float(np.mean(2 * counts.diagonal()[present] / support[present]))


def _mse(y: Array, predicted: Array, _: int) -> float:
    return float(np.mean((y.astype(np.float64) - predicted) ** 2))


def _r2(y: Array, predicted: Array, _: int) -> float:
    """Mean over the targets of 1 - residual / total sum of squares; a constant target counts 1 or 0."""
    y = y.astype(np.float64)
    residual = ((y - predicted) ** 2).sum(0)
    total = ((y - y.mean(0)) ** 2).sum(0)
    constant = np.where(residual == 0, 1.0, 0.0)
    return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), constant)))


METRICS: dict[str, Metric] = {
    "accuracy": Metric("classification", True, _accuracy),
    "balanced_accuracy": Metric("classification", True, _balanced_accuracy),
    "macro_f1": Metric("classification", True, _macro_f1),
    "r2": Metric("regression", True, _r2),
    "mse": Metric("regression", False, _mse),
}


def metric_for(kind: str, name: str = "") -> str:
    """The metric asked for, or the kind's usual one: accuracy, r2. Raises TaskError where it is of another kind."""
    if not name:
        return "accuracy" if kind == "classification" else "r2"
    if name not in METRICS:
        raise TaskError(f"no metric '{name}'; there are {', '.join(METRICS)}")
    if METRICS[name].kind != kind:
        usable = ", ".join(known for known, metric in METRICS.items() if metric.kind == kind)
        raise TaskError(f"metric '{name}' is for {METRICS[name].kind}, and this task is {kind}; use {usable}")
    return name
