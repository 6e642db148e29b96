"""ZiCo."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe

BATCHES = 2  # as in the paper


def zico(probe: Probe) -> float:
    """Over linear and convolution layers, the sum of the logarithm of what its weights' gradients are over two batches:
    the sum of mean |gradient| / deviation, where there is any.

    Source: Li et al. 2023.
    """
    import torch

    network = probe.network()
    weights = probe.weights(network)
    size = len(probe.x) // BATCHES
    batches = [probe.gradients(network, weights, slice(at * size, (at + 1) * size)) for at in range(BATCHES)]
    total = 0.0
    for layer in zip(*batches, strict=True):
        gradients = torch.stack(layer)
        deviation = gradients.std(0, correction=0)
        varying = deviation > 0
        found = float((gradients.abs().mean(0)[varying] / deviation[varying]).sum())
        if found > 0:
            total += math.log(found)
    return total
