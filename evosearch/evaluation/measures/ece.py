"""How far confidence is from accuracy: the expected calibration error, 15 equally wide bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation import calibration
from evosearch.evaluation.measures.judged import answered, without_classes

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Ece:
    name, sign, unit, timed = "ece", -1, "share of examples", False
    lacking = staticmethod(without_classes)

    def value(self, trained: Trained, task: Task) -> float | None:
        if (found := answered(trained, task)) is None:
            return None
        probabilities, y = found
        confidences, hits = calibration.confidence(probabilities), calibration.right(probabilities, y)
        return calibration.ece(confidences, hits)
