"""The norm of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe


def l2(probe: Probe) -> float:
    """The sum over linear and convolution layers of the Euclidean norm of their initial weights.

    Source: Abdelfattah et al. 2021. Grows with width and depth alone.
    """
    return sum(float(w.detach().norm()) for w in probe.weights(probe.network()))
