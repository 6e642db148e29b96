"""Examples as a batch of tensors; needs torch alone, and stands in model.py as it is."""

from typing import Any

import torch


def batch(examples: Any, shape: tuple[int, ...], circular: bool = True, masked: bool = False) -> torch.Tensor:
    """Examples as a tensor (B, *shape): of an array, a tensor, a DataFrame of numbers, or a list with one of each.

    Images (C, H, W) may have their channels last, and those of one channel none; so may series (S, D) of one dimension.
    In a series, a missing value (NaN) is the mean of its own dimension, and a short one begins again, as often as it
    takes; circular: False for networks of earlier versions, for which it goes on with its mean. masked: whether the
    last number of a step is 1 where the series is there and 0 behind its end; series (S, D - 1) get it, and may end by
    steps of NaN alone.
    Raises ValueError for examples of another shape, and for a value that is no finite number, with its row from 0.
    """
    if hasattr(examples, "to_numpy"):
        examples = examples.to_numpy().copy()  # what pandas gives is not to be written to, of which torch warns
    if str(getattr(examples, "dtype", "")) == "object":
        examples = list(examples)
    if isinstance(examples, list | tuple):
        examples = [one.to_numpy().copy() if hasattr(one, "to_numpy") else one for one in examples]
        parts = [_whole(torch.as_tensor(one)[None], shape, circular, masked) for one in examples]
    else:
        parts = [_whole(torch.as_tensor(examples), shape, circular, masked)]
    for row, part in enumerate(parts):
        if tuple(part.shape[1:]) != tuple(shape):
            which = f"row {row}: an example" if len(parts) > 1 else "examples"
            taken = (shape[0], shape[1] - 1) if masked else tuple(shape)
            raise ValueError(f"{which} of shape {tuple(part.shape[1:])}; the network takes {taken}, batch first")
    x = torch.cat(parts) if len(parts) > 1 else parts[0] if parts else torch.zeros(0, *shape)
    if x.is_floating_point() and not (finite := x.isfinite().flatten(1).all(1)).all():
        raise ValueError(f"row {int((~finite).int().argmax())}: a value is not a finite number")
    return x


def _whole(x: torch.Tensor, shape: tuple[int, ...], circular: bool, masked: bool) -> torch.Tensor:
    """A batch with the axes in their places, and series with all of their steps."""
    if len(shape) == 3 and tuple(x.shape[1:]) == (*shape[1:], shape[0]) != tuple(shape):
        return x.permute(0, 3, 1, 2)
    if len(shape) == 3 and shape[0] == 1 and tuple(x.shape[1:]) == tuple(shape[1:]):
        return x[:, None]
    if len(shape) != 2:
        return x
    if x.ndim == 2 and shape[1] - masked == 1:
        x = x[..., None]
    if x.ndim != 3 or x.shape[1] > shape[0]:
        return x
    if masked and x.shape[2] == shape[1] - 1:
        return _with_ends(x, shape[0])
    if masked:  # one that is whole and says already which of its steps are there stays as it is
        if tuple(x.shape[1:]) == tuple(shape) and not _is_mask(x[:, :, -1]):
            raise ValueError(
                f"series of {shape[1]} numbers a step; the network takes {shape[1] - 1}, or beside them a last one, "
                "1 where the step is there and 0 behind the end"
            )
        return x
    if x.is_floating_point() or x.shape[1] < shape[0]:
        x = x if x.is_floating_point() else x.double()
        mean = x.nanmean(1, keepdim=True)
        x = torch.where(x.isnan(), mean, x)
        if circular and x.shape[1]:
            return x.repeat(1, -(-shape[0] // x.shape[1]), 1)[:, : shape[0]]
        x = torch.cat([x, mean.expand(-1, shape[0] - x.shape[1], -1)], 1)
    return x


def _is_mask(marks: torch.Tensor) -> bool:
    """Whether marks (B, S) are 1 up to some step each, and 0 behind it."""
    return bool(((marks == 0) | (marks == 1)).all() and (marks[:, 1:] <= marks[:, :-1]).all())


def _with_ends(x: torch.Tensor, steps: int) -> torch.Tensor:
    """Series (B, S, D) with all of their steps, and with the last number that says which of them are there."""
    x = x.double() if x.shape[1] else x.new_full((len(x), 1, x.shape[2]), torch.nan, dtype=torch.float64)
    lengths = (~x.isnan().all(2) * torch.arange(1, x.shape[1] + 1)).amax(1, keepdim=True)
    x = torch.where(x.isnan(), x.nanmean(1, keepdim=True), x)
    at = torch.arange(steps)
    x = x.gather(1, (at % lengths.clamp(min=1)).unsqueeze(2).expand(-1, -1, x.shape[2]))
    return torch.cat([x, (at < lengths).unsqueeze(2)], 2)
