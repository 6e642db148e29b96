"""Augmentations of a batch on its device, each example by itself: of images, and of series (N, S, D)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor


def _crop(x: Tensor) -> Tensor:
    """Each image shifted by its own offset, up to an eighth of its size (at least one pixel); what comes in is 0."""
    return _moved(x, max(1, min(x.shape[2:]) // 8))


def _shift(x: Tensor) -> Tensor:
    """Each image shifted by up to a fourteenth of its size (at least one pixel); what comes in is like its border.

    That is the median of the border's pixels, channel by channel: the background, where there is one.
    """
    import torch

    border = torch.cat([x[:, :, 0], x[:, :, -1], x[:, :, 1:-1, 0], x[:, :, 1:-1, -1]], dim=2)
    usual = border.median(dim=2).values[:, :, None, None]
    return _moved(x - usual, max(1, min(x.shape[2:]) // 14)) + usual


def _moved(x: Tensor, reach: int) -> Tensor:
    """Each image shifted by its own offset, up to `reach` pixels; what comes in is 0."""
    import torch
    from torch.nn.functional import pad

    batch, _, height, width = x.shape
    padded = pad(x, (reach, reach, reach, reach))
    down, right = torch.randint(2 * reach + 1, (2, batch, 1), device=x.device)
    rows = down + torch.arange(height, device=x.device)
    columns = right + torch.arange(width, device=x.device)
    which = torch.arange(batch, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _flip(x: Tensor) -> Tensor:
    """Each image mirrored left to right with probability one half."""
    import torch

    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)


def _cutout(x: Tensor) -> Tensor:
    """A square of a quarter of each image's side, anywhere inside, set to 0, the mean (DeVries & Taylor 2017)."""
    import torch

    batch, _, height, width = x.shape
    side = max(1, min(height, width) // 4)
    top = torch.randint(height - side + 1, (batch, 1, 1, 1), device=x.device)
    left = torch.randint(width - side + 1, (batch, 1, 1, 1), device=x.device)
    rows = torch.arange(height, device=x.device)[:, None]
    columns = torch.arange(width, device=x.device)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return x.masked_fill(inside, 0.0)


def _warp(x: Tensor) -> Tensor:
    """Time runs smoothly faster and slower: of each series, in half of all batches, by a few per cent of its length.

    The time at each step is moved by four sines that vanish at both ends, with normal amplitudes of 0.04 / k of the
    length (Um et al. 2017, arXiv 1706.00527, have a cubic spline in their place); values between steps are linear.
    """
    import torch

    batch, steps, _ = x.shape
    time = torch.linspace(0, 1, steps, device=x.device, dtype=x.dtype)
    order = torch.arange(1, 5, device=x.device, dtype=x.dtype)
    size = torch.randn(batch, 4, device=x.device, dtype=x.dtype) * 0.04 / order
    size = size * (torch.rand((), device=x.device) < 0.5)
    moved = time + size @ torch.sin(torch.pi * order[:, None] * time)
    place = moved.clamp(0, 1) * (steps - 1)
    before = place.floor().clamp(max=max(steps - 2, 0)).long()
    after = (before + 1).clamp(max=steps - 1)
    share = (place - before)[:, :, None]
    which = torch.arange(batch, device=x.device)[:, None]
    return torch.lerp(x[which, before], x[which, after], share)


def _noise(x: Tensor) -> Tensor:
    """Normal noise on every number, a tenth of its deviation over the train split."""
    import torch

    return x + 0.1 * torch.randn_like(x)


class Augment(NamedTuple):
    """What is done to a batch, and for which examples it may be done.

    axes: that one has. of_pictures: whether it must be of a task that says that a moved picture shows the same.
    mirrors: whether it trains on mirror images.
    """

    function: Callable[[Tensor], Tensor]
    axes: tuple[int, ...]
    of_pictures: bool = False
    mirrors: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x)


AUGMENT: Mapping[str, Augment] = {
    "crop": Augment(_crop, (3,), of_pictures=True),
    "shift": Augment(_shift, (3,), of_pictures=True),
    "flip": Augment(_flip, (3,), of_pictures=True, mirrors=True),
    "cutout": Augment(_cutout, (3,), of_pictures=True),
    "warp": Augment(_warp, (2,)),
    "noise": Augment(_noise, (1, 2, 3)),
}
