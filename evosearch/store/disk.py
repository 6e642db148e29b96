"""The one way by which a run's files reach the disk.

Every change (open, write, fsync, rename, ...) passes through `Disk.perform`, so that a test can put a fault at any
of them: a full disk, a broken one, or a process that dies half-way through a write.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from evosearch.errors import StorageError

T = TypeVar("T")

ADVICE = {
    errno.ENOSPC: "make room on this disk, then go on with `evolve resume`",
    errno.EDQUOT: "your quota on this disk is used up; make room, then go on with `evolve resume`",
    errno.EIO: "the disk reports an error; check it, or go on with a copy of the folder on a sound one",
    errno.EROFS: "the disk is mounted read-only; choose another folder or mount it writable",
    errno.EACCES: "you have no right to write here; choose another folder or change its permissions",
    errno.EPERM: "you have no right to write here; choose another folder or change its permissions",
    errno.ELOOP: "it is a symbolic link, which is never written through; put a plain file in its place",
}


def refusal(path: Path, error: OSError) -> StorageError:
    """The disk's refusal as one line: which file, what the system said, what to do."""
    said = error.strerror or str(error)
    return StorageError(f"{path}: {said}: {ADVICE.get(error.errno or 0, 'look at the file and its disk')}")


class Disk:
    """Changes to files, each durable where it says so. Every OSError becomes a StorageError that names the file."""

    def perform(  # the first two are for those who override it
        self,
        step: str,
        path: Path,
        function: Callable[..., T],
        *arguments: object,
    ) -> T:
        """Make one system call. step: its name ("open", "write", "fsync", "truncate", "rename", "mkdir", "remove")."""
        return function(*arguments)

    def call(self, step: str, path: Path, function: Callable[..., T], *arguments: object) -> T:
        try:
            return self.perform(step, path, function, *arguments)
        except OSError as error:
            raise refusal(path, error) from error

    def open(self, path: Path, flags: int) -> int:
        """A file descriptor that children do not inherit; never follows a symbolic link."""
        return self.call("open", path, os.open, path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)

    def write(self, descriptor: int, path: Path, data: bytes) -> None:
        """All of `data`, in one system call wherever the system takes it in one."""
        written = self.call("write", path, os.write, descriptor, data)
        while written < len(data):
            written += self.call("write", path, os.write, descriptor, data[written:])

    def fsync(self, descriptor: int, path: Path) -> None:
        self.call("fsync", path, os.fsync, descriptor)

    def truncate(self, descriptor: int, path: Path, size: int) -> None:
        self.call("truncate", path, os.ftruncate, descriptor, size)

    def rename(self, source: Path, target: Path) -> None:
        self.call("rename", target, os.replace, source, target)

    def mkdir(self, path: Path) -> None:
        self.call("mkdir", path, lambda: path.mkdir(parents=True, exist_ok=True))

    def remove_tree(self, path: Path) -> None:
        self.call("remove", path, shutil.rmtree, path)

    def fsync_folder(self, folder: Path) -> None:
        """Makes the names in a folder durable: a rename is only safe once its folder is."""
        descriptor = self.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.fsync(descriptor, folder)
        finally:
            os.close(descriptor)

    def write_new(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """A file with this content, written from its beginning; not atomic by itself."""
        descriptor = self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            self.write(descriptor, path, data)
            if durable:
                self.fsync(descriptor, path)
        finally:
            os.close(descriptor)


def content(path: Path) -> bytes | None:
    """The file's bytes; None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise refusal(path, error) from error


def unused(path: Path) -> Path:
    """The path, or with a number where that exists already."""
    count, candidate = 1, path
    while candidate.exists():
        count += 1
        candidate = path.with_name(f"{path.stem}-{count}{path.suffix}")
    return candidate
