"""MnasNet's reward: the metric, times target / latency where that is above the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation.measures.latency import spread_of

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.evaluation.hardware import HardwareSettings
    from evosearch.tasks.base import Task


class MnasHard:
    """Tan et al. 2019 (arXiv 1807.11626), equation 2, for metrics that are to be large; [hardware] target in ms."""

    name, sign, unit, timed = "mnas_hard", 1, "reward", True

    def __init__(self, settings: HardwareSettings) -> None:
        self.settings = settings

    def value(self, trained: Trained, task: Task) -> float | None:
        if task.measure.sign < 0:
            return None
        assert trained.network is not None
        taken = spread_of(trained.network, task, self.settings).median
        return float(trained.metric * min(1.0, self.settings.target / taken))
