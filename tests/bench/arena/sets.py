"""The data sets of the arena: drawn by a seed, and written to files as a person would have them.

Where a data set brings a test split, that is the test split for every seed, and the seed draws what is trained on;
else the seed draws both. ArrowHead and ItalyPowerDemand have one split for all seeds.
"""

from __future__ import annotations

import csv
import lzma
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mode = Literal["table", "series", "images"]

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
ROWS = 10_000  # of Adult and of Fashion-MNIST to train on
TEST = 0.2  # share of the rows, where a data set brings no test split


class NotHereError(Exception):
    """A data set's files are not on this machine; the message says which."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """One draw of a data set.

    x_train, x_test: (N, C, H, W) uint8 images, (N, S, D) float32 series, (N, D) float64 tables whose categories are
    whole numbers. y_train, y_test: (N,) classes from 0 as int64, or targets as float64.
    categories: columns of a table that hold categories. mirrored: whether a left-right mirrored image means the same.
    file: what `--task` is given; a test split lies in it or beside it.
    """

    name: str
    mode: Mode
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    file: Path
    categories: tuple[int, ...] = ()
    mirrored: bool = False

    @property
    def classes(self) -> int:
        """Number of classes; 0 for a target to predict."""
        return int(self.y_train.max()) + 1 if self.y_train.dtype.kind == "i" else 0

    @property
    def metric(self) -> str:
        return "accuracy" if self.classes else "r2"


def names() -> tuple[str, ...]:
    """The data sets' names, in the order of the table."""
    return tuple(_READERS)


def load(name: str, seed: int, folder: Path) -> DataSet:
    """The draw of a data set that belongs to a seed, its file written to `folder`. Raises NotHereError."""
    return _READERS[name](name, seed, folder)


def fewer(images: DataSet, rows: int, seed: int, folder: Path) -> DataSet:
    """Grey images with so many to train on, drawn by class, in a file of their own; as they are where there are no
    more.
    """
    from sklearn.model_selection import train_test_split

    if len(images.x_train) <= rows:
        return images
    kept, _ = train_test_split(
        np.arange(len(images.x_train)), train_size=rows, random_state=seed, stratify=images.y_train
    )
    parts = (images.x_train[kept, 0], images.y_train[kept], images.x_test[:, 0], images.y_test)
    return _images(images.name, parts, folder / f"{rows}" / images.file.name, mirrored=images.mirrored)


# --- scikit-learn's own ---------------------------------------------------------------------------------------------


def _digits(name: str, seed: int, folder: Path) -> DataSet:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    train, test = _cut(bunch.target, seed, stratify=True)
    x, y = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    return _images(name, (x[train], y[train], x[test], y[test]), folder / "digits.npz", mirrored=False)


def _bundled(loader: str, target: str, **arguments: bool) -> Callable[[str, int, Path], DataSet]:
    def read(name: str, seed: int, folder: Path) -> DataSet:
        import sklearn.datasets

        bunch = getattr(sklearn.datasets, loader)(**arguments)
        classes = bunch.get("target_names")
        y = bunch.target.astype(np.int64 if classes is not None else np.float64)
        train, test = _cut(y, seed, stratify=classes is not None)
        # Targets are whole numbers in the source, and stay so in the file, as whoever saves such a table has them.
        cells = [str(classes[number]) for number in y] if classes is not None else [f"{value:.0f}" for value in y]
        header = [*bunch.feature_names, target]
        for title, rows in (("train", train), ("test", test)):
            table = ([*map(repr, map(float, bunch.data[row])), cells[row]] for row in rows)
            _write_csv(folder / f"{name}-{title}.csv", [header, *table])
        parts = (bunch.data[train], y[train], bunch.data[test], y[test])
        return DataSet(name, "table", *parts, file=folder / f"{name}-train.csv")

    return read


def _cut(y: Array, seed: int, *, stratify: bool) -> tuple[Array, Array]:
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(y)), test_size=TEST, random_state=seed, stratify=y if stratify else None
    )
    return train, test


# --- from files -----------------------------------------------------------------------------------------------------


def _adult(name: str, seed: int, folder: Path) -> DataSet:
    """UCI Adult as its files are: no header, a blank after each comma, a full stop after the test file's classes."""
    lines = {title: _unpacked(f"adult-{title}.csv.xz").splitlines() for title in ("train", "test")}
    lines = {title: [line for line in found if line.strip()] for title, found in lines.items()}
    drawn = np.random.default_rng(seed).permutation(len(lines["train"]))[:ROWS]
    lines["train"] = [lines["train"][row] for row in sorted(drawn)]
    folder.mkdir(parents=True, exist_ok=True)
    for title, found in lines.items():
        (folder / f"adult-{title}.csv").write_text("\n".join(found) + "\n", encoding="utf-8")
    train, test = ([[cell.strip() for cell in line.split(",")] for line in lines[title]] for title in ("train", "test"))
    width = len(train[0]) - 1
    categories = tuple(column for column in range(width) if not _is_number(train[0][column]))
    codes = {c: {word: n for n, word in enumerate(sorted({row[c] for row in [*train, *test]}))} for c in categories}

    def encoded(rows: Sequence[Sequence[str]]) -> tuple[Array, Array]:
        x = [[codes[c][row[c]] if c in codes else float(row[c]) for c in range(width)] for row in rows]
        return np.array(x, np.float64), np.array([row[-1].startswith(">") for row in rows], np.int64)

    return DataSet(
        name, "table", *encoded(train), *encoded(test), file=folder / "adult-train.csv", categories=categories
    )


def _fashion(name: str, seed: int, folder: Path) -> DataSet:
    """A stratified part of the training images, and all test images."""
    file = _there("fashion_mnist.npz")
    with np.load(file) as archive:
        x, y, x_test, y_test = (archive[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    rng = np.random.default_rng(seed)
    each = ROWS // (int(y.max()) + 1)
    rows = rng.permutation(np.concatenate([rng.permutation(np.flatnonzero(y == c))[:each] for c in range(y.max() + 1)]))
    parts = (x[rows], y[rows].astype(np.int64), x_test, y_test.astype(np.int64))
    return _images(name, parts, folder / "fashion_mnist.npz", mirrored=True)


def _series(stem: str) -> Callable[[str, int, Path], DataSet]:
    def read(name: str, seed: int, folder: Path) -> DataSet:
        folder.mkdir(parents=True, exist_ok=True)
        parts = []
        for title in ("TRAIN", "TEST"):
            text = _unpacked(f"{stem}_{title}.ts.xz")
            (folder / f"{stem}_{title}.ts").write_text(text, encoding="utf-8")
            parts.append(_read_ts(text))
        (x, ends), (x_test, ends_test) = parts
        classes = {word: number for number, word in enumerate(sorted(set(ends)))}
        y, y_test = (np.array([classes[word] for word in words], np.int64) for words in (ends, ends_test))
        return DataSet(name, "series", x, y, x_test, y_test, file=folder / f"{stem}_TRAIN.ts")

    return read


def _read_ts(text: str) -> tuple[Array, list[str]]:
    """Series (N, S, 1) of a univariate .ts file without gaps, and what stands after each one's colon."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] not in "#%@"]
    halves = [line.rpartition(":") for line in lines]
    x = np.array([[float(cell) for cell in series.split(",")] for series, _, _ in halves], np.float32)
    return x[:, :, None], [end for _, _, end in halves]


def _images(name: str, parts: tuple[Array, Array, Array, Array], file: Path, *, mirrored: bool) -> DataSet:
    file.parent.mkdir(parents=True, exist_ok=True)
    x, y, x_test, y_test = parts
    np.savez(file, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return DataSet(name, "images", x[:, None], y, x_test[:, None], y_test, file=file, mirrored=mirrored)


def _write_csv(file: Path, rows: Sequence[Sequence[str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows(rows)


def _unpacked(name: str) -> str:
    return lzma.decompress(_there(name).read_bytes()).decode("utf-8")


def _there(name: str) -> Path:
    if not (DATA / name).is_file():
        raise NotHereError(f"{DATA / name} is not there")
    return DATA / name


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


_READERS: Mapping[str, Callable[[str, int, Path], DataSet]] = {
    "digits": _digits,
    "wine": _bundled("load_wine", "grape"),
    "breast_cancer": _bundled("load_breast_cancer", "diagnosis"),
    "diabetes": _bundled("load_diabetes", "progression", scaled=False),
    "adult": _adult,
    "fashion_mnist": _fashion,
    "arrow_head": _series("ArrowHead"),
    "italy_power_demand": _series("ItalyPowerDemand"),
}
