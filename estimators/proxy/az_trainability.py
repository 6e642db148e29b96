"""AZ-NAS's trainability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation.proxies import channels_last

if TYPE_CHECKING:
    from torch import Tensor

    from evosearch.evaluation.proxies import Probe


def az_trainability(probe: Probe) -> float:
    """How near the network's stages come to keeping a gradient's size: the mean of 2 - sigma - 1 / sigma, 0 at best.

    sigma: the largest singular value of the correlation of random signs behind a stage with what comes back of them
    before it. A stage that changes nothing is passed over, as is one that leaves other positions than it was given,
    but for strides, where the positions of a patch count as channels.
    Source: AZ-NAS (Lee and Ham 2024).
    """
    import torch

    found = []
    stages = probe.stages()
    x = probe.noise()
    for stage in stages:
        entered = x.detach().requires_grad_()
        x = stage(entered)
        signs = torch.randint(0, 2, x.shape, dtype=x.dtype) * 2 - 1
        back: Tensor | None = torch.autograd.grad(x, entered, signs, allow_unused=True)[0]
        if back is None or (back.shape == signs.shape and bool((back == signs).all())):
            continue
        before = _at_positions_of(x, back)
        if before is not None:
            behind = channels_last(signs)
            sigma = float(torch.linalg.matrix_norm((channels_last(before).T @ behind / len(behind)).double(), 2))
            found.append(2 - sigma - 1 / (sigma + 1e-6))
    return sum(found) / len(found) if found else 0.0


def _at_positions_of(x: Tensor, back: Tensor) -> Tensor | None:
    """What comes back at the positions of `x`, a stride's patches as channels; None where they are not the same."""
    from torch.nn.functional import pixel_unshuffle

    if x.dim() != back.dim():
        return None
    if x.dim() == 4 and x.shape[2:] != back.shape[2:]:
        stride, left = divmod(back.shape[2], x.shape[2])
        if left or back.shape[3] != stride * x.shape[3]:
            return None
        return pixel_unshuffle(back, stride)
    return back if x.shape[1:-1] == back.shape[1:-1] or x.dim() == 4 else None
