"""Milliseconds of one call on this machine, measured after the training."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from evosearch.evaluation import hardware
from evosearch.evaluation.measures.judged import without_gain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from evosearch.evaluation.fit import Trained
    from evosearch.evaluation.hardware import HardwareSettings, Spread
    from evosearch.tasks.base import Task

_timed: weakref.WeakKeyDictionary[nn.Module, Spread] = weakref.WeakKeyDictionary()


class Latency:
    """The median of [hardware] repeats; the interquartile range, threads and batch are reported beside it."""

    name, sign, unit, timed = "latency", -1, "ms", True

    def __init__(self, settings: HardwareSettings) -> None:
        self.settings = settings

    def value(self, trained: Trained, task: Task) -> float | None:
        assert trained.network is not None
        return spread_of(trained.network, task, self.settings).median

    def beside(self, trained: Trained, task: Task) -> Mapping[str, float]:
        assert trained.network is not None
        found = spread_of(trained.network, task, self.settings)
        settings = {"latency_threads": float(self.settings.threads), "latency_batch": float(self.settings.batch)}
        return {"latency_iqr": found.range, **settings}


def spread_of(network: nn.Module, task: Task, settings: HardwareSettings) -> Spread:
    """Measured once for each trained network, however many objectives ask."""
    if network not in _timed:
        _timed[network] = hardware.latency(network, task.input_shape, settings)
    return _timed[network]


class Reward(ABC):
    """The task's metric, times a share that the latency decides; for metrics that are to be large, None of others.

    A subclass states its `name` and `share`.
    """

    name: str
    sign, unit, timed = 1, "reward", True
    lacking = staticmethod(without_gain)

    def __init__(self, settings: HardwareSettings) -> None:
        self.settings = settings

    @abstractmethod
    def share(self, taken: float) -> float:
        """What is left of the metric at a latency, in ms."""

    def value(self, trained: Trained, task: Task) -> float | None:
        if without_gain(task):
            return None
        assert trained.network is not None
        return float(trained.metric * self.share(spread_of(trained.network, task, self.settings).median))
