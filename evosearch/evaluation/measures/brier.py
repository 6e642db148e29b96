"""The Brier score: the mean squared distance of probabilities from what was right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation import calibration
from evosearch.evaluation.measures.judged import answered, without_classes

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Brier:
    name, sign, unit, timed = "brier", -1, "squared distance", False
    lacking = staticmethod(without_classes)

    def value(self, trained: Trained, task: Task) -> float | None:
        if (found := answered(trained, task)) is None:
            return None
        return calibration.brier(*found)
