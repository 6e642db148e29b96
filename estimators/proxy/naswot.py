"""NASWOT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.taps import ACTIVATIONS, tapped

if TYPE_CHECKING:
    from torch import Tensor

    from evosearch.evaluation.proxies import Probe


def naswot(probe: Probe) -> float:
    """How well the activations' signs tell the examples apart: log |det K| of K = sum z z' + (1 - z)(1 - z)' over all
    activation functions, where z, one row for each example, is 1 where what goes in is positive.

    So K_ij is the number of units less the Hamming distance of two examples. Infinitely low where two are alike.
    Source: Mellor et al. 2021 (second version).
    """
    import torch

    kernel = np.zeros((len(probe.x), len(probe.x)))

    def seen(name: str, arguments: tuple[Any, ...], output: Tensor) -> None:
        entered = arguments[0]
        if len(entered) == len(kernel):
            z = (entered > 0).flatten(1).float()
            kernel[...] += (z @ z.T + (1 - z) @ (1 - z).T).numpy()

    with torch.no_grad(), tapped(ACTIVATIONS, seen):
        probe.network()(probe.x)
    sign, value = np.linalg.slogdet(kernel)
    return float(value) if sign else float("-inf")
