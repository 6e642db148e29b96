"""From the parts that files hold to a task: everything checked, missing splits made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.base import Array, Reading, Split, Task, Value, cut, make_task, require_one_shape
from evosearch.tasks.groups import numbered
from evosearch.tasks.kinds import are_classes, looks, usual
from evosearch.tasks.labels import classes_of
from evosearch.tasks.rows import channel_axes, finite_rows, stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from evosearch.tasks.kinds import Kind

# Whole numbers that are kept as such, and the dtype of torch's that holds them.
WHOLE = {"bool": np.uint8, "uint8": np.uint8, "int8": np.int8, "int16": np.int16, "uint16": np.int32}

Name = Literal["train", "validation", "test"]
COPIED = 0.05  # of the test rows: more that are copies of other splits' are said
UNBALANCED = 9  # times as many rows of the most frequent class as of the rarest


@dataclass(frozen=True, eq=False)
class Part:
    """What one split's files hold: x (N, ...), y (N,) classes or (N, outputs) numbers, and the files, for errors.

    groups: (N,) names of those that the rows belong to, where `data.groups` says so; groups_of: of what, in words.
    """

    x: Array
    y: Array
    x_file: str
    y_file: str
    groups: Array | None = None
    groups_of: str = ""


def assemble(
    name: str,
    parts: Mapping[Name, Part],
    reading: Reading,
    *,
    labels: Sequence[str] = (),
    images: bool = False,
    values: Sequence[Value] = (),
    columns: Sequence[Mapping[str, Any]] = (),
    names: Sequence[str] = (),
    target: str = "",
    notes: Sequence[str] = (),
    pixels: str = "",
    masked: bool = False,
) -> Task:
    """The task of these parts; a validation or test split that no file brings is cut from the others' rows.

    labels: the classes' names, where y holds their numbers. values, columns, names, target, notes, pixels,
    masked: as in Task.
    Raises TaskError with file and row.
    """
    settings = reading.settings
    for part in parts.values():
        if len(part.x) != len(part.y):
            raise TaskError(
                f"{part.y_file}: {len(part.y)} targets for {len(part.x)} examples in {part.x_file}; "
                "they must be as many"
            )
        if not len(part.x):
            raise TaskError(f"{part.x_file}: holds no examples")
    told = list(notes)
    train = parts["train"]
    if reading.kind is None and _one_hot(train.y):
        raise TaskError(
            f"{train.y_file}: each row is one 1 among {train.y.shape[1]} numbers, as classes are written; save their "
            "numbers, y.argmax(1), or say kind = regression"
        )
    kind = reading.kind or _kind(train.y, bool(labels), told)
    require_one_shape(name, [part.x for part in parts.values()])
    targets = [(part.y, part.y_file) for part in parts.values()]
    if kind.classes and not labels:
        numbers, labels, values = classes_of(targets)
        targets = [(y, file) for y, (_, file) in zip(numbers, targets, strict=True)]
    stored_targets = kind.store(targets, (len(labels) or len(values)) if kind.classes else 0)
    examples = _examples(parts.values())
    names_of = [part.groups for part in parts.values() if part.groups is not None]
    if settings.groups and not names_of:
        raise TaskError(
            f"{train.x_file}: data.groups is '{settings.groups}', and tables and arrays alone have such; leave it out"
        )
    groups = numbered(names_of) if names_of else [None] * len(parts)
    split = zip(parts, examples, stored_targets, groups, strict=True)
    splits = {title: Split(x, y, of) for title, x, y, of in split}
    shares: dict[Name, float] = {"validation": settings.validation, "test": settings.test}
    missing = {title: share for title, share in shares.items() if title not in splits}
    if missing:
        whole = splits["train"]
        titles: list[Name] = [*missing, "train"]
        if whole.groups is not None and (known := len(np.unique(whole.groups))) < len(titles):
            many = "1 group" if known == 1 else f"{known} groups"
            raise TaskError(
                f"{train.x_file}: {many} in {train.groups_of}, and {len(titles)} splits to cut from them; bring splits "
                "of your own, or leave data.groups out"
            )
        rows = cut(len(whole), kind.strata(whole.y), tuple(missing.values()), settings.split_seed, whole.groups)
        splits |= {title: whole.take(chosen) for title, chosen in zip(titles, rows, strict=True)}
        told.append(f"no {' or '.join(missing)} split: cut from the train rows by seed {settings.split_seed}")
    if names_of:
        told.append(_grouped(splits, train.groups_of))
    told += _copied(splits)
    if kind.classes:
        told += _absent(splits, labels)
        told += _unbalanced(splits.values(), labels or values, kind, settings.metric)
    return make_task(
        name,
        splits["train"],
        splits["validation"],
        splits["test"],
        kind=kind,
        metric=settings.metric,
        labels=tuple(labels) if kind.classes else (),
        images=images,
        values=values if kind.classes else (),
        columns=columns,
        names=names,
        target=target,
        notes=told,
        pixels=pixels,
        size=settings.size if pixels else 0,
        drawn="validation" in missing,
        masked=masked,
    )


def _kind(y: Array, named: bool, notes: list[str]) -> Kind:
    """The kind that targets have by their looks, said where one could think otherwise."""
    if named or y.dtype.kind in "bUS":
        return usual(classes=True)
    if y.dtype.kind == "f" and y.size == len(y) and (y == np.round(y)).all() and are_classes(y.ravel()):
        known = len(np.unique(y))
        notes.append(
            f"the target's {known} floating-point numbers are to be predicted; say kind = classification otherwise"
        )
    if y.dtype.kind not in "iu" or (y.ndim == 2 and y.shape[1] > 1):
        return usual(classes=y.dtype.kind in "iu")  # several whole numbers an example are refused as classes
    classes = are_classes(y)
    if note := looks(np.unique(y), len(y), classes):
        notes.append(note)
    return usual(classes=classes)


def _grouped(splits: Mapping[Name, Split], where: str) -> str:
    """How many groups there are, and of how many the files have rows in several splits."""
    there = [splits[title].groups for title in ("train", "validation", "test")]
    each = [np.unique(groups) for groups in there if groups is not None]
    times = np.unique(np.concatenate(each), return_counts=True)[1]
    if (times > 1).any():
        return (
            f"{(times > 1).sum():,} of {len(times):,} groups in {where} are in more than one of the splits that the "
            "files have: on rows of other groups the figures may be lower"
        )
    of_each = ", ".join(f"{len(groups):,}" for groups in each)
    return f"{len(times):,} groups in {where}: whole groups are in train, validation or test ({of_each})"


def _copied(splits: Mapping[Name, Split]) -> Iterator[str]:
    """A line where many test rows are in another split, too: a network that knows them by heart looks good then."""
    known = {row for title, split in splits.items() if title != "test" for row in _hashes(split)}
    copied = sum(row in known for row in _hashes(splits["test"]))
    if copied > COPIED * len(splits["test"]):
        yield (
            f"{copied:,} of {len(splits['test']):,} test rows are copies of rows to train or judge on, their targets "
            "too: on rows that are new the figure may be lower"
        )


def _hashes(split: Split) -> Iterator[int]:
    """Of each example with its target."""
    return (hash((x.tobytes(), y.tobytes())) for x, y in zip(split.x, split.y, strict=True))


def _absent(splits: Mapping[Name, Split], labels: Sequence[str]) -> Iterator[str]:
    """A line for each split that has no example of some class."""
    classes = len(labels) or 1 + max(int(split.y.max(initial=0)) for split in splits.values())
    for title, split in splits.items():
        absent = np.flatnonzero(np.bincount(split.y, minlength=classes) == 0)
        if len(absent):
            names = ", ".join(labels[number] if labels else str(number) for number in absent[:5])
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            yield f"the {title} split has no example of class {names}{more}"


def _unbalanced(splits: Iterable[Split], names: Sequence[Any], kind: Kind, metric: str) -> Iterator[str]:
    """A line where classes are far from equally frequent and nobody chose a metric: a constant answer looks good then.

    By the ratio of the most frequent one to the rarest; over 9 is high (Fernandez et al. 2008, A study of the behaviour
    of linguistic fuzzy rule based classification systems in the framework of imbalanced data-sets, Fuzzy Sets and
    Systems 159).
    """
    counts = np.bincount(np.concatenate([split.y for split in splits]))
    there = np.flatnonzero(counts)
    most, least = there[np.argmax(counts[there])], there[np.argmin(counts[there])]
    usual = kind.metrics[0]
    if metric or not usual.by_class or counts[most] <= UNBALANCED * counts[least]:
        return
    often, rare = (f"{str(names[n] if len(names) else n)!r} has {counts[n]:,}" for n in (most, least))
    yield (
        f"class {often} of {counts.sum():,} rows, {rare}: {usual.name} hardly sees the rare one; data.metric = "
        f"{usual.by_class} counts every class alike, recipe.balanced = true draws it as often"
    )


def _examples(parts: Iterable[Part]) -> list[Array]:
    """x of each part in a native dtype that torch has: small integers as they are, others as floats that keep them."""
    kept, numbers = [], False
    for part in parts:
        x = part.x
        if x.dtype.kind not in "biuf":
            raise TaskError(f"{part.x_file}: examples of dtype {x.dtype}; save them as integers or floats")
        if x.dtype.kind == "f":
            finite_rows(x, part.x_file)
            if x.dtype.itemsize > 8:
                with np.errstate(over="ignore"):  # told below, with its row
                    x = x.astype(np.float64)
                finite_rows(x, part.x_file, "is too large for float64")
        kept.append((x, part.x_file))
        numbers = numbers or x.dtype.kind == "f" or x.dtype.name not in WHOLE
    if numbers:
        return stored(kept, channel_axes(kept[0][0].ndim))
    return [np.ascontiguousarray(x.astype(WHOLE[x.dtype.name])) for x, _ in kept]


def as_examples(x: Array, file: str) -> tuple[Array, bool]:
    """Arrays as examples: (N, ...) to (N, C, H, W), (N, S, D) or (N, D); and whether they are images.

    Four axes are images, channels first, or last where only the last axis is as small as channels are (1, 3, 4).
    Three axes are grey images where they hold bytes, else sequences. Two axes are vectors.
    """
    if x.ndim == 4:
        last = x.shape[3] in (1, 3, 4) and x.shape[1] > 4
        return (x.transpose(0, 3, 1, 2) if last else x), True
    if x.ndim == 3:
        return (x[:, None], True) if x.dtype == np.uint8 else (x, False)
    if x.ndim == 2:
        return x, False
    raise TaskError(
        f"{file}: an array of shape {x.shape}; examples are rows of (N, C, H, W), (N, H, W), (N, S, D) or (N, D)"
    )


def as_targets(y: Array, file: str) -> Array:
    """Targets of an array, (N,) or (N, outputs). Raises TaskError for any other shape."""
    if y.ndim not in (1, 2):
        raise TaskError(f"{file}: targets of shape {y.shape}; they are (N,), or (N, outputs)")
    return y


def _one_hot(y: Array) -> bool:
    """Whether each row is a class written as 0s and a 1."""
    several = y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "biuf"
    return several and bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all())
