"""MnasNet's reward: metric * (latency / target)^-0.07."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation.measures.latency import spread_of

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.evaluation.hardware import HardwareSettings
    from evosearch.tasks.base import Task

WEIGHT = -0.07  # so that twice the time is worth 5 % of the metric, as the paper found on its devices


class MnasSoft:
    """Tan et al. 2019 (arXiv 1807.11626), equation 2, for metrics that are to be large; [hardware] target in ms."""

    name, sign, unit, timed = "mnas_soft", 1, "reward", True

    def __init__(self, settings: HardwareSettings) -> None:
        self.settings = settings

    def value(self, trained: Trained, task: Task) -> float | None:
        if task.measure.sign < 0:
            return None
        assert trained.network is not None
        taken = spread_of(trained.network, task, self.settings).median
        return float(trained.metric * (taken / self.settings.target) ** WEIGHT)
