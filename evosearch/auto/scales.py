"""How far apart the scales of single series lie, as the examples themselves tell it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from evosearch.tasks.base import Task

MANY, FEW = 0.9, 0.1  # shares of the series
SCALARS = 1_000_000  # that are looked at together: as float64 all of them would take twice the memory of the data

Array = np.ndarray[Any, np.dtype[Any]]


def apart(task: Task) -> float:
    """How many times the standard deviation over time that one series in ten has or more is that which one in ten has
    or less; of the dimension where this is most. 1 where all are alike, infinite where such a series is constant.
    """
    x = np.asarray(task.train.x)[:, :, : -1 if task.masked else None]  # (N, S, D)
    step = max(1, SCALARS // x[0].size)
    deviations = np.concatenate([_deviations(x[at : at + step]) for at in range(0, len(x), step)])
    many, few = np.quantile(deviations, (MANY, FEW), axis=0)
    ratios = np.divide(many, few, out=np.where(many > 0, math.inf, 1.0), where=few > 0)
    return float(ratios.max())


def _deviations(x: Array) -> Array:
    """(N, D), over time, of series (N, S, D); of one that is constant 0, which rounding would leave a little above."""
    return np.where(x.max(axis=1) > x.min(axis=1), x.std(axis=1, dtype=np.float64), 0.0)


__all__ = ["apart"]
