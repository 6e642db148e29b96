"""What a linear model makes of a task: the figure a searched network has to beat, on the same splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.tasks.base import Task

MAX_SCALARS = 20_000_000  # of the examples it is fitted on: a few seconds on one core


def linear_baseline(task: Task) -> dict[str, float]:
    """The kind's linear model (logistic regression for classes, ridge for numbers) on normalised, flattened examples.

    Fitted on train and validation together, as the final network is; the metric on the test split, by name. Empty
    where the task is too large for it to take seconds.
    """
    test = task.test_split()
    both = task.whole()
    if both.x.size > MAX_SCALARS:
        return {}
    x, x_test = (task.normalise(split.x).reshape(len(split), -1) for split in (both, test))
    out = task.kind.baseline(x, both.y, x_test, task.outputs)
    return {task.metric: task.measure.value(test.y, out)}
