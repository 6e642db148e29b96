"""The expected calibration error over 15 bins with equally many predictions each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation import calibration
from evosearch.evaluation.measures.judged import CalibrationError

if TYPE_CHECKING:
    from evosearch.evaluation.measures.judged import Array


class AdaptiveEce(CalibrationError):
    name = "adaptive_ece"

    def gap(self, confidences: Array, hits: Array) -> float:
        return calibration.adaptive_ece(confidences, hits)
