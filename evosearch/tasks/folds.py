"""k folds of a task: as many judgements of one candidate, each on rows that it was not trained on."""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evosearch.tasks.base import Split, Task, constants, cut
from evosearch.tasks.groups import most_parts

if TYPE_CHECKING:
    from evosearch.tasks.base import Array


_cut: weakref.WeakKeyDictionary[Split, dict[tuple[int, int], list[Array]]] = weakref.WeakKeyDictionary()


def most_folds(task: Task) -> int:
    """How many folds the task's rows can be cut into: one for each, or for each of the groups that they belong to; 1
    where without one group a single class is left to train on.
    """
    y, groups = task.targets_by_group()
    return len(y) if groups is None else most_parts(groups, y if task.kind.classes else None)


def fold_rows(task: Task, count: int, seed: int = 0) -> list[Array]:
    """Row numbers of the train and validation rows together, train first, cut at random into `count` folds.

    Classes are spread over the folds, each by itself; rows of one group are in one fold. The same task, count and seed
    give the same folds: nothing that a search does moves them.
    """
    if task.train.groups is None:
        return _rows(task, count, seed)
    kept = _cut.setdefault(task.train, {})  # asked for by every candidate, and many groups take a while
    if (count, seed) not in kept:
        kept[count, seed] = _rows(task, count, seed)
    return kept[count, seed]


def _rows(task: Task, count: int, seed: int) -> list[Array]:
    y, groups = task.targets_by_group()
    return cut(len(y), task.kind.strata(y), (1 / count,) * (count - 1), seed, groups)


def fold(task: Task, number: int, count: int, seed: int = 0) -> Task:
    """The task whose validation split is fold `number` of `count`, from 0, and whose train split is all other folds.

    Constants are of its own train split; the test split is the task's.
    """
    whole, rows = task.whole(), fold_rows(task, count, seed)
    others = np.sort(np.concatenate([chosen for place, chosen in enumerate(rows) if place != number]))
    train, validation = whole.take(others), whole.take(rows[number])
    mean, std = constants(train.x, masked=task.masked)
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
