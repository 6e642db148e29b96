"""Whether a mirror image still means what the image means, as the examples themselves tell it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from evosearch.tasks.base import Task

KNOWN, ASKED = 2000, 1000  # images to be compared with, and images to ask about
SIDE = 32  # pixels, to which larger images are averaged first
UNKNOWN = {True: 1.0, False: 0.0}
LEAST = 0.02  # that is known beyond the most frequent class, for a share of it to mean anything
ERRORS = 2  # standard errors of a share of so many images, that it has to be more than besides

Array = np.ndarray[Any, np.dtype[Any]]


def kept(task: Task) -> float:
    """The share of what the nearest neighbour knows of an image that it still knows of the image's mirror image.

    Near 1 for photographs and whatever lies any way round, near 0 for signs, whose mirror images are others or none.
    For classes: accuracy beyond that of the most frequent class. For a target: 1 - squared error / variance, of the
    mean over five neighbours. Where they know next to nothing of the images themselves, 1 for classes, as photographs
    have it, and 0 for a target, which may be a direction.
    """
    x, y = np.asarray(task.train.x), np.asarray(task.train.y)
    order = np.random.default_rng(0).permutation(len(x))
    if (groups := task.train.groups) is not None:
        order = order[np.argsort(np.random.default_rng(0).permutation(groups.max() + 1)[groups[order]], kind="stable")]
    known, asked = order[:KNOWN], order[KNOWN : KNOWN + ASKED]
    if len(x) < KNOWN + ASKED:
        cut = max(1, len(x) * 2 // 3)
        known, asked = order[:cut], order[cut:]
    if groups is not None:  # images of one group are near each other, and not those of their mirror images
        asked = asked[~np.isin(groups[asked], groups[known])]
    if not len(asked):
        return UNKNOWN[task.kind.classes]
    least = max(LEAST, ERRORS * 0.5 / math.sqrt(len(asked)))
    rows, images = _pixels(x[known]), x[asked]
    plain, mirrored = (_value(task, rows, y[known], _pixels(one), y[asked]) for one in (images, images[..., ::-1]))
    return min(max(mirrored / plain, 0.0), 1.0) if plain > least else UNKNOWN[task.kind.classes]


def _pixels(x: Array) -> Array:
    """Images (N, C, H, W) as rows, larger ones by the mean over blocks of pixels."""
    step = -(-max(x.shape[2:]) // SIDE)
    if step < 2 or min(x.shape[2:]) < step:
        return x.reshape(len(x), -1).astype(np.float32)
    height, width = (side // step * step for side in x.shape[2:])
    blocks = x[..., :height, :width].reshape(*x.shape[:2], height // step, step, width // step, step)
    return np.asarray(blocks.mean((3, 5)), np.float32).reshape(len(x), -1)


def _value(task: Task, x: Array, y: Array, asked: Array, truth: Array) -> float:
    distance = (x**2).sum(1) - 2 * asked @ x.T  # but for a term that is the same for all neighbours
    if task.kind.classes:
        right = float((y[distance.argmin(1)] == truth).mean())
        often = float(np.bincount(truth).max() / len(truth))
        return (right - often) / (1 - often) if often < 1 else 0.0
    near = np.argsort(distance, 1)[:, :5]
    spread = float(((truth - truth.mean(0)) ** 2).sum())
    return 1 - float(((y[near].mean(1) - truth) ** 2).sum()) / spread if spread else 0.0


__all__ = ["kept"]
