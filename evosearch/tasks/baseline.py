"""What a linear model makes of a task: the figure a searched network has to beat, on the same splits."""

from __future__ import annotations

import warnings

import numpy as np

from evosearch.tasks.base import Split, Task
from evosearch.tasks.metrics import METRICS

MAX_SCALARS = 20_000_000  # of the examples it is fitted on: a few seconds on one core


def linear_baseline(task: Task) -> dict[str, float]:
    """Logistic regression (classes) or ridge regression (targets) on normalised, flattened examples.

    Fitted on train and validation together, as the final network is; the metric on the test split, by name. Empty
    where the task is too large for it to take seconds.
    """
    test = task.test_split()
    both = Split(np.concatenate([task.train.x, task.validation.x]), np.concatenate([task.train.y, task.validation.y]))
    if both.x.size > MAX_SCALARS:
        return {}
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    x, x_test = (task.normalise(split.x).reshape(len(split), -1) for split in (both, test))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline that is not quite converged is still one
        model = LogisticRegression(max_iter=1000) if task.kind == "classification" else Ridge()
        predicted = model.fit(x, both.y).predict(x_test)
    predicted = predicted.reshape(test.y.shape)
    return {task.metric: METRICS[task.metric].value(test.y, predicted, task.outputs)}
