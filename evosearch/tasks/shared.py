"""A task as one process has read it, for the others of its machine: none of them reads and decodes its files again."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from evosearch.tasks.base import Split, Task

if TYPE_CHECKING:
    from evosearch.tasks.base import Array
    from evosearch.tasks.kinds import Kinds

SPLITS = ("train", "validation", "_test")
ALIGNED = 64  # bytes, at multiples of which an array begins


@dataclass(frozen=True)
class Place:
    """Where an array lies in the file."""

    offset: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SharedTask:
    """A task in plain values, which cross to another process; its examples and targets lie in a file.

    begins: the file's first bytes, as no other's. splits: places of x and y, for each of SPLITS. rest: the other fields
    of Task, aside from the kind, by name.
    """

    path: str
    begins: bytes
    kind: str
    splits: tuple[tuple[Place, Place], ...]
    rest: Mapping[str, Any]

    def task(self, kinds: Kinds) -> Task:
        """The task itself. Its arrays are read as they are needed, and what is written to them stays in this process.

        Raises OSError where the file cannot be reached from here.
        """
        parts: dict[str, Any] = {}
        with Path(self.path).open("rb") as file:
            if file.read(len(self.begins)) != self.begins:
                raise FileNotFoundError(f"{self.path}: another file by now")
            for name, (x, y) in zip(SPLITS, self.splits, strict=True):
                parts[name] = Split(_mapped(file, x), _mapped(file, y))
        return Task(kind=kinds[self.kind], **parts, **self.rest)


class Sharing:
    """Holds the file of a shared task, which has no name in any folder: it is gone with this object, or this process,
    however that ends. `shared` is None where such a file cannot be made, or has no path by which others may open it.
    """

    def __init__(self, task: Task) -> None:
        self.shared: SharedTask | None = None
        if sys.platform != "linux":
            return
        try:
            begins = uuid.uuid4().bytes
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as this object is there
            self._file.write(begins)
            splits = [getattr(task, name) for name in SPLITS]
            places = tuple((_written(self._file, split.x), _written(self._file, split.y)) for split in splits)
            self._file.flush()
        except OSError:  # as a full disk: each process reads the data for itself then
            return
        rest = {one.name: getattr(task, one.name) for one in fields(Task) if one.name not in ("kind", *SPLITS)}
        path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        self.shared = SharedTask(path, begins, task.kind.name, places, rest)


def _written(file: IO[bytes], array: Array) -> Place:
    offset = -(-file.tell() // ALIGNED) * ALIGNED
    file.seek(offset)
    file.write(np.ascontiguousarray(array).data)
    return Place(offset, array.dtype.str, array.shape)


def _mapped(file: IO[bytes], place: Place) -> Array:
    return np.asarray(np.memmap(file, place.dtype, "c", place.offset, place.shape))
