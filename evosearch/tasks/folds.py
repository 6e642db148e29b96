"""k folds of a task: as many judgements of one candidate, each on rows that it was not trained on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evosearch.tasks.base import Split, Task, cut
from evosearch.tasks.rows import channel_axes, moments

if TYPE_CHECKING:
    from evosearch.tasks.base import Array


def fold_rows(task: Task, count: int, seed: int = 0) -> list[Array]:
    """Row numbers of the train and validation rows together, train first, cut at random into `count` folds.

    Classes are spread over the folds, each by itself. The same task, count and seed give the same folds: nothing that a
    search does moves them.
    """
    y = np.concatenate([task.train.y, task.validation.y])
    return cut(len(y), task.kind.strata(y), (1 / count,) * (count - 1), seed)


def fold(task: Task, number: int, count: int, seed: int = 0) -> Task:
    """The task whose validation split is fold `number` of `count`, from 0, and whose train split is all other folds.

    Constants are of its own train split; the test split is the task's.
    """
    whole = Split(np.concatenate([task.train.x, task.validation.x]), np.concatenate([task.train.y, task.validation.y]))
    rows = fold_rows(task, count, seed)
    others = np.sort(np.concatenate([chosen for place, chosen in enumerate(rows) if place != number]))
    train, validation = (Split(whole.x[chosen], whole.y[chosen]) for chosen in (others, rows[number]))
    mean, std = moments(train.x, channel_axes(train.x.ndim))
    shape = (-1, 1, 1) if train.x.ndim == 4 else (-1,)
    targets = task.kind.describe(task.name, [train.y, validation.y], task.labels)
    digest = hashlib.blake2b(f"{task.digest} fold {number} of {count} by {seed}".encode(), digest_size=16).hexdigest()
    return replace(
        task,
        digest=digest,
        train=train,
        validation=validation,
        mean=mean.reshape(shape),
        std=std.reshape(shape),
        target_mean=targets.mean,
        target_std=targets.std,
    )
