"""How far a metric's value is from what it would be on all examples that there could be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

GROUPS = 20  # that are left out one by one


def standard_error(value: Callable[[Array, Array], float], y: Array, out: Array, groups: Array | None = None) -> float:
    """The standard error of a metric on n examples, for whatever metric: by the jackknife that leaves out groups.

    Of a mean over examples it is, in expectation, the usual deviation / sqrt(n) (Efron & Tibshirani 1993, An
    Introduction to the Bootstrap, section 11.5, with 20 groups of equal size). It says how much the examples decide;
    that another seed would train another network is not in it. NaN where there are fewer than two examples or the
    metric is not defined without some group.

    value: the metric, of targets (n, ...) and outputs (n, outputs). What is left out is the same for every network.
    groups: (n,) numbers of those that examples belong to; whole ones are left out then, since examples of one group
    err alike.
    """
    of = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(of.max(initial=-1)) + 1
    parts = min(GROUPS, count)
    if parts < 2:
        return math.nan
    order = np.random.default_rng(0).permutation(count)
    without = []
    for left_out in np.array_split(order, parts):
        kept = np.ones(count, bool)
        kept[left_out] = False
        without.append(value(y[kept[of]], out[kept[of]]))
    return math.sqrt((parts - 1) / parts * float(np.sum((np.array(without) - np.mean(without)) ** 2)))


def error_of_folds(values: Sequence[float]) -> float:
    """The standard error of the mean of k folds' values, as if the folds were independent; NaN for a single one.

    Their train splits overlap, so that no estimate without bias is known (Bengio & Grandvalet 2004, "No unbiased
    estimator of the variance of k-fold cross-validation"); this one is a little small. The seeds are in it.
    """
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


__all__ = ["error_of_folds", "standard_error"]
