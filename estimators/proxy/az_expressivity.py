"""AZ-NAS's expressivity."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe


def az_expressivity(probe: Probe) -> float:
    """How many directions what leaves the network's stages spreads over: the sum of their entropies.

    Source: AZ-NAS (Lee and Ham 2024).
    """
    return sum(probe.entropies())
