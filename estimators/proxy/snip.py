"""SNIP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe


def snip(probe: Probe) -> float:
    """The sum of |weight x gradient| over the weights of linear and convolution layers, of one batch.

    Source: connection sensitivity (Lee, Ajanthan and Torr 2019), as Abdelfattah et al. (2021) score networks by it.
    """
    network = probe.network()
    weights = probe.weights(network)
    return sum(
        float((w.detach() * g).abs().sum()) for w, g in zip(weights, probe.gradients(network, weights), strict=True)
    )
