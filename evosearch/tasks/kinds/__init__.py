"""Kinds of tasks: what targets are, and so how a network is trained on them and judged. One file each.

A kind is a class without arguments in a file of its name (`classification.py` -> `Classification`). A person's own
derives from one of these, or answers the protocol.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from evosearch.errors import TaskError
from evosearch.paths import offer
from evosearch.plugins import class_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from evosearch.ensemble import Averaging
    from evosearch.layers.base import Leaf
    from evosearch.tasks.base import Task
    from evosearch.tasks.metrics import Metric

Array = np.ndarray[Any, np.dtype[Any]]


class LossSettings(Protocol):
    """What a loss asks of the recipe that a network is trained by."""

    @property
    def label_smoothing(self) -> float: ...


@dataclass(frozen=True, eq=False)
class Targets:
    """What all targets of a task have in common.

    outputs: numbers that a network gives for one example. labels: the classes' names in the order of their numbers;
    empty where targets are numbers. mean, std: (outputs,), what normalises targets; zeros and ones where nothing does.
    """

    outputs: int
    labels: tuple[str, ...]
    mean: Array
    std: Array


@dataclass(frozen=True)
class Answer:
    """A function of model.py that answers a batch: its name, what it gives in a sentence, and Python source of that.

    source: with {out} for what the network gave, (B, outputs); may use LABELS, the kind's constants, in capitals, and
    TEMPERATURE, by which logits are divided so that probabilities are as sure as held-out answers were right.
    """

    name: str
    doc: str
    source: str


class Kind(Protocol):
    """What a task's targets are: how they are read, trained on and judged. Holds no state.

    name: what `data.kind` says. classes: whether readers give the numbers of named classes, or numbers.
    metrics: what a network can be judged by; the first is the usual one.
    baseline_name: of the model that `baseline` fits, in words. answers: what model.py can be asked, `predict` first.
    """

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> bool: ...
    @property
    def averaging(self) -> Averaging:
        """How several networks answer as one."""

    @property
    def metrics(self) -> Sequence[Metric]: ...
    @property
    def baseline_name(self) -> str: ...
    @property
    def answers(self) -> Sequence[Answer]: ...

    def store(self, targets: Sequence[tuple[Array, str]], classes: int) -> list[Array]:
        """The targets of all splits as they are kept, each (N,) int64 or (N, outputs) floats.

        targets: (array, file) of each, of the split to train on first; whole numbers (N,) where the kind has classes.
        classes: how many there are, or 0. Raises TaskError with file and row where they are none of this kind.
        """

    def describe(self, name: str, splits: Sequence[Array], labels: Sequence[str]) -> Targets:
        """What the stored targets of train, validation and test have in common, constants from train alone.

        Raises TaskError where there is nothing to learn.
        """

    def strata(self, y: Array) -> Array | None:
        """(N,) numbers of the groups that every part of a cut should have its share of; None for one group."""

    def normalise(self, task: Task, y: Array) -> Array:
        """Stored targets as the loss takes them: int64 classes, else floats."""

    def denormalise(self, task: Task, out: Array) -> Array:
        """What a network gave, (N, outputs), as the metrics take it."""

    def constants(self, task: Task) -> Mapping[str, Array]:
        """The constants that the answers need, by name in small letters."""

    def head(self, task: Task) -> Leaf:
        """The layer behind every network's body, whose output is (outputs,) for one example."""

    def loss(self, out: Tensor, y: Tensor, recipe: LossSettings) -> Tensor:
        """The mean loss of a batch, a scalar: out (B, outputs), y normalised targets."""

    def predict(self, out: Tensor) -> Tensor:
        """What the network's outputs (B, outputs) say: class numbers (B,), or normalised numbers (B, outputs)."""

    def baseline(self, x: Array, y: Array, x_test: Array, outputs: int) -> Array:
        """Outputs (N, outputs) for x_test of a linear model fitted on normalised x (M, D) and stored y, for metrics."""


class Kinds(Mapping[str, Kind]):
    """The kinds by name: the bundled ones and a person's own, which come first. Each is loaded when it is asked for."""

    def __init__(self, own: Mapping[str, Callable[[], Kind]] | None = None) -> None:
        self._own = {} if own is None else own

    def __iter__(self) -> Any:
        bundled = (path.stem for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("_"))
        return iter(sorted({*self._own, *bundled}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, name: str) -> Kind:
        if name in self._own:
            return self._own[name]()
        if name not in set(self):
            raise KeyError(name)
        made: Kind = getattr(importlib.import_module(f"{__name__}.{name}"), class_name(name))()
        return made

    def named(self, name: str) -> Kind:
        """The kind of this name. Raises TaskError with near names where there is none."""
        if name not in self:
            raise TaskError(f"no kind of task named {name!r}; {offer(name, tuple(self))}")
        return self[name]


BUNDLED = Kinds()


def named(own: Mapping[str, Callable[[], Kind]], name: str) -> Kinds:
    """The bundled kinds, and of a person's own the one that is named; each is made without arguments."""
    return Kinds({name: own[name]}) if name in own else BUNDLED


def usual(*, classes: bool) -> Kind:
    """The kind of a task that says none: classification of classes, regression of numbers."""
    return BUNDLED["classification" if classes else "regression"]


FEW = 20  # different whole numbers that are classes where each comes a few times


def are_classes(values: Array) -> bool:
    """Whether whole numbers, (N,), look like classes rather than like amounts.

    Two different ones are; up to 20 are, where each comes three times on average, or twice and they run from 0 or 1
    without a gap; more are, where they do that and come ten times each on average: numbers that are names are given
    from the start on. The diabetes data's 214 values on 442 rows are amounts, and so are ages from 17 to 90.
    """
    known = np.unique(values)
    each = len(values) / max(1, len(known))
    counted = bool(known[0] in (0, 1) and known[-1] - known[0] == len(known) - 1)
    few = len(known) <= FEW
    return len(known) <= 2 or (few and each >= (2 if counted else 3)) or (counted and each >= 10)


def looks(known: Array, rows: int, classes: bool) -> str:
    """What was made of whole numbers and how to say otherwise, in a line; nothing of two classes."""
    if classes and len(known) <= 2:
        return ""
    made, other = ("classes", "regression") if classes else ("numbers to predict", "classification")
    return f"the target's {len(known)} different whole numbers on {rows} rows are {made}; say kind = {other} otherwise"
