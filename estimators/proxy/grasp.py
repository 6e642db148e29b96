"""GraSP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from evosearch.evaluation.proxies import Probe


def grasp(probe: Probe) -> float:
    """The sum of -weight x (Hessian x gradient) over linear and convolution layers, of one batch, by double backward.

    Source: gradient signal preservation (Wang, Zhang and Grosse 2020) without their temperature, as Abdelfattah et al.
    (2021) score networks by it.
    """
    import torch

    network = probe.network()
    weights = probe.weights(network)
    gradients = probe.gradients(network, weights, graph=True)
    flow = sum((g.detach() * g).sum() for g in gradients)
    if not isinstance(flow, torch.Tensor) or not flow.requires_grad:
        return 0.0
    products: Sequence[Tensor | None] = torch.autograd.grad(flow, weights, allow_unused=True)
    return sum(float((-w.detach() * hg).sum()) for w, hg in zip(weights, products, strict=True) if hg is not None)
