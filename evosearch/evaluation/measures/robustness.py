"""The task's metric on validation examples with noise on them: how much of it stays off the clean data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evosearch.evaluation.measures.judged import without_gain
from evosearch.evaluation.measures.piece import features

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task

NOISE = 0.5  # of the deviation over the train split


class Robustness:
    """The same noise for every candidate: normal, half a deviation, on every number of the normalised examples.

    By folds of the last one's network, on that fold.
    """

    name, sign, unit, timed = "robustness", 1, "metric under noise", False
    lacking = staticmethod(without_gain)

    def value(self, trained: Trained, task: Task) -> float | None:
        if trained.network is None or without_gain(task):
            return None
        task = trained.fold or task  # the rows that this very network was not trained on
        x = task.normalise(task.validation.x)
        noise = np.random.default_rng(0).standard_normal(x.shape, dtype=np.float32) * NOISE
        _, out = features(trained.network, x + noise)
        return task.judge(task.validation.y, out)
