"""A task with fewer rows to train on: a cheaper evaluation, whose figure is of the same held-out rows."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evosearch.tasks.folds import most_folds
from evosearch.tasks.groups import most_parts, tallied

if TYPE_CHECKING:
    from evosearch.tasks.base import Array, Task


SEED = 0


def share_rows(task: Task, share: float, folds: int = 1) -> Array:
    """Row numbers of a share of the train split, rising: one at the least, drawn by class, the same each time.

    The rows of a smaller share are among those of a larger one. Of groups whole ones are drawn, each by the class of
    most of its rows: one at the least, else no more rows than the share, but as many groups as leave a candidate to be
    judged by `folds` folds, where the task itself has so many.
    """
    split, rows = task.train, len(task.train)
    strata = task.kind.strata(split.y)
    labels = np.zeros(rows, dtype=int) if strata is None else strata
    of = np.arange(rows)
    if split.groups is not None:
        of, group, label, times = tallied(split.groups, labels)
        labels, most = np.zeros(of.max() + 1, dtype=int), np.argsort(times, kind="stable")
        labels[group[most]] = label[most]  # what comes last stays: the class that it has most rows of
    rng, place = np.random.default_rng(SEED), np.zeros(len(labels))
    for label in np.unique(labels):
        alike = rng.permutation(np.flatnonzero(labels == label))
        place[alike] = (np.arange(len(alike)) + 0.5) / len(alike)  # the first ones by this have all classes alike
    order = np.argsort(place, kind="stable")
    count = max(1, int(np.searchsorted(np.bincount(of)[order].cumsum(), round(share * rows), side="right")))
    if split.groups is not None:
        count = max(count, _fewest(task, of, order, folds))
    return np.flatnonzero(np.isin(of, order[:count]))


def _fewest(task: Task, of: Array, order: Array, folds: int) -> int:
    """With how many of the train split's groups, in this order, the task has so many folds. of: each row's group."""
    y, groups = task.targets_by_group()
    if groups is None or not 1 < folds <= most_folds(task):
        return 1
    drawn, others = np.argsort(order)[of], np.ones(len(task.validation), bool)

    def is_enough(count: int) -> bool:
        rows = np.concatenate([drawn < count, others])
        return most_parts(groups[rows], y[rows] if task.kind.classes else None) >= folds

    return 1 + bisect_left(range(1, len(order)), True, key=is_enough)


def share_of(task: Task, share: float, folds: int = 1) -> Task:
    """The task with a share of its train split, above 0 to 1; all else, its constants too, is the task's own."""
    if share == 1:
        return task
    rows = share_rows(task, share, folds)
    digest = hashlib.blake2b(f"{task.digest} {share!r} of its rows".encode(), digest_size=16).hexdigest()
    return replace(task, digest=digest, train=task.train.take(rows))
