"""Trainable scalars, the head's included."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Params:
    name, sign, unit, timed = "params", -1, "parameters", False

    def value(self, trained: Trained, task: Task) -> float | None:
        return float(trained.score.cost.params)
