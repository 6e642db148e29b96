"""A task as one process has read it, for the others of its machine: none of them reads and decodes its files again."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import uuid
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from evosearch.tasks.base import Split, Task

if TYPE_CHECKING:
    from evosearch.tasks.base import Array
    from evosearch.tasks.kinds import Kind

SPLITS = ("train", "validation", "_test")
CONSTANTS = ("mean", "std", "target_mean", "target_std")
ALIGNED = 64  # bytes, at multiples of which an array begins


@dataclass(frozen=True)
class Place:
    """Where an array lies in the file."""

    offset: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SharedTask:
    """Where a task lies, in a few plain values, which cross to another process.

    begins: the file's first bytes, with which no other begins. kind: its name. splits: places of x and y, and of groups
    where there are some, for each of SPLITS. constants: for each of CONSTANTS. rest: the other fields of Task by name,
    as JSON.
    """

    path: str
    begins: bytes
    kind: str
    splits: tuple[tuple[Place, ...], ...]
    constants: tuple[Place, ...]
    rest: Place

    def task(self, kind: Kind) -> Task | None:
        """The task itself, of the kind that its process gave it; None where the file cannot be reached from here. Its
        arrays are read as they are needed, and what is written to them stays in this process.
        """
        path = Path(self.path)
        with contextlib.suppress(OSError):
            if not path.is_file():  # a pipe that has the number now would be waited for
                return None
            with path.open("rb") as file:
                return self._read(file, kind) if file.read(len(self.begins)) == self.begins else None
        return None

    def _read(self, file: IO[bytes], kind: Kind) -> Task:
        found: dict[str, Any] = json.loads(_mapped(file, self.rest).tobytes())
        found = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
        for name, places in zip(SPLITS, self.splits, strict=True):
            found[name] = Split(*(_mapped(file, place) for place in places))
        for name, place in zip(CONSTANTS, self.constants, strict=True):
            found[name] = _mapped(file, place)
        return Task(kind=kind, **found)


class Sharing:
    """Holds the file of a shared task, which has no name in any folder: it is gone with this object, or this process,
    however that ends. `shared` is None where such a file cannot be made, or has no path by which others may open it.
    """

    def __init__(self, task: Task) -> None:
        self.shared: SharedTask | None = None
        if sys.platform != "linux":
            return
        # For a full disk, or labels that JSON has no word for: each process reads the data for itself then.
        with contextlib.suppress(OSError, TypeError), contextlib.ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile())
            self.shared = _filled(file, task)
            weakref.finalize(self, stack.pop_all().close)


def _filled(file: IO[bytes], task: Task) -> SharedTask:
    """Where a task lies in the file, once it is written there."""
    begins = uuid.uuid4().bytes
    file.write(begins)
    splits: list[Split] = [getattr(task, name) for name in SPLITS]
    arrays = [(split.x, split.y) if split.groups is None else (split.x, split.y, split.groups) for split in splits]
    places = tuple(tuple(_written(file, array) for array in one) for one in arrays)
    constants = tuple(_written(file, getattr(task, name)) for name in CONSTANTS)
    others = {one.name for one in fields(Task)} - {"kind", *SPLITS, *CONSTANTS}
    rest = json.dumps({name: getattr(task, name) for name in sorted(others)}, default=_plain)
    text = _written(file, np.frombuffer(rest.encode(), np.uint8))
    file.flush()
    return SharedTask(f"/proc/{os.getpid()}/fd/{file.fileno()}", begins, task.kind.name, places, constants, text)


def _plain(value: object) -> Any:
    """What JSON does not know by itself: a column's description, and numpy's scalars."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain value")


def _written(file: IO[bytes], array: Array) -> Place:
    offset = -(-file.tell() // ALIGNED) * ALIGNED
    file.seek(offset)
    file.write(np.ascontiguousarray(array).data)
    return Place(offset, array.dtype.str, array.shape)


def _mapped(file: IO[bytes], place: Place) -> Array:
    if 0 in place.shape:
        return np.empty(place.shape, place.dtype)
    return np.asarray(np.memmap(file, place.dtype, "c", place.offset, place.shape))
