"""Augmentations of a batch of images on its device, each image by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def _crop(x: Tensor) -> Tensor:
    """Each image shifted by its own offset, up to an eighth of its size (at least one pixel); what comes in is 0."""
    import torch
    from torch.nn.functional import pad

    batch, _, height, width = x.shape
    reach = max(1, min(height, width) // 8)
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


AUGMENT: dict[str, Callable[[Tensor], Tensor]] = {"crop": _crop, "flip": _flip, "cutout": _cutout}
