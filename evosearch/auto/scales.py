"""How far apart the scales of single series lie, as the examples themselves tell it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.tasks.base import Task

MANY, FEW = 0.9, 0.1  # shares of the series


def apart(task: Task) -> float:
    """How many times the standard deviation over time that one series in ten has or more is that which one in ten has
    or less; of the dimension where this is most. 1 where all are alike, infinite where such a series is constant.
    """
    x = np.asarray(task.train.x)  # (N, S, D)
    deviations = x.std(axis=1, dtype=np.float64)
    many, few = np.quantile(deviations, (MANY, FEW), axis=0)
    ratios = np.divide(many, few, out=np.where(many > 0, math.inf, 1.0), where=few > 0)
    return float(ratios.max())


__all__ = ["apart"]
