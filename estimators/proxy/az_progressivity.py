"""AZ-NAS's progressivity."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe


def az_progressivity(probe: Probe) -> float:
    """By how much the entropy of what leaves a stage is above that of the stage before, where it is least; 0 of one.

    Source: AZ-NAS (Lee and Ham 2024).
    """
    return min((after - before for before, after in pairwise(probe.entropies())), default=0.0)
