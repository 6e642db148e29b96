"""What an export format is, and what it is given.

Every format takes a batch of normalised examples, (batch, *input) float32, with the batch size free, and gives
(batch, outputs). What its users need to know besides (normalisation, labels, the sentence) is in the file's metadata.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from evosearch.ensemble import Ensemble
from evosearch.results import described

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from evosearch.architecture import Architecture
    from evosearch.tasks import Task

Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Array], Array]  # examples (batch, *input) -> (batch, outputs)

TRACED = 3  # the batch size that exporters see


@dataclass(frozen=True)
class Original:
    """What is exported: a network on the CPU in evaluation mode, what it was made from, and the task it was made for.

    architecture: an ensemble where several networks answer as one.
    task: None for a part of a network, which has no head and no examples.
    temperature: by which logits are divided for probabilities; the network gives them as they are.
    """

    architecture: Architecture | Ensemble
    network: nn.Module
    task: Task | None
    temperature: float = 1.0


class Format(Protocol):
    """A format that a network can be written in.

    suffix: of its files. use: how a person loads one, with the file's name in place of {name}. exact: whether it
    computes what the network does, but for rounding; else only examples of the task are compared, by a wider measure.
    """

    suffix: str
    use: str
    exact: bool

    def require(self) -> None:
        """Raise ExportError where a package that it needs is not installed."""

    def write(self, original: Original) -> bytes:
        """A file's content."""

    def read(self, original: Original, path: Path) -> Run:
        """The file as a function; of the original it takes what the format does not hold."""


@runtime_checkable
class Simulated(Protocol):
    """A format whose numbers are not floats: what it computes can be computed in floats, too."""

    def simulated(self, path: Path) -> Run:
        """The file's network with every quantised number as the float it stands for, each operation in floats."""


def description(original: Original) -> dict[str, Any]:
    """What a user of the file needs to know beside it, as plain data: the files' metadata under the key `evosearch`."""
    architecture, task = original.architecture, original.task
    found: dict[str, Any] = {
        "version": metadata.version("evosearch"),
        "architecture": architecture.text,
        "input": list(architecture.input),
    }
    if isinstance(architecture, Ensemble):
        found["members"] = architecture.described()
    if task is not None:
        found |= described(task, original.temperature)
    return found


def runner(module: nn.Module) -> Run:
    """A module as a function of arrays."""
    import torch

    def run(x: Array) -> Array:
        with torch.no_grad():
            out: Array = module(torch.from_numpy(x)).numpy()
        return out

    return run


def traced(original: Original) -> tuple[torch.Tensor, Any]:
    """An example for an exporter, and which of its axes is free."""
    import torch

    x = torch.zeros(TRACED, *original.architecture.input)
    return x, ({0: torch.export.Dim("batch")},)
