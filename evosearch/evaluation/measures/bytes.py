"""What the weights take, each in its format; see evosearch.cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Bytes:
    name, sign, unit, timed = "bytes", -1, "bytes", False

    def value(self, trained: Trained, task: Task) -> float | None:
        return float(trained.score.cost.bytes)
