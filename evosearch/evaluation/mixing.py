"""Pairs of examples mixed into one, with the loss shared between their targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class Mixed(NamedTuple):
    """A batch whose example i is example i and example other[i]; share: of the former, a scalar on the device."""

    x: Tensor
    other: Tensor
    share: Tensor

    def loss(self, loss: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
        """The loss against both targets, each by its share. loss: of the outputs against such targets."""
        return self.share * loss(y) + (1 - self.share) * loss(y[self.other])


def mixup(x: Tensor, alpha: float) -> Mixed:
    """Weighted sums of pairs, one weight from Beta(alpha, alpha) for the batch (Zhang et al. 2018, 1710.09412)."""
    import torch

    other, share = torch.randperm(len(x), device=x.device), _share(x, alpha)
    return Mixed(torch.lerp(x[other], x, share.to(x.dtype)), other, share)


def cutmix(x: Tensor, alpha: float) -> Mixed:
    """A box of one image put into another; its share of the area is that of its target (Yun et al. 2019, 1905.04899).

    The box has the image's own aspect; its centre lies anywhere, and what is outside the image is cut off.
    """
    import torch

    height, width = x.shape[2:]
    other, share = torch.randperm(len(x), device=x.device), _share(x, alpha)
    half = (1 - share).sqrt() / 2
    rows = _between(torch.rand((), device=x.device) * height, half * height, height)
    columns = _between(torch.rand((), device=x.device) * width, half * width, width)
    inside = rows[:, None] & columns
    return Mixed(torch.where(inside, x[other], x), other, 1 - inside.to(share.dtype).mean())


def _share(x: Tensor, alpha: float) -> Tensor:
    import torch

    concentration = torch.full((), alpha, device=x.device)
    return torch.distributions.Beta(concentration, concentration, validate_args=False).sample()


def _between(centre: Tensor, half: Tensor, size: int) -> Tensor:
    """Which of `size` places lie within `half` of the centre."""
    import torch

    places = torch.arange(size, device=centre.device)
    return (places >= (centre - half).round()) & (places < (centre + half).round())
