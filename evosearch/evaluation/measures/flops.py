"""Twice the multiply-accumulates of one example, forward; see evosearch.cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Flops:
    name, sign, unit, timed = "flops", -1, "FLOPs of one example", False

    def value(self, trained: Trained, task: Task) -> float | None:
        return float(trained.score.cost.flops)
