"""Bytes that inference on one example takes at most: what is live at once, and the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Memory:
    """Counted, as `limits.max_memory` counts it; see Architecture.memory."""

    name, sign, unit, timed = "memory", -1, "bytes", False

    def value(self, trained: Trained, task: Task) -> float | None:
        del task
        return None if trained.architecture is None else float(trained.architecture.memory)
