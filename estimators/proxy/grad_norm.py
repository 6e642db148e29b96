"""The norm of the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe


def grad_norm(probe: Probe) -> float:
    """The sum over linear and convolution layers of the Euclidean norm of their weights' gradient, of one batch.

    Source: Abdelfattah et al. 2021.
    """
    network = probe.network()
    return sum(float(g.norm()) for g in probe.gradients(network, probe.weights(network)))
