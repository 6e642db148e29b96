"""Mean and deviation of any finite doubles: the largest of them too, whose sum or square no double holds."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """The mean of one finite value or more."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def deviation(values: Sequence[float]) -> float:
    """The deviation of one finite value or more (of these, not of what they are a sample of)."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        found = float(np.std(values))
    if math.isfinite(found):
        return found
    largest = max(map(abs, values))
    return min(largest, largest * float(np.std(np.asarray(values) / largest)))


def share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, low < high: 0 at the one, 1 at the other."""
    if math.isinf(high - low):
        value, low, high = value / 4, low / 4, high / 4
    return (value - low) / (high - low)
