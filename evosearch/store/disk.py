"""The one way by which files that matter reach the disk.

Every change (open, write, fsync, rename, ...) passes through `Disk.perform`, so that a test can put a fault at any
of them: a full disk, a broken one, or a process that dies half-way through a write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
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

    def write_tree(self, folder: Path, contents: Mapping[str, bytes]) -> None:
        """A folder with these files (by relative path), and whatever it holds already: names and contents durable."""
        self.mkdir(folder)
        folders = {folder}
        for name, data in contents.items():
            path = folder / name
            self.mkdir(path.parent)
            self.write_new(path, data)
            folders.update(parent for parent in path.parents if parent.is_relative_to(folder))
        for inside in folders:
            self.fsync_folder(inside)

    @contextlib.contextmanager
    def replacing(
        self, path: Path, *, alone: bool = True, durable: bool = True, fresh: bool = False, before: Path | None = None
    ) -> Iterator[Path]:
        """A place beside `path` for a file or a folder that is put there when the block ends, whole or not at all.

        Who looks at `path` meanwhile finds what stood there, or the new one. Where the block raises, or the disk
        refuses, what stood there stands there still, and nothing is left beside it.

        alone: nobody else writes there (a lock is held), so that the place has a fixed name and what a kill left there
            gives way. durable: the new name is synced too. fresh: refuse where a folder with something in it stands at
            `path`. before: where what stood at `path` goes, to be kept. Of what is not ours alone a device or a pipe is
            given itself: nothing takes the place of /dev/stdout. Raises StorageError.
        """
        if not alone and is_device(path):
            yield path
            return
        stem = path.name if alone else f".{path.name}.new-{os.getpid()}-{time.time_ns():x}"
        beside = path.with_name(f"{stem}.new" if alone else f"{stem}{path.suffix}")
        if alone and beside.is_dir():
            self.remove_tree(beside)
        aside = before or path.with_name(f"{stem}.old")
        try:
            yield beside
            stood = False if fresh else self._set_aside(path, aside, keep=before is not None)
            try:
                self.rename(beside, path)
                if durable:
                    self.fsync_folder(path.parent)
            except StorageError:
                if (fresh or stood) and not beside.exists():
                    _discard(path)
                if stood:
                    with contextlib.suppress(StorageError):  # what failed first is what is told
                        self.rename(aside, path)
                raise
        except (Exception, KeyboardInterrupt, SystemExit):
            _discard(beside)
            raise
        if stood and before is None:
            self.remove_tree(aside)

    def _set_aside(self, path: Path, aside: Path, *, keep: bool) -> bool:
        """Make room at `path`: to keep what stands there, or for a folder, which no rename replaces."""
        if not path.exists() or not (keep or (path.is_dir() and any(path.iterdir()))):
            return False
        if not keep and aside.exists():
            self.remove_tree(aside)
        self.rename(path, aside)
        return True


def is_device(path: Path) -> bool:
    """Whether what is written to a path goes to a device, a pipe or a stream that is open."""
    at = path.absolute()
    return at.parent in (Path("/dev"), Path("/dev/fd")) or at.is_char_device() or at.is_fifo()


@contextlib.contextmanager
def handing_over(path: Path) -> Iterator[Path]:
    """Where to write a file that a person asked for, which is put at `path` when the block ends, whole or not at all.

    Where a link leads, the file there is replaced, with the permissions that it has. What is no file is written to as
    it is: /dev/stdout, a pipe. Raises StorageError.
    """
    at = path if is_device(path) else path.resolve()
    with Disk().replacing(at, alone=False) as beside:
        yield beside
        if at.is_file():
            shutil.copymode(at, beside)


def hand_over(path: Path, text: str) -> None:
    """Write a text that a person asked for, as `handing_over` does."""
    with handing_over(path) as place:
        try:
            place.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise refusal(path, error) from error


def _discard(path: Path) -> None:
    """Remove what was written in vain: a full disk is the last that should keep half a file."""
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


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
