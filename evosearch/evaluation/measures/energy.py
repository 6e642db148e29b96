"""Joules of one call on this machine, where its counters can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.evaluation import hardware

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.evaluation.hardware import HardwareSettings
    from evosearch.tasks.base import Task


class Energy:
    """By RAPL or NVML: of the whole package or card. Where neither can be read a search for it is refused."""

    name, sign, unit, timed = "energy", -1, "J", True

    def __init__(self, settings: HardwareSettings) -> None:
        self.settings = settings

    def require(self, device: str) -> None:
        """Raise ConfigError, with the reason, where there is no counter to read."""
        hardware.meter(device.partition(":")[0])

    def value(self, trained: Trained, task: Task) -> float | None:
        assert trained.network is not None
        return hardware.energy(trained.network, task.input_shape, self.settings).median
