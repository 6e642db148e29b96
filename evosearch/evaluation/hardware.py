"""What a network costs on this machine, measured: time and energy of a call, one measurement at a time."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from evosearch import ranges
from evosearch.errors import ConfigError
from evosearch.ranges import Ge, Gt, Positive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from torch import nn

    from evosearch.architecture import Architecture
    from evosearch.layers.base import Shape
    from evosearch.layers.node import Node

WARM_UP = 10  # calls before the first that is timed
LEAST = 30  # calls that a median is taken of, at the least
RAPL = Path("/sys/class/powercap")
COLUMNS = ("layer", "input", "ms")  # of a table of layers


@dataclass(frozen=True)
class HardwareSettings:
    """How latency and energy are measured, for searches that have them among their objectives.

    batch: examples in a call.
    threads: torch's, on a processor.
    repeats: calls that a figure is the median of, 30 or more.
    table: a file of milliseconds by layer and input shape, for the objective table_latency: of another device, too.
    target: milliseconds that a candidate should take, for the objectives mnas_hard and mnas_soft.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    batch: Positive = 1
    threads: Positive = 1
    repeats: Annotated[int, Ge(LEAST)] = LEAST
    table: str = ""
    target: Annotated[float, Gt(0)] = 1.0

    def __post_init__(self) -> None:
        ranges.check(self, "hardware")


class Spread(NamedTuple):
    """Figures of several calls: the median, and the interquartile range beside it."""

    median: float
    range: float


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """No other measurement of this machine by evosearch meanwhile, whichever process makes it."""
    path = Path(tempfile.gettempdir()) / f"evosearch-measuring-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back


def latency(
    network: nn.Module, shape: Shape, settings: HardwareSettings, clock: Callable[[], float] = time.perf_counter
) -> Spread:
    """Milliseconds of one call in evaluation mode, on the device where the weights are.

    shape: of one example. On a GPU the time between two CUDA events, which no Python is part of.
    """
    x = _examples(network, shape, settings)
    timed = _by_events if x.device.type == "cuda" else _by_clock
    with alone(), _calling(network, settings):
        for _ in range(WARM_UP):
            network(x)
        return spread([1000 * timed(network, x, clock) for _ in range(settings.repeats)])


def spread(values: list[float]) -> Spread:
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Spread(float(median), float(high - low))


def energy(network: nn.Module, shape: Shape, settings: HardwareSettings) -> Spread:
    """Joules of one call, of the whole package or card that is at work: median over so many measurements.

    Each lasts as long as a counter needs to move. Raises ConfigError where nothing here can be read.
    """
    import torch

    x = _examples(network, shape, settings)
    device = x.device
    read = meter(device.type)
    found = []
    with alone(), _calling(network, settings):
        for _ in range(WARM_UP):
            network(x)
        for _ in range(settings.repeats):
            before, calls, begun = read(), 0, time.perf_counter()
            while time.perf_counter() - begun < 0.05:  # RAPL's counters move about a thousand times a second
                network(x)
                calls += 1
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            found.append((read() - before) / calls)
    return spread(found)


def meter(kind: str, folder: Path | None = None) -> Callable[[], float]:
    """A counter of joules: RAPL's of the processor packages, NVML's of the card. Raises ConfigError with the reason."""
    if kind == "cuda":
        return _nvml()
    folder = folder or RAPL
    counters = sorted(folder.glob("intel-rapl:?/energy_uj"))
    if not counters:
        raise ConfigError(f"search.objectives: energy: there are no RAPL counters in {folder}; leave it out here")

    def read() -> float:
        return sum(int(counter.read_text()) for counter in counters) / 1e6

    try:
        read()
    except OSError as error:
        said = f"{counters[0]} cannot be read: {error.strerror}"
        raise ConfigError(f"search.objectives: energy: {said}; let this user read it, or leave it out") from None
    return read


def _nvml() -> Callable[[], float]:
    told = "search.objectives: energy: NVML does not tell what the card takes ({}); leave it out here"
    try:
        import pynvml
    except ImportError as error:
        raise ConfigError(told.format(error)) from None
    try:
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except pynvml.NVMLError as error:  # no driver, a card too old
        raise ConfigError(told.format(error)) from None
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(card)) / 1e3


@contextlib.contextmanager
def _calling(network: nn.Module, settings: HardwareSettings) -> Iterator[None]:
    """The network in evaluation mode, without gradients, on the threads asked for; afterwards as it was."""
    import torch

    training, threads = network.training, torch.get_num_threads()
    network.eval()
    torch.set_num_threads(settings.threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
        network.train(training)


def _by_clock(network: nn.Module, x: torch.Tensor, clock: Callable[[], float]) -> float:
    begun = clock()
    network(x)
    return clock() - begun


def _by_events(network: nn.Module, x: torch.Tensor, _: Callable[[], float]) -> float:
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch's __new__ has no types
    start.record()
    network(x)
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def _examples(network: nn.Module, shape: Shape, settings: HardwareSettings) -> torch.Tensor:
    """A call's input, where the weights are and in their type."""
    import torch

    weight = next(network.parameters(), torch.empty(0))
    return weight.new_zeros(settings.batch, *shape)


# --- tables of layers ------------------------------------------------------------------------------------------------


class LayerTable:
    """Milliseconds of layers by their words and input shapes; a network's latency is their sum."""

    def __init__(self, rows: Mapping[tuple[str, str], float], name: str) -> None:
        self.rows, self.name = rows, name

    def latency(self, architecture: Architecture) -> float:
        """Milliseconds. Raises ConfigError where the table lacks a layer of it."""
        total = 0.0
        for row in layers_of(architecture):
            if row not in self.rows:
                raise ConfigError(f"{self.name}: no row for {row[0]} at {row[1]}; measure it there, and add it")
            total += self.rows[row]
        return total


def layers_of(architecture: Architecture) -> list[tuple[str, str]]:
    """(words, input shape) of every leaf, as a table has them: `conv 16, 3, 1` at `1 28 28`; once for each use."""
    return [row for row, _ in _leaves(architecture)]


def _leaves(architecture: Architecture) -> Iterator[tuple[tuple[str, str], Node]]:
    """Every leaf with its row of a table."""
    from evosearch.layers.base import described

    stack = [n for n in (architecture.stem, architecture.root, architecture.head) if n is not None]
    while stack:
        node = stack.pop()
        stack += node.parts
        if not node.parts:
            yield (described(node.layer), " ".join(map(str, node.inputs))), node


def read_table(path: Path) -> LayerTable:
    """The table in a CSV file with the columns layer, input and ms. Raises ConfigError with the line."""
    rows: dict[tuple[str, str], float] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if set(COLUMNS) - set(reader.fieldnames or ()):
                raise ConfigError(f"{path}:1: a table of layers has the columns {', '.join(COLUMNS)}")
            for record in reader:
                try:
                    rows[record["layer"], record["input"]] = float(record["ms"])
                except (TypeError, ValueError):
                    raise ConfigError(f"{path}:{reader.line_num}: ms is {record['ms']!r}; it is a number") from None
    except OSError as error:
        raise ConfigError(f"hardware.table: {path}: cannot be read: {error.strerror}; name a CSV file") from None
    return LayerTable(rows, str(path))


def write_table(rows: Mapping[tuple[str, str], Spread], path: Path) -> None:
    """A table as `read_table` reads it, with the interquartile range in a column of its own."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*COLUMNS, "iqr"))
        writer.writerows((*row, f"{found.median:.6g}", f"{found.range:.3g}") for row, found in sorted(rows.items()))


def measured_layers(architectures: list[Architecture], settings: HardwareSettings) -> dict[tuple[str, str], Spread]:
    """Each different leaf of the architectures, built by itself and timed once on this machine."""
    from evosearch import network
    from evosearch.architecture import Architecture as Alone

    nodes: dict[tuple[str, str], tuple[Node, Architecture]] = {}
    for one in architectures:
        for row, node in _leaves(one):
            nodes.setdefault(row, (node, one))
    return {
        row: latency(network.build(Alone(node, node.inputs, "", one.derivation)), node.inputs, settings)
        for row, (node, one) in nodes.items()
    }


__all__ = [
    "HardwareSettings",
    "LayerTable",
    "Spread",
    "alone",
    "energy",
    "latency",
    "layers_of",
    "measured_layers",
    "meter",
    "read_table",
    "spread",
    "write_table",
]
