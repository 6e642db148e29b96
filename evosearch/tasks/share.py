"""A task with fewer rows to train on: a cheaper evaluation, whose figure is of the same held-out rows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evosearch.tasks.base import Split, Task

if TYPE_CHECKING:
    from evosearch.tasks.base import Array


SEED = 0


def share_rows(task: Task, share: float) -> Array:
    """Row numbers of a share of the train split, rising: one at the least, drawn by class, the same each time.

    The rows of a smaller share are among those of a larger one.
    """
    rows = len(task.train)
    strata = task.kind.strata(task.train.y)
    labels = np.zeros(rows, dtype=int) if strata is None else strata
    rng, place = np.random.default_rng(SEED), np.zeros(rows)
    for label in np.unique(labels):
        group = rng.permutation(np.flatnonzero(labels == label))
        place[group] = (np.arange(len(group)) + 0.5) / len(group)  # the first rows by this have all classes alike
    return np.sort(np.argsort(place, kind="stable")[: max(1, round(share * rows))])


def share_of(task: Task, share: float) -> Task:
    """The task with a share of its train split, above 0 to 1; all else, its constants too, is the task's own."""
    if share == 1:
        return task
    rows = share_rows(task, share)
    digest = hashlib.blake2b(f"{task.digest} {share!r} of its rows".encode(), digest_size=16).hexdigest()
    return replace(task, digest=digest, train=Split(task.train.x[rows], task.train.y[rows]))
