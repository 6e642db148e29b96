"""Which reader a file or folder of data needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from evosearch.errors import TaskError
from evosearch.tasks.sources import hidden

if TYPE_CHECKING:
    from evosearch.tasks.base import Reading, Task

READERS = (
    ".npz; a folder of .npy files; a folder of IDX files (MNIST's format); a folder of images by class; .csv, .tsv; .ts"
)


def load_path(path: Path, reading: Reading) -> Task:
    """The task in a file or folder. Raises TaskError where no reader knows it, or the reader finds a mistake."""
    from evosearch.tasks import arrays, columns, images, series

    if path.is_dir():
        names = {file.name for file in path.iterdir() if not hidden(file.name)}
        if any(name.endswith(".npy") for name in names):
            return arrays.load_npy(path, reading)
        if any(re.search(arrays.IDX, name) for name in names):
            return arrays.load_idx(path, reading)
        if any((path / name).is_dir() for name in names):
            return images.load_folder(path, reading)
        raise TaskError(f"{path}: no data in this folder that evosearch reads; it reads {READERS}")
    plain = re.sub(r"\.(xz|gz|bz2)$", "", path.name.lower())
    if plain.endswith(".npz"):
        return arrays.load_npz(path, reading)
    if plain.endswith((".csv", ".tsv")):
        return columns.load_csv(path, reading)
    if plain.endswith(".ts"):
        return series.load_ts(path, reading)
    if re.search(arrays.IDX, path.name):
        return arrays.load_idx(path.parent, reading)
    raise TaskError(f"{path}: evosearch reads no such file; it reads {READERS}")
