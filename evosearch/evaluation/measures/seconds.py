"""Wall-clock time of the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Seconds:
    name, sign, unit, timed = "seconds", -1, "seconds of its evaluation", True

    def value(self, trained: Trained, task: Task) -> float | None:
        return trained.score.seconds
