"""The median rule: a training ends whose curve lies under the median of those known when it was proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def medians(curves: Iterable[Sequence[float]], least: int = 5) -> tuple[float, ...]:
    """Median over candidates of the metric after each epoch, as far as at least `least` of them got.

    The median rule of Golovin et al. 2017 (Vizier, section 3.2), with the curve itself in place of its running mean.
    """
    known = [curve for curve in curves if curve]
    result: list[float] = []
    while len(reached := [curve[len(result)] for curve in known if len(curve) > len(result)]) >= least:
        result.append(float(np.median(reached)))
    return tuple(result)
