"""The median rule: a training ends whose curve lies under the median of those known when it was proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Median:
    """The median rule of Golovin et al. 2017 (Vizier, section 3.2), with the curve in place of its running mean.

    least: candidates that must have got as far.
    """

    relative = True

    def __init__(self, least: int = 5) -> None:
        self.least = least

    def brief(self, curves: Iterable[Sequence[float]]) -> tuple[float, ...]:
        """Median over candidates of the metric after each epoch, as far as enough of them got."""
        known = [curve for curve in curves if curve]
        result: list[float] = []
        while len(reached := [curve[len(result)] for curve in known if len(curve) > len(result)]) >= self.least:
            result.append(float(np.median(reached)))
        return tuple(result)

    def stop(self, brief: Sequence[float], curve: Sequence[float], sign: int) -> str:
        if len(curve) > len(brief) or sign * curve[-1] >= sign * brief[len(curve) - 1]:
            return ""
        return f"{curve[-1]:.4g} after epoch {len(curve)}, the median is {brief[len(curve) - 1]:.4g}"
