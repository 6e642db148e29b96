"""Layers built, each copy of a repeated part counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Modules:
    name, sign, unit, timed = "modules", -1, "layers", False

    def value(self, trained: Trained, task: Task) -> float | None:
        return float(trained.score.cost.modules)
