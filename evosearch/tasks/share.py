"""A task with fewer rows to train on: a cheaper evaluation, whose figure is of the same held-out rows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evosearch.tasks.groups import tallied

if TYPE_CHECKING:
    from evosearch.tasks.base import Array, Task


SEED = 0


def share_rows(task: Task, share: float) -> Array:
    """Row numbers of a share of the train split, rising: one at the least, drawn by class, the same each time.

    The rows of a smaller share are among those of a larger one. Of groups whole ones are drawn, each by the class of
    most of its rows: one at the least, else no more rows than the share.
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
    count = np.searchsorted(np.bincount(of)[order].cumsum(), round(share * rows), side="right")
    return np.flatnonzero(np.isin(of, order[: max(1, count)]))


def share_of(task: Task, share: float) -> Task:
    """The task with a share of its train split, above 0 to 1; all else, its constants too, is the task's own."""
    if share == 1:
        return task
    rows = share_rows(task, share)
    digest = hashlib.blake2b(f"{task.digest} {share!r} of its rows".encode(), digest_size=16).hexdigest()
    return replace(task, digest=digest, train=task.train.take(rows))
