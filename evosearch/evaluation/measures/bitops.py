"""Bit operations of one example: multiply-accumulates, each times the bits of both sides; see evosearch.cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Bitops:
    name, sign, unit, timed = "bitops", -1, "bit operations", False

    def value(self, trained: Trained, task: Task) -> float | None:
        return float(trained.score.cost.bitops)
