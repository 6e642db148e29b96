"""The metrics a candidate can be judged by, as scikit-learn defines them, on plain arrays.

Each takes the targets y and `out`, what the network gives for each example (N, outputs): classes as y (N,) numbers and
unnormalised log probabilities (logits); numbers as (N, outputs) each, in the targets' own units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evosearch.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Metric:
    """What a network can be judged by.

    sign: 1 where larger is better, -1 where smaller is.
    value: (targets, out) -> float; see the module's docstring.
    error: whether 1 - value is an error rate, which is an objective too then, under the name `error`.
    finer: (targets, out) -> (N,) float64, how good each answer is, larger is better, where `value` counts right and
        wrong answers alone: its mean tells two networks apart by fewer examples. None where nothing does.
    by_class: of one that a rare class hardly moves, the kind's metric that counts every class alike; else empty.
    """

    name: str
    sign: Literal[1, -1]
    value: Callable[[Array, Array], float]
    error: bool = False
    finer: Callable[[Array, Array], Array] | None = None
    by_class: str = ""


def metric_of(metrics: Sequence[Metric], kind: str, name: str = "") -> Metric:
    """The metric asked for out of a kind's, or the first, its usual one. Raises TaskError where it has none such."""
    if not name:
        return metrics[0]
    for metric in metrics:
        if metric.name == name:
            return metric
    usable = ", ".join(metric.name for metric in metrics)
    raise TaskError(f"no metric '{name}' for {kind}, which this task is; use {usable}")


def accuracy(y: Array, out: Array) -> float:
    return float(np.mean(y == out.argmax(1)))


def balanced_accuracy(y: Array, out: Array) -> float:
    """Mean recall over the classes that occur."""
    counts = _confusion(y, out)
    present = counts.sum(1) > 0
    return float(np.mean(counts.diagonal()[present] / counts.sum(1)[present]))


def macro_f1(y: Array, out: Array) -> float:
    """Mean F1 over the classes that occur or are predicted."""
    counts = _confusion(y, out)
    support = counts.sum(0) + counts.sum(1)
    present = support > 0
    return float(np.mean(2 * counts.diagonal()[present] / support[present]))


def _confusion(y: Array, out: Array) -> Array:
    """(outputs, outputs) counts; rows are the true classes."""
    outputs = out.shape[1]
    return np.bincount(y * outputs + out.argmax(1), minlength=outputs * outputs).reshape(outputs, outputs)


def mse(y: Array, out: Array) -> float:
    return float(np.mean((y.astype(np.float64) - out) ** 2))


def rmse(y: Array, out: Array) -> float:
    """Mean over the targets of the root of each one's mean squared error."""
    return float(np.mean(np.sqrt(np.mean((y.astype(np.float64) - out) ** 2, axis=0))))


def mae(y: Array, out: Array) -> float:
    return float(np.mean(np.abs(y.astype(np.float64) - out)))


def r2(y: Array, out: Array) -> float:
    """Mean over the targets of 1 - residual / total sum of squares; a constant target counts 1 or 0."""
    unit = np.exp2(np.floor(np.log2(np.maximum(np.abs(y.astype(np.float64)).max(0), 1e-300))))  # squares stay finite
    y, out = y / unit, out / unit
    with np.errstate(over="ignore"):  # an answer that far off is told as it is
        residual = ((y - out) ** 2).sum(0)
    total = ((y - y.mean(0)) ** 2).sum(0)
    constant = np.where(residual == 0, 1.0, 0.0)
    return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), constant)))


def auc(y: Array, out: Array) -> float:
    """Area under the ROC curve; of more than two classes the mean over each against the rest (ovr, macro).

    A class that does not occur in y, or is all of it, has no curve and is left out; without any curve the value is NaN.
    """
    from sklearn.metrics import roc_auc_score

    shares = _probabilities(out)
    if np.isnan(shares).any():
        return float("nan")
    classes = [1] if out.shape[1] == 2 else range(out.shape[1])
    found = [roc_auc_score(y == one, shares[:, one]) for one in classes if 0 < np.count_nonzero(y == one) < len(y)]
    return float(np.mean(found)) if found else float("nan")


def log_loss(y: Array, out: Array) -> float:
    """Mean of -log of the probability that the true class was given."""
    from sklearn.metrics import log_loss as reference

    shares = _probabilities(out)
    return float("nan") if np.isnan(shares).any() else float(reference(y, shares, labels=np.arange(out.shape[1])))


def log_likelihood(y: Array, out: Array) -> Array:
    """(N,): the log of the probability of the true class, at the temperature at which its mean is largest (Guo et al.
    2017, arXiv 1706.04599): how sure a network is in the mean is not held against it. -inf where an output is infinite.
    """
    if not np.isfinite(out).all():
        return np.full(len(y), -np.inf)
    cooled = (out.astype(np.float64) - out.max(1, keepdims=True)) / temperature(out, y)
    found: Array = cooled[np.arange(len(y)), y] - np.log(np.exp(cooled).sum(1))
    return found


def temperature(logits: Array, y: Array) -> float:
    """The number by which logits (N, classes) are divided so that their log loss is least, between 0.05 and 20.

    It changes no prediction (Guo et al. 2017, section 4.2). The log loss is that of (N + 1) / (N + classes) for the
    right class and 1 / (N + classes) for each other one, or few answers that are all right would make it sure of
    everything (Platt 1999, section 2.2).
    """
    from scipy.optimize import minimize_scalar

    centred = logits.astype(np.float64) - logits.max(1, keepdims=True)
    rows, classes = centred.shape
    wanted = (centred[np.arange(rows), y] * rows + centred.sum(1)) / (rows + classes)

    def loss(log_temperature: float) -> float:
        scaled = centred * np.exp(-log_temperature)
        return float((np.log(np.exp(scaled).sum(1)) - wanted * np.exp(-log_temperature)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def _probabilities(out: Array) -> Array:
    """The softmax of logits, float64; NaN where one is NaN or positive infinity."""
    with np.errstate(invalid="ignore"):
        shares = np.exp(out.astype(np.float64) - out.max(1, keepdims=True).astype(np.float64))
    return np.asarray(shares / shares.sum(1, keepdims=True))
