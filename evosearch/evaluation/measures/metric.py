"""The task's metric on the validation split, after the last epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


@dataclass(frozen=True)
class Metric:
    name: str
    sign: int
    unit: ClassVar[str] = ""
    timed: ClassVar[bool] = False

    def value(self, trained: Trained, task: Task) -> float | None:
        return trained.metric
