"""Data sets by name: torchvision's, and those of the Hugging Face hub, where their libraries are installed."""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.assemble import Name, Part, as_examples, assemble

if TYPE_CHECKING:
    from types import ModuleType

    from evosearch.tasks.base import Array, Reading, Task


def load_hub(spec: str, reading: Reading) -> Task:
    """`torchvision:FashionMNIST` or `hf:ylecun/mnist`; downloaded once. Raises TaskError where that fails."""
    hub, _, name = spec.partition(":")
    return _torchvision(name, reading) if hub == "torchvision" else _hugging_face(name, reading)


def data_folder() -> Path:
    """Where downloads are kept: $EVOSEARCH_DATA, else ~/.cache/evosearch/data; TaskError without a home."""
    try:
        return Path(os.environ.get("EVOSEARCH_DATA") or Path.home() / ".cache" / "evosearch" / "data")
    except RuntimeError:
        raise TaskError("this user has no home folder to keep data in; EVOSEARCH_DATA names another place") from None


def _library(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise TaskError(f"{spec} needs {name.partition('.')[0]}: pip install {name.partition('.')[0]}") from None


def _torchvision(name: str, reading: Reading) -> Task:
    """Data sets that hold their examples as one array `data` beside `targets` or `labels`: MNIST, CIFAR10, SVHN, ..."""
    spec = f"torchvision:{name}"
    datasets = _library("torchvision.datasets", spec)
    make = getattr(datasets, name, None)
    if make is None:
        raise TaskError(f"{spec}: torchvision.datasets has no {name}")
    by_split = "split" in inspect.signature(make).parameters
    parts: dict[Name, Part] = {}
    images = False
    titles: tuple[Name, ...] = ("train", "test")
    for title in titles:
        choice: dict[str, Any] = {"split": title} if by_split else {"train": title == "train"}
        try:
            data = make(str(data_folder()), download=True, **choice)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise TaskError(f"{spec}: {error}") from None
        targets = getattr(data, "targets", getattr(data, "labels", None))
        if targets is None or not hasattr(data, "data"):
            raise TaskError(f"{spec}: its examples are no one array; save them as .npz and use that")
        x, images = as_examples(np.asarray(data.data), spec)
        parts[title] = Part(x, np.asarray(targets), f"{spec} {title}", f"{spec} {title}")
    return assemble(name, parts, reading, images=images)


def _hugging_face(name: str, reading: Reading) -> Task:
    """Data sets with an image column, or numeric columns, and a target: settings.target, else `label` or `labels`."""
    spec = f"hf:{name}"
    library = _library("datasets", spec)
    try:
        data = library.load_dataset(name, cache_dir=str(data_folder()))
    except (OSError, ValueError, RuntimeError) as error:
        raise TaskError(f"{spec}: {error}") from None
    parts: dict[Name, Part] = {}
    labels: list[str] = []
    images = False
    titles: tuple[Name, ...] = ("train", "validation", "test")
    for title in titles:
        if title not in data:
            continue
        features = data[title].features
        wanted = (reading.settings.target,) if reading.settings.target else ("label", "labels")
        target = next((column for column in wanted if column in features), None)
        if target is None:
            raise TaskError(f"{spec}: no column {' or '.join(wanted)}; there are {', '.join(features)}")
        labels = list(getattr(features[target], "names", []))
        x, images = as_examples(_column(data[title], target, spec), spec)
        where = f"{spec} {title}"
        parts[title] = Part(x, np.asarray(data[title][target]), where, where)
    if "train" not in parts:
        raise TaskError(f"{spec}: no split called train; there are {', '.join(data)}")
    return assemble(name.rpartition("/")[2], parts, reading, labels=labels, images=images)


def _column(rows: Any, target: str, spec: str) -> Array:
    """All examples: the images of the column that holds them, else the numeric columns side by side."""
    pictures = [name for name, feature in rows.features.items() if type(feature).__name__ == "Image"]
    if pictures:
        arrays = [np.asarray(image, np.uint8) for image in rows[pictures[0]]]
        for row, array in enumerate(arrays):
            if array.shape != arrays[0].shape:
                raise TaskError(f"{spec}: row {row}: an image of shape {array.shape}, the first is {arrays[0].shape}")
        return np.stack(arrays)
    columns = [np.asarray(rows[name]) for name in rows.features if name != target]
    numeric = [column for column in columns if column.ndim == 1 and column.dtype.kind in "biuf"]
    if not numeric:
        raise TaskError(f"{spec}: neither a column of images nor numeric ones; save the data as .npz and use that")
    return np.stack([column.astype(np.float32) for column in numeric], axis=1)
