"""The expected calibration error over 15 bins with equally many predictions each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation import calibration
from evosearch.evaluation.measures.judged import answered, without_classes

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class AdaptiveEce:
    name, sign, unit, timed = "adaptive_ece", -1, "share of examples", False
    lacking = staticmethod(without_classes)

    def value(self, trained: Trained, task: Task) -> float | None:
        if (found := answered(trained, task)) is None:
            return None
        probabilities, y = found
        confidences, hits = calibration.confidence(probabilities), calibration.right(probabilities, y)
        return calibration.adaptive_ece(confidences, hits)
