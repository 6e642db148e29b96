"""The mean negative logarithm of the right class's probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation import calibration
from evosearch.evaluation.measures.judged import answered, without_classes

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class LogLoss:
    name, sign, unit, timed = "log_loss", -1, "nats", False
    lacking = staticmethod(without_classes)

    def value(self, trained: Trained, task: Task) -> float | None:
        if (found := answered(trained, task)) is None:
            return None
        return calibration.log_loss(*found)
