"""Fisher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evosearch.taps import WEIGHTED, tapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from evosearch.evaluation.proxies import Probe


def fisher(probe: Probe) -> float:
    """Over the channels of linear and convolution layers, half the mean over examples of (activation x gradient)^2,
    summed over positions first; a channel counts as often as it has weights.

    Source: Fisher pruning (Theis et al. 2018; Turner et al. 2020), as Abdelfattah et al. (2021) score networks by it.
    """
    import torch

    outputs: list[Tensor] = []
    counted: list[tuple[int, int]] = []  # the axis of the channels, and the weights of one

    def seen(name: str, arguments: tuple[Any, ...], output: Tensor) -> None:
        if output.requires_grad:
            outputs.append(output)
            counted.append((output.ndim - 1 if name == "linear" else 1, arguments[1][0].numel()))

    network = probe.network()
    with tapped(WEIGHTED, seen):
        loss = probe.loss(network(probe.x), probe.y)
    gradients: Sequence[Tensor | None] = torch.autograd.grad(loss, outputs, allow_unused=True) if outputs else ()
    total = 0.0
    for output, gradient, (axis, weights) in zip(outputs, gradients, counted, strict=True):
        if gradient is None:
            continue
        product = (output * gradient).detach()
        positions = [at for at in range(1, output.ndim) if at != axis]
        each = product.sum(positions) if positions else product
        total += weights * float(each.square().mean(0).sum()) / 2
    return total
