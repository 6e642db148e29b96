"""SynFlow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from evosearch.taps import NORMS, tapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from evosearch.evaluation.proxies import Probe


def synflow(probe: Probe) -> float:
    """log(1 + S), S the sum of |weight x dR/dweight| over linear and convolution layers.

    R is the sum of the outputs for an input of ones, with absolute values for all weights and the norms left out.
    Needs no data. Without a path from input to output it is 0, the lowest that there is.
    Source: Tanaka et al. 2020; Abdelfattah et al. 2021; the natural logarithm as NASLib has it, which says 0 there too.
    """
    import torch

    network = probe.network().double()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.abs_()
    weights = probe.weights(network)
    with tapped(NORMS, None):
        flow = network(torch.ones_like(probe.x[:1], dtype=torch.float64)).sum()
    if not flow.requires_grad:
        return 0.0
    gradients: Sequence[Tensor | None] = torch.autograd.grad(flow, weights, allow_unused=True)
    total = sum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, gradients, strict=True) if g is not None)
    return math.log1p(total)
