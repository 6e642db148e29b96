"""Milliseconds by a table of layers, measured here or on another device: [hardware] table."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from evosearch.errors import ConfigError
from evosearch.evaluation import hardware

if TYPE_CHECKING:
    from evosearch.evaluation.fit import Trained
    from evosearch.evaluation.hardware import HardwareSettings, LayerTable
    from evosearch.tasks.base import Task


class TableLatency:
    """The sum over a network's layers; it says the same each time, and nothing of what a device does between layers."""

    name, sign, unit, timed = "table_latency", -1, "ms", False

    def __init__(self, settings: HardwareSettings) -> None:
        self.settings = settings

    @cached_property
    def table(self) -> LayerTable:
        if not self.settings.table:
            raise ConfigError("search.objectives: table_latency: say which table: hardware.table = FILE.csv")
        return hardware.read_table(Path(self.settings.table))

    @property
    def version(self) -> str:
        """What its figures hang on beside the network: what the table says, not where it lies."""
        _ = self.table  # an error of its own where there is none
        digest = hashlib.blake2b(Path(self.settings.table).read_bytes(), digest_size=16).hexdigest()
        return repr(replace(self.settings, table=digest))

    def require(self, device: str) -> None:
        """Raise ConfigError where there is no table to read."""
        del device
        _ = self.table

    def value(self, trained: Trained, task: Task) -> float | None:
        del task
        return None if trained.architecture is None else self.table.latency(trained.architecture)
