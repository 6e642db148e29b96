"""What a trained network answered on the examples that it was judged on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.evaluation import calibration

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task

Array = np.ndarray[Any, np.dtype[Any]]


def without_classes(task: Task) -> str:
    """What a task lacks for a figure of classes."""
    return "" if task.kind.classes else "classes"


def without_gain(task: Task) -> str:
    """What a task lacks for a share of its metric: of an error, less is better."""
    return "" if task.measure.sign > 0 else "metric that is better where it is larger"


def answered(trained: Trained, task: Task) -> tuple[Array, Array] | None:
    """(N, classes) probabilities and the (N,) right classes; None where a task has no classes.

    By folds they are of train and validation together, each answered by a network that was not trained on it.
    """
    if without_classes(task) or trained.outputs is None or trained.outputs.ndim != 2:
        return None
    y = task.validation.y
    if len(trained.outputs) != len(y):
        y = np.concatenate([task.train.y, y])
    return task.kind.averaging.to_average(trained.outputs), y


class CalibrationError(ABC):
    """How far confidence is from accuracy, over bins of predictions. A subclass states `name` and `gap`."""

    name: str
    sign, unit, timed = -1, "share of examples", False
    lacking = staticmethod(without_classes)

    @abstractmethod
    def gap(self, confidences: Array, hits: Array) -> float:
        """The figure for (N,) confidences and whether each prediction is right."""

    def value(self, trained: Trained, task: Task) -> float | None:
        if (found := answered(trained, task)) is None:
            return None
        probabilities, y = found
        return self.gap(calibration.confidence(probabilities), calibration.right(probabilities, y))
