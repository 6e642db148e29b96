"""The first-order change of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe


def plain(probe: Probe) -> float:
    """The sum of weight x gradient over the weights of linear and convolution layers, of one batch, signs kept.

    Source: Abdelfattah et al. 2021. A baseline: its order is hardly that of trained networks.
    """
    network = probe.network()
    weights = probe.weights(network)
    return sum(float((w.detach() * g).sum()) for w, g in zip(weights, probe.gradients(network, weights), strict=True))
