"""A file that follows from a run's journal, to the byte: a line for each score, in the order in which scores came.

It is written when scores arrive and not synced, and nothing depends on it. A session begins by cutting off what is not
whole and adding what is missing, and ends by writing what a disk refused meanwhile, if it takes it now.
Commands that read a run never write it.
"""

from __future__ import annotations

import itertools
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from evosearch.errors import StorageError
from evosearch.logs.rows import Row, rows
from evosearch.store.disk import refusal
from evosearch.store.verify import Finding

if TYPE_CHECKING:
    from evosearch.logs import Scored, Session

CHUNK = 1 << 20  # bytes read or written at a time


class Following(ABC):
    """One such file, named after the log. lead: the lines before the first row."""

    name: ClassVar[str]
    lead: ClassVar[int] = 0

    def __init__(self, session: Session) -> None:
        self.run, self.path = session.run, session.folder / self.name
        self.descriptor = -1

    # What the two differ in

    def begin(self) -> bytes:
        """Settle on the columns that the journal asks for; the lines before the first row."""
        return b""

    def resumes(self, first: bytes) -> bool:
        """Whether the file, which begins with this line, can be gone on with."""
        return True

    def fits(self, row: Row) -> bool:
        """Whether the row has a place in the file as it was begun."""
        return True

    @abstractmethod
    def encode(self, row: Row) -> bytes:
        """The row as one line."""

    # Writing

    def add(self, scored: Sequence[Scored]) -> None:
        """Write what was journaled. Raises StorageError; closing the log then makes the file whole, if it can be."""
        if self.descriptor < 0:
            self._attempt(self.complete)  # the journal holds these scores already
        else:
            self._attempt(self.append, [one.row for one in scored])

    def close(self) -> None:
        """Write what is missing still; let go of the file. Raises StorageError."""
        if self.descriptor < 0:
            self._attempt(self.complete)
        self.release()

    def _attempt(self, step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
        except StorageError:
            self.release()
            raise

    def complete(self) -> None:
        """Cut off what is not whole, add what is missing; write the file anew where it cannot be gone on with."""
        disk = self.run.disk
        self.descriptor = disk.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        lines, end, size = self._measure()
        written = lines - self.lead
        if written < 0 or written > self.run.scores or not self.resumes(self._first()):
            self.rewrite()
            return
        if end < size:
            disk.truncate(self.descriptor, self.path, end)
        if written < self.run.scores:
            missing = rows(self.run, written)
            while part := list(itertools.islice(missing, 1_000)):
                self.append(part)

    def append(self, rows: Sequence[Row]) -> None:
        if all(self.fits(row) for row in rows):
            self.run.disk.write(self.descriptor, self.path, b"".join(map(self.encode, rows)))
        else:
            self.rewrite()

    def rewrite(self) -> None:
        """The file of the whole journal, written beside and renamed: a reader never finds half of it."""
        self.release()
        disk = self.run.disk
        with disk.replacing(self.path, durable=False) as beside:
            self.descriptor = disk.open(beside, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
            for chunk in _chunks(self.lines()):
                disk.write(self.descriptor, beside, chunk)

    def release(self) -> None:
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)

    # Reading

    def lines(self) -> Iterator[bytes]:
        """The file as it should be."""
        yield self.begin()
        yield from map(self.encode, rows(self.run))

    def verify(self) -> Iterator[Finding]:
        cure, completing = "`evolve repair` writes it anew", "`evolve resume` or `evolve repair` completes it"
        try:
            if not stat.S_ISREG(self.path.lstat().st_mode):
                yield Finding(self.name, "it is no plain file", "move it away; `evolve repair` writes the file")
                return
            with self.path.open("rb", buffering=CHUNK) as file:
                for number, line in enumerate(self.lines()):
                    there = file.read(len(line))
                    if there == line:
                        continue
                    where = f"evaluation {number} of the journal" if number else "its first line"
                    if line.startswith(there):
                        yield Finding(self.name, f"it ends before {where}", completing)
                    else:
                        yield Finding(self.name, f"{where} reads otherwise there than in the journal", cure)
                    return
                if file.read(1):
                    yield Finding(self.name, "it has something behind the journal's last evaluation", cure)
        except FileNotFoundError:
            return
        except OSError as error:
            raise refusal(self.path, error) from error

    def _measure(self) -> tuple[int, int, int]:
        """(whole lines, the offset after them, the file's size); no lines where zeros never arrived on the disk."""
        lines = end = offset = 0
        while chunk := self._read(CHUNK, offset):
            if b"\0" in chunk:
                return -1, 0, 0
            lines += chunk.count(b"\n")
            if (last := chunk.rfind(b"\n")) >= 0:
                end = offset + last + 1
            offset += len(chunk)
        return lines, end, offset

    def _first(self) -> bytes:
        return self._read(1 << 16, 0).partition(b"\n")[0]

    def _read(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self.descriptor, size, offset)
        except OSError as error:
            raise refusal(self.path, error) from error


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines put together to pieces of about CHUNK bytes."""
    gathered, size = [], 0
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size >= CHUNK:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)
