"""Data sets on the device they are trained on, and batches of them."""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evosearch.evaluation.augment import AUGMENT
from evosearch.evaluation.precision import dtype_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from evosearch.evaluation.recipe import Recipe
    from evosearch.tasks.base import Split, Task

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Resident:
    """A split as tensors: x in stored dtype, y int64 classes or normalised float32; on the device where they fit."""

    x: Tensor
    y: Tensor


_resident: weakref.WeakKeyDictionary[Split, dict[str, Resident]] = weakref.WeakKeyDictionary()


def resident(task: Task, split: Split, device: str) -> Resident:
    """The split on the device, kept for the next candidate; in main memory where it would fill a quarter of that."""
    import torch

    kept = _resident.setdefault(split, {})
    if device not in kept:
        targets = task.kind.normalise(task, split.y)
        x, y = (torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in (split.x, targets))
        if device.startswith("cuda"):
            free, total = torch.cuda.mem_get_info(device)
            share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda _: 1.0)  # since torch 2.7
            free = min(free, int(total * share(device)))
            if x.nbytes + y.nbytes < free // 4:
                x, y = x.to(device), y.to(device)
            else:
                log.warning("%s fills over a quarter of %s; batches are copied from main memory", task.name, device)
        kept[device] = Resident(x, y)
    return kept[device]


class Batches:
    """Rows of a split as normalised, augmented tensors on the device."""

    def __init__(
        self,
        task: Task,
        split: Split,
        recipe: Recipe,
        device: str,
        layout: torch.memory_format,
        augment: Sequence[str] = (),
    ) -> None:
        import torch

        self.data = resident(task, split, device)
        self.device = self.data.x.device  # where rows are looked up
        self.resident = self.device.type == torch.device(device).type
        self.count = len(split)
        self.size = min(recipe.batch, self.count)
        self.steps = self.count // self.size
        self.targets = split.y
        self.dtype = dtype_of(recipe)
        self._target = torch.device(device)
        self._layout = layout
        # Examples that float32 would not tell apart are centred and scaled before they become float32.
        self._wide = torch.float64 if task.mean.dtype == np.float64 else self.dtype
        self._mean = torch.from_numpy(task.mean).to(device, self._wide)
        self._std = torch.from_numpy(task.std).to(device, self._wide)
        self._scale = 1 / self._std
        self._augment = augment
        self._weights = _balancing(self.data.y) if recipe.balanced else None
        self._y_dtype = self.dtype if self.data.y.is_floating_point() else self.data.y.dtype

    def order(self) -> Tensor:
        """The rows of an epoch: each once, in an order drawn anew; where the recipe is balanced, drawn by class."""
        import torch

        if self._weights is not None:
            return torch.multinomial(self._weights, self.count, replacement=True)
        return torch.randperm(self.count, device=self.device)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """x (len(rows), *input_shape) and y of these rows."""
        x, y = self.data.x[rows], self.data.y[rows]
        if not self.resident:
            x, y = x.to(self._target), y.to(self._target)
        x = x.to(self._wide) - self._mean
        x = x.mul_(self._scale) if self._wide == self.dtype else x.div_(self._std).to(self.dtype)
        for name in self._augment:
            x = AUGMENT[name](x)
        return x.contiguous(memory_format=self._layout), y.to(self._y_dtype)


def _balancing(y: Tensor) -> Tensor:
    """A weight for each example, such that every class has the same in sum."""
    counts = y.bincount()
    return 1.0 / counts[y].float()
