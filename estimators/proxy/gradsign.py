"""GradSign."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe


def gradsign(probe: Probe) -> float:
    """How well the examples agree on the sign of each weight's gradient: over weights, the sum of |sum of the signs|.

    The gradients are those of one example at a time.
    Norms use the statistics they start with, as one example has none. The sum over weights, not their mean, which would
    count weights that nothing passes through.
    Source: Zhang and Jia 2022; the sum as in their code for large spaces.
    """
    import torch

    network = probe.network().eval()
    weights = [one for one in network.parameters() if one.requires_grad]
    signs = [torch.zeros_like(one) for one in weights]
    for at in range(len(probe.x)):
        for total, gradient in zip(signs, probe.gradients(network, weights, slice(at, at + 1)), strict=True):
            total += gradient.sign()
    return sum(float(total.abs().sum()) for total in signs)
