"""The median rule: a training ends whose curve lies under the median of those known when it was proposed."""

from __future__ import annotations

import math
from bisect import insort
from itertools import takewhile
from typing import TYPE_CHECKING

from evosearch.evaluation.stopping import Growing

if TYPE_CHECKING:
    from collections.abc import Sequence


class Median(Growing):
    """The median rule of Golovin et al. 2017 (Vizier, section 3.2), with the curve in place of its running mean.

    least: candidates that must have got as far.
    """

    relative = True

    def __init__(self, least: int = 5) -> None:
        self.least = least

    def known(self) -> Sorted:
        return Sorted(self.least)

    def stop(self, brief: Sequence[float], curve: Sequence[float], sign: int) -> str:
        if len(curve) > len(brief) or sign * curve[-1] >= sign * brief[len(curve) - 1]:
            return ""
        return f"{curve[-1]:.4g} after epoch {len(curve)}, the median is {brief[len(curve) - 1]:.4g}"


class Sorted:
    """The values after each epoch in the order of their size, so that a median is in the middle; what is no number is
    left out.
    """

    def __init__(self, least: int) -> None:
        self.least = least
        self._epochs: list[list[float]] = []

    def add(self, curve: Sequence[float]) -> None:
        self._epochs += ([] for _ in range(len(curve) - len(self._epochs)))
        for values, value in zip(self._epochs, curve, strict=False):
            if not math.isnan(value):
                insort(values, value)

    def brief(self) -> tuple[float, ...]:
        """Median over candidates of the metric after each epoch, as far as enough of them got."""
        enough = takewhile(lambda values: len(values) >= self.least, self._epochs)
        return tuple((values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2 for values in enough)
