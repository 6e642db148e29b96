"""Data as arrays: .npz files, folders of .npy files (the Unseen-NAS layout among them), IDX files (MNIST's format)."""

from __future__ import annotations

import gzip
import json
import math
import zipfile
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks import ends
from evosearch.tasks.assemble import Name, Part, as_examples, as_targets, assemble
from evosearch.tasks.groups import GAP, gap
from evosearch.tasks.sources import hidden
from evosearch.text import decoded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evosearch.tasks.base import Array, Reading, Task

IDX = r"idx[1-4]-ubyte(\.gz)?$"
TITLES: dict[Name, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "t10k"),
}
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def load_npz(path: Path, reading: Reading) -> Task:
    """Arrays x_train, y_train, x_test, ... (or train_x, ..., or x and y alone) in one file; capitals do as well."""
    with Opening(path):
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise TaskError(f"{path}: this is no .npz archive; save it with numpy.savez")
        found: dict[str, tuple[str, Array]] = {}
        for name in archive.files:
            if name.lower() in found:
                raise TaskError(f"{path}: two arrays are called {name.lower()}, but for capitals; leave one of them")
            found[name.lower()] = (f"{path}[{name}]", _member(archive, name, path))
    return _task(path.name.removesuffix(".npz"), str(path), found, reading)


def load_npy(folder: Path, reading: Reading) -> Task:
    """Files train_x.npy, train_y.npy, valid_x.npy, ..., test_y.npy (or x_train.npy, ..., or x.npy and y.npy alone).

    A JSON file `metadata`, as Unseen-NAS has it (Geada et al. 2024), may state num_classes.
    """
    found = {}
    for file in sorted(file for file in folder.glob("*.npy") if not hidden(file.name)):
        with Opening(file):
            found[file.stem.lower()] = (str(file), np.asarray(np.load(file, allow_pickle=False)))
    return _task(folder.resolve().name, str(folder), found, reading, _classes_of(folder))


def load_idx(folder: Path, reading: Reading) -> Task:
    """Files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., plain or .gz (LeCun's MNIST page)."""
    found = {}
    for file in sorted(file for file in folder.glob("*idx*-ubyte*") if not hidden(file.name)):
        title = next((title for title, words in TITLES.items() if file.name.lower().startswith(words)), None)
        role = "x" if "images" in file.name else "y" if "labels" in file.name else None
        if title is None or role is None:
            raise TaskError(f"{file}: an IDX file is named train-images-idx3-ubyte, t10k-labels-idx1-ubyte, ...")
        found[f"{title}_{role}"] = (str(file), read_idx(file))
    return _task(folder.resolve().name, str(folder), found, reading)


def read_idx(path: Path) -> Array:
    """One IDX file: two zero bytes, a type byte, the number of axes, big-endian sizes, then the values."""
    with Opening(path):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES or len(data) < 4 + 4 * data[3]:
        raise TaskError(f"{path}: does not begin as an IDX file does")
    dtype, axes = np.dtype(IDX_TYPES[data[2]]), data[3]
    shape = tuple(int(size) for size in np.frombuffer(data[4 : 4 + 4 * axes], ">u4"))
    body = data[4 + 4 * axes :]
    expected = math.prod(shape) * dtype.itemsize
    if len(body) != expected:
        row = len(body) // max(1, expected // max(1, shape[0])) if shape else 0
        raise TaskError(f"{path}: row {row}: torn, {len(body)} bytes of values where its head says {expected}")
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _task(name: str, where: str, found: Mapping[str, tuple[str, Array]], reading: Reading, classes: int = 0) -> Task:
    parts: dict[Name, Part] = {}
    images, role, used = False, reading.settings.groups.lower(), set[str]()

    def part(x: tuple[str, Array], y: tuple[str, Array], *names: str) -> Part:
        """names: that the array of the rows' groups may have."""
        nonlocal images
        examples, images = as_examples(x[1], x[0])
        used.update((x[0], y[0]))
        if not role:
            return Part(examples, as_targets(y[1], y[0]), x[0], y[0])
        name = next((name for name in names if name in found), None)
        if name is None:
            there = ", ".join(sorted(found))
            raise TaskError(f"{where}: no array {' or '.join(names)}, which data.groups asks for; there are: {there}")
        used.add(found[name][0])
        groups = _groups(*found[name], len(examples))
        return Part(examples, as_targets(y[1], y[0]), x[0], y[0], groups, f"array '{role}'")

    for title, words in TITLES.items():
        for word in words:
            if word == "dev" and title in parts:
                continue  # the validation split has its own name, so these are examples of another use
            twice = [f"{role}_{word}" for role in "xy" if {f"{role}_{word}", f"{word}_{role}"} <= found.keys()]
            if twice:
                raise TaskError(f"{where}: {twice[0]} and {word}_{twice[0][0]} are both there; leave one of them")
            x, y = (found.get(f"{role}_{word}", found.get(f"{word}_{role}")) for role in "xy")
            if (x is None) != (y is None):
                has, lacks = ("x", "y") if y is None else ("y", "x")
                raise TaskError(f"{where}: there is {word}_{has} and no {word}_{lacks}; each split needs both")
            if x is not None and y is not None:
                if title in parts:
                    raise TaskError(f"{where}: the {title} split is there twice, as {word} too; leave one of them")
                parts[title] = part(x, y, f"{role}_{word}", f"{word}_{role}")
    if not parts and "x" in found and "y" in found:
        parts["train"] = part(found["x"], found["y"], role)
    if "train" not in parts:
        there = ", ".join(sorted(found)) or "none"
        raise TaskError(f"{where}: no arrays called x_train and y_train, or x and y; there are: {there}")
    labels = [str(number) for number in range(classes)]
    unused = [title for title, (file, _) in found.items() if file not in used]
    notes = (
        [f"not used: {', '.join(unused)}; arrays of data are called x_train, y_train, x_test, ..."] if unused else []
    )
    ended = ends.with_ends([one.x for one in parts.values()])
    if ended is not None:
        parts = {title: replace(one, x=x) for (title, one), x in zip(parts.items(), ended, strict=True)}
        notes.append(ends.note(ended))
    masked = ended is not None
    return assemble(
        name, parts, reading, labels=labels, values=range(classes), images=images, notes=notes, masked=masked
    )


def _groups(file: str, groups: Array, rows: int) -> Array:
    """(N,) names of the groups that rows belong to. Raises TaskError."""
    if groups.shape not in ((rows,), (rows, 1)):
        raise TaskError(f"{file}: groups of shape {groups.shape} for {rows} examples; give each example one")
    groups = groups.reshape(rows)
    if (row := gap(groups)) is not None:
        raise TaskError(f"{file}: row {row}: no group; {GAP}")
    return groups


def _classes_of(folder: Path) -> int:
    file = folder / "metadata"
    if not file.is_file():
        return 0
    try:
        stated = json.loads(decoded(file.read_bytes()))
        return int(stated.get("num_classes", 0))
    except (ValueError, AttributeError, TypeError) as error:
        raise TaskError(f"{file}: no JSON object with a whole number num_classes: {error}") from None


def _member(archive: Mapping[str, Array], name: str, path: Path) -> Array:
    with Opening(path):
        return np.asarray(archive[name])


class Opening:
    """Turns what a torn or strange file makes numpy and zlib raise into a TaskError that names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, ValueError) and "Object arrays" in str(error):
            raise TaskError(f"{self.path}: holds Python objects; save plain numbers") from None
        if isinstance(error, ValueError) and "allow_pickle" in str(error):  # what NumPy says of anything else
            raise TaskError(f"{self.path}: cannot be read: no file of NumPy's; save it with numpy.savez") from None
        if isinstance(error, OSError | EOFError | ValueError | KeyError | zipfile.BadZipFile | zlib.error):
            raise TaskError(f"{self.path}: cannot be read, torn perhaps: {error}") from None
