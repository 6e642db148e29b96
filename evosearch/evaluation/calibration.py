"""How far probabilities are from frequencies: of (N, classes) probabilities and (N,) right classes, in NumPy.

A prediction's confidence is its largest probability. Guo et al. 2017 (On Calibration of Modern Neural Networks, arXiv
1706.04599) for the errors and the temperature, Xiong et al. 2023 (Proximity-Informed Calibration, arXiv 2306.04590) for
the one by proximity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.tasks.metrics import temperature

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[Any]]

BINS = 15
NEIGHBOURS = 10
BLOCK = 1024  # rows whose distances to all training rows are held at a time
LEAST = 1e-12  # probability whose logarithm is taken in the place of a smaller one's


def confidence(probabilities: Array) -> Array:
    """(N,): the probability of the class that is predicted."""
    best: Array = probabilities.max(1)
    return best


def right(probabilities: Array, y: Array) -> Array:
    """(N,) bool: whether the predicted class is the right one."""
    hit: Array = probabilities.argmax(1) == y
    return hit


def ece(confidences: Array, hits: Array) -> float:
    """Expected calibration error: sum over equally wide bins (a, b] of n_b / N |accuracy_b - mean confidence_b|."""
    return _gap(confidences, hits, _wide(confidences))


def adaptive_ece(confidences: Array, hits: Array) -> float:
    """The same over bins with equally many predictions each (Nguyen & O'Connor 2015)."""
    return _gap(confidences, hits, _quantiles(confidences))


def piece(confidences: Array, hits: Array, proximity: Array) -> float:
    """Proximity-informed: the sum over BINS quantiles of proximity, each cut into the bins of `ece`.

    It is never below `ece` of the same rows: that one's bins are unions of these (the triangle inequality).
    """
    return _gap(confidences, hits, _quantiles(proximity) * BINS + _wide(confidences))


def proximity(features: Array, among: Array) -> Array:
    """(N,): exp(-mean *squared* distance) to the nearest rows of `among`, both with features of length 1.

    features (N, D), among (M, D): the inputs of a network's head. Squared, as the authors' code has it.
    """
    mine, theirs = _normal(features), _normal(among)
    count = min(NEIGHBOURS, len(theirs))
    found = []
    for start in range(0, len(mine), BLOCK):
        squared = np.clip(2 - 2 * mine[start : start + BLOCK] @ theirs.T, 0, None)
        found.append(np.partition(squared, count - 1, axis=1)[:, :count].mean(1))
    near: Array = np.exp(-np.concatenate(found))
    return near


def brier(probabilities: Array, y: Array) -> float:
    """Mean squared distance between the probabilities and the right class's 0 and 1 (Brier 1950)."""
    wanted = np.eye(probabilities.shape[1])[y]
    return float(np.square(probabilities - wanted).sum(1).mean())


def log_loss(probabilities: Array, y: Array) -> float:
    """Mean negative logarithm, in nats, of the right class's probability."""
    return float(-np.log(np.clip(probabilities[np.arange(len(y)), y], LEAST, None)).mean())


def scaled(logits: Array, y: Array, probabilities: Callable[[Array], Array]) -> dict[str, float]:
    """The temperature that fits, and the calibration error of these very answers without it and with it.

    probabilities: of logits.
    """
    fitted = temperature(logits, y)
    plain, cooled = probabilities(logits), probabilities((logits / fitted).astype(logits.dtype))
    errors = {
        name: ece(confidence(one), right(one, y)) for name, one in (("ece", plain), ("ece_at_temperature", cooled))
    }
    return {"temperature": fitted, **errors}


def _gap(confidences: Array, hits: Array, bins: Array) -> float:
    """Sum over bins of |sum of (hit - confidence)| / N: that is n_b / N |accuracy_b - mean confidence_b|."""
    apart = np.bincount(bins, weights=hits.astype(np.float64) - confidences.astype(np.float64))
    return float(np.abs(apart).sum() / len(confidences))


def _wide(confidences: Array) -> Array:
    """The bin of each confidence, all equally wide."""
    edges = np.linspace(0, 1, BINS + 1)
    return np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, BINS - 1)


def _quantiles(values: Array) -> Array:
    """The bin of each value, equally many in each; equal values share one."""
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


def _normal(rows: Array) -> Array:
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    found: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), LEAST)
    return found


__all__ = [
    "adaptive_ece",
    "brier",
    "confidence",
    "ece",
    "log_loss",
    "piece",
    "proximity",
    "right",
    "scaled",
    "temperature",
]
