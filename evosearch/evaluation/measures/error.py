"""What a metric leaves to 1 that is a share of right answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Error:
    name, sign, unit, timed = "error", -1, "share of examples", False

    def value(self, trained: Trained, task: Task) -> float | None:
        return 1 - trained.metric
