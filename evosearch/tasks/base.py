"""What a task is: data, its splits, and the metric a candidate is judged by."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.groups import cut_groups
from evosearch.tasks.kinds import BUNDLED
from evosearch.tasks.metrics import metric_of
from evosearch.tasks.rows import channel_axes, moments, require_near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evosearch.grammar.core import Derivation
    from evosearch.layers.base import Shape
    from evosearch.score import Score
    from evosearch.tasks.kinds import Kind
    from evosearch.tasks.metrics import Metric

Array = np.ndarray[Any, np.dtype[Any]]
Value = str | int | float | bool  # a label in its own type


@dataclass(frozen=True)
class TaskSettings:
    """How a task is read from its files. The defaults do for most.

    target: the CSV column to predict, by name or by number from 0; the last one where empty.
    drop: CSV columns to leave out, likewise.
    words: CSV columns that hold words whatever they look like, likewise: numbers that are names, as postal codes are.
    header: whether a CSV's first row names its columns; `auto` looks at it.
    separator: what stands between a CSV's cells; where empty, whichever of comma, semicolon, tab and bar fits.
    decimal: what stands before the decimals of a CSV's numbers, `.` or `,`; the other one may then stand between
        groups of three digits: with `,` are `1.877` and `1.348,22` numbers over a thousand. Where empty, a column's
        numbers have a point, or commas that can be nothing else, and what may be either is an error.
    encoding: of text files, as Python calls it; UTF-8, or what a byte-order mark says, where empty.
    kind: classification, regression or a kind of the user's own; `auto` takes words for classes, and whole numbers of
        which there are few different ones, or that are counted from 0 or 1; other numbers are what is to be predicted.
    metric: one of the kind's: accuracy, balanced_accuracy, macro_f1, auc, log_loss; r2, mse, rmse,
        mae. The kind's first where empty.
    validation, test: shares of the data for splits that the files do not bring.
    split_seed: the seed of those splits.
    groups: the CSV column, or the array, whose equal values mark rows that belong together, as all of one patient do:
        such rows are never in two of the splits, or folds, that are made. It is nothing that a network sees.
    size: pixels of a side, to which images of a folder are scaled and cropped to a square; 0: as they are.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    target: str = ""
    drop: tuple[str, ...] = ()
    header: Literal["auto", "yes", "no"] = "auto"
    separator: str = field(default="", metadata={"neutral": ""})
    encoding: str = field(default="", metadata={"neutral": ""})
    kind: str = "auto"
    metric: str = ""
    validation: float = 0.2
    test: float = 0.2
    split_seed: int = 0
    size: int = field(default=0, metadata={"neutral": 0})
    decimal: Literal["", ".", ","] = field(default="", metadata={"neutral": ""})
    words: tuple[str, ...] = field(default=(), metadata={"neutral": ()})
    groups: str = field(default="", metadata={"neutral": ""})

    def __post_init__(self) -> None:
        if not (0 < self.validation < 1 and 0 < self.test < 1 and self.validation + self.test < 1):
            raise TaskError(
                f"validation={self.validation} and test={self.test} leave nothing to train on; "
                "both must be above 0 and together below 1"
            )
        if self.separator and not re.fullmatch(r"[ \t!#-/:-@\[-`{-~]", self.separator):
            raise TaskError(
                f"data.separator is {self.separator!r}; it is one character of ASCII, "
                "no letter, digit, quote or line's end"
            )
        if self.size < 0:
            raise TaskError(f"data.size is {self.size}; it is the pixels of a side, or 0 for images as they are")


DEFAULTS = TaskSettings()


@dataclass(frozen=True)
class Reading:
    """What a reader of files is told: the settings, and the kind of task they name; None: as the data say."""

    settings: TaskSettings = DEFAULTS
    kind: Kind | None = None


class AnyTask(Protocol):
    """What the search asks of every task."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str:
        """32 hex digits; changes when the data, a split or the metric does."""

    @property
    def input_shape(self) -> Shape | None:
        """One example's shape; None where candidates are not networks."""

    @property
    def metric(self) -> str:
        """The name of the objective that is the fitness."""


@runtime_checkable
class DirectTask(AnyTask, Protocol):
    """A task that scores a sentence itself, without a network: a function, or a table of recorded figures."""

    @property
    def signs(self) -> Mapping[str, int]:
        """Names of objectives that its scores have, to 1 where larger is better, -1 where smaller is, 0 where nobody
        said. A score's objectives may be named with their signs too: `-tokens`.
        """

    @property
    def own_code(self) -> bool:
        """Whether evaluating runs a person's code, which may do anything to its process."""

    @property
    def uses_derivation(self) -> bool:
        """Whether `evaluate` looks at the derivation; where it does not, none is parsed for it."""

    @property
    def fidelities(self) -> Sequence[float]:
        """The shares of a whole evaluation at which it can score, rising, below 1."""

    def at(self, fidelity: float) -> DirectTask:
        """The task that scores at a share of a whole evaluation; itself where it knows no shares. Raises TaskError."""

    def evaluate(self, text: str, derivation: Derivation | None, key: str, seed: int) -> Score:
        """The candidate's score. Deterministic in its arguments."""


@dataclass(frozen=True, eq=False)
class Split:
    """Examples x, (N, *input_shape) in stored dtype, and targets y: (N,) int64 classes or (N, outputs) floats.

    groups: (N,) int64 numbers that rows which belong together share, in all splits of a task; None where each row is
    by itself.
    """

    x: Array
    y: Array
    groups: Array | None = None

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise TaskError(f"{len(self.x)} examples but {len(self.y)} targets")

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Array) -> Split:
        """The examples of these row numbers, in their order."""
        return Split(self.x[rows], self.y[rows], None if self.groups is None else self.groups[rows])


@dataclass(frozen=True, eq=False)
class Task:
    """A data set cut into train, validation and test, with what training needs to know of it.

    input_shape: one example's shape, (C, H, W), (S, D) or (D,).
    kind: what the targets are. metric: the name of the kind's metric that is the fitness.
    outputs: number of classes, or of numbers to predict.
    labels: the classes' names in the order of their numbers; empty where targets are numbers.
    mean, std: normalisation constants of x, from the train split alone, broadcastable to input_shape; float32, or
        float64 where examples have to be centred and scaled in that.
    target_mean, target_std: (outputs,), likewise of y; zeros and ones for classes.
    images: whether mirrored and shifted examples are still examples (image augmentation may be used).
    values: the labels in their own type; empty where targets are numbers.
    columns: of a table, as `evosearch.tasks.encode` describes them; empty where examples are arrays.
    names, target: of all columns of the table's files, in their order; of the one that is predicted. Empty likewise.
    notes: what its reader has to tell, a line each.
    pixels: how image files are read, as `evosearch.tasks.images` calls it; empty where examples are no such files.
    size: of a side to which these are scaled, 0: as they are.
    drawn: whether the validation split was drawn at random from the rows to train on, so that another draw is as good.
    masked: of series of unequal length, that the last number of a step is 1 where the series is still there and 0
        behind its end; it is not normalised.
    """

    name: str
    digest: str
    kind: Kind
    metric: str
    input_shape: Shape
    outputs: int
    labels: tuple[str, ...]
    train: Split
    validation: Split
    mean: Array
    std: Array
    target_mean: Array
    target_std: Array
    images: bool
    values: tuple[Value, ...]
    columns: tuple[Mapping[str, Any], ...]
    names: tuple[str, ...]
    target: str
    notes: tuple[str, ...]
    pixels: str
    size: int
    drawn: bool
    masked: bool
    _test: Split = field(repr=False)

    def whole(self) -> Split:
        """The train and validation rows together, train first: a copy."""
        x, (y, groups) = np.concatenate([self.train.x, self.validation.x]), self.targets_by_group()
        return Split(x, y, groups)

    def targets_by_group(self) -> tuple[Array, Array | None]:
        """Targets and groups of the train and validation rows together, train first."""
        groups = self.train.groups, self.validation.groups
        together = None if groups[0] is None or groups[1] is None else np.concatenate([groups[0], groups[1]])
        return np.concatenate([self.train.y, self.validation.y]), together

    def test_split(self) -> Split:
        """The held-out examples. Only the final training asks for them, once."""
        return self._test

    def normalise(self, x: Array) -> Array:
        """Stored examples as float32, centred and scaled by the train split's constants."""
        return np.asarray((x.astype(self.mean.dtype) - self.mean) / self.std, dtype=np.float32)

    @property
    def measure(self) -> Metric:
        """The metric itself."""
        return metric_of(self.kind.metrics, self.kind.name, self.metric)

    def summary(self, folds: int = 1) -> list[str]:
        """What was made of the data, in lines: kind, metric, classes, shape and rows first, then its reader's notes.

        folds: that candidates are judged by, as in `recipe.folds`; of all rows but those to test.
        """
        shown = ", ".join(self.labels[:8]) + (", ..." if len(self.labels) > 8 else "")
        goal = (
            f"{self.outputs} classes ({shown})"
            if self.labels
            else "one number"
            if self.outputs == 1
            else f"{self.outputs} numbers"
        )
        of = f" of '{self.target}'" if self.target else ""
        train, held_out, test = (len(split) for split in (self.train, self.validation, self._test))
        rows = (
            f"{train:,} rows to train on, {held_out:,} to judge on, {test:,} to test"
            if folds == 1
            else f"{train + held_out:,} rows to train and judge on by {folds} folds, {test:,} to test"
        )
        shape = "x".join(map(str, self.input_shape))
        table = ""
        if self.columns:
            numbers, words, dates = (
                sum(column["type"] == kind for column in self.columns) for kind in ("number", "category", "date")
            )
            table = f" from {numbers} columns of numbers and {words} of words"
            table += f", {dates} of dates" if dates else ""
        return [
            f"{self.kind.name}{of} by {self.metric}: {goal}",
            f"examples of {shape} numbers{table}; {rows}",
            *self.notes,
        ]

    def description(self) -> dict[str, Any]:
        """What a user of a network needs to know of its examples and answers, as plain data that JSON can hold.

        input: one example's shape. labels: the classes in their own type. columns, names, target: of a table, for
        `evosearch.tasks.encode`. mean, std: to normalise encoded examples. constants: the names of those that the
        kind's answers need, which stand beside; target_mean, target_std where these are numbers.
        circular: of series, that short ones begin again. masked, pixels, size: of image files, as in Task.
        """
        mine = self.kind.constants(self)
        constants = {"mean": self.mean, "std": self.std, **mine}
        return {
            "task": self.name,
            "kind": self.kind.name,
            "metric": self.metric,
            "input": list(self.input_shape),
            "outputs": self.outputs,
            "labels": list(self.values),
            "columns": [dict(column) for column in self.columns],
            "names": list(self.names),
            "target": self.target,
            "constants": sorted(mine),
            **({"circular": True} if len(self.input_shape) == 2 else {}),
            **({"masked": True} if self.masked else {}),
            **({"pixels": self.pixels, "size": self.size} if self.pixels else {}),
            **{name: np.asarray(values, np.float64).tolist() for name, values in constants.items()},
        }

    def judge(self, y: Array, out: Array) -> float:
        """The metric's value: y (N, ...) stored targets, out (N, outputs) what the network gave for their examples."""
        return self.measure.value(y, self.kind.denormalise(self, out))


def make_task(
    name: str,
    train: Split,
    validation: Split,
    test: Split,
    *,
    kind: Kind | str,
    metric: str = "",
    labels: tuple[str, ...] = (),
    images: bool = False,
    values: Sequence[Value] = (),
    columns: Sequence[Mapping[str, Any]] = (),
    names: Sequence[str] = (),
    target: str = "",
    notes: Sequence[str] = (),
    pixels: str = "",
    size: int = 0,
    drawn: bool = False,
    masked: bool = False,
) -> Task:
    """A task from its three splits: constants from the train split, digest over all of it.

    kind: what the targets are, or the name of a bundled kind. Raises TaskError where the splits' shapes differ, one is
    empty, or there is nothing to learn.
    """
    kind = BUNDLED.named(kind) if isinstance(kind, str) else kind
    metric = metric_of(kind.metrics, kind.name, metric).name
    require_one_shape(name, [split.x for split in (train, validation, test)])
    for title, split in (("train", train), ("validation", validation), ("test", test)):
        if not len(split):
            raise TaskError(f"{name}: the {title} split is empty; give more data or larger shares")
    shape = tuple(int(n) for n in train.x.shape[1:])
    if not 1 <= len(shape) <= 3 or 0 in shape:
        raise TaskError(f"{name}: an example has shape {shape}; use (C, H, W), (S, D) or (D,)")
    targets = kind.describe(name, [split.y for split in (train, validation, test)], labels)
    mean, std = constants(train.x, masked=masked)
    for title, split in (("train", train), ("validation", validation), ("test", test)):
        require_near(split.x, mean, std, channel_axes(split.x.ndim), f"{name}: the {title} split")
        require_near(split.y, targets.mean, targets.std, (0,), f"{name}: the {title} split's targets")
    mean, std = (array[:, None, None] if len(shape) == 3 else array for array in (mean, std))
    return Task(
        name=name,
        digest=_digest(kind.name, metric, targets.labels, (train, validation, test)),
        kind=kind,
        metric=metric,
        input_shape=shape,
        outputs=targets.outputs,
        labels=targets.labels,
        train=train,
        validation=validation,
        mean=mean,
        std=std,
        target_mean=targets.mean,
        target_std=targets.std,
        images=images and len(shape) == 3,
        values=_padded(values, targets.labels),
        columns=tuple(columns),
        names=tuple(names),
        target=target,
        notes=tuple(notes),
        pixels=pixels,
        size=size,
        drawn=drawn,
        masked=masked,
        _test=test,
    )


def constants(x: Array, *, masked: bool) -> tuple[Array, Array]:
    """Mean and deviation of each channel, dimension or number of examples; 0 and 1 of a last number that is a mark."""
    mean, std = moments(x, channel_axes(x.ndim))
    if masked:
        mean[-1], std[-1] = 0, 1
    return mean, std


def _padded(values: Sequence[Value], labels: tuple[str, ...]) -> tuple[Value, ...]:
    """A value for each label: those given, or the labels themselves."""
    return tuple(values) if len(values) == len(labels) else labels


def require_one_shape(name: str, x: Iterable[Array]) -> None:
    """Raise TaskError where the splits' examples differ in shape."""
    shapes = {part.shape[1:] for part in x}
    if len(shapes) > 1:
        raise TaskError(f"{name}: the splits' examples differ in shape: {', '.join(map(str, sorted(shapes)))}")


def _digest(kind: str, metric: str, labels: tuple[str, ...], splits: tuple[Split, ...]) -> str:
    digest = hashlib.blake2b(repr((kind, metric, labels)).encode(), digest_size=16)
    for split in splits:
        for array in (split.x, split.y) if split.groups is None else (split.x, split.y, split.groups):
            digest.update(repr((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def cut(
    rows: int, strata: Array | None, shares: tuple[float, ...], seed: int, groups: Array | None = None
) -> list[Array]:
    """Row numbers cut at random into parts of the given shares, then the rest; each part in ascending order.

    strata: (rows,) numbers, or None for one stratum. Every stratum is cut by itself, so that each part has its share
    of it; largest remainders decide where one does not divide, so that the parts' sizes are those asked for within one
    row. groups: (rows,) numbers; where they are given whole groups are cut, as `groups.cut_groups` says.
    """
    if groups is not None:
        return cut_groups(groups, strata, shares, seed)
    rng = np.random.default_rng(seed)
    each = [np.arange(rows)] if strata is None else [np.flatnonzero(strata == label) for label in np.unique(strata)]
    parts: list[list[Array]] = [[] for _ in range(len(shares) + 1)]
    owed = np.zeros(len(parts))
    fractions = np.array([*shares, 1 - sum(shares)])
    for stratum in each:
        owed += fractions * len(stratum)
        sizes = np.floor(fractions * len(stratum)).astype(int)
        given = np.array([sum(len(chosen) for chosen in part) for part in parts])
        for _ in range(len(stratum) - int(sizes.sum())):
            sizes[int(np.argmax(owed - given - sizes))] += 1
        ends = np.cumsum(sizes)
        for part, chosen in zip(parts, np.split(rng.permutation(stratum), ends[:-1]), strict=True):
            part.append(chosen)
    return [np.sort(np.concatenate(part)) for part in parts]
