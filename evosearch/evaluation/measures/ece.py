"""How far confidence is from accuracy: the expected calibration error, 15 equally wide bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation import calibration
from evosearch.evaluation.measures.judged import CalibrationError

if TYPE_CHECKING:
    from evosearch.evaluation.measures.judged import Array


class Ece(CalibrationError):
    name = "ece"

    def gap(self, confidences: Array, hits: Array) -> float:
        return calibration.ece(confidences, hits)
