"""Scalars saved for the backward pass of one example; see evosearch.cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Activations:
    name, sign, unit, timed = "activations", -1, "scalars saved of one example", False

    def value(self, trained: Trained, task: Task) -> float | None:
        return float(trained.score.cost.activations)
