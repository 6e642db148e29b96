"""A run's folder: the journal of what happened, the checkpoint to go on from, and the lock of the one who writes.

    journal.msgpack                 header; then one record per proposal and per score, in the order they came
    checkpoint.msgpack              the search's state at an offset of the journal; checkpoint.previous.msgpack: before
    archive.bin                     the identities of all that was proposed, 16 bytes each, as far as a checkpoint says
    config.toml, environment.json, grammar/...   what the run was started with; the header holds their digests
    evaluations.csv, .jsonl         what the journal says, for other programs (written by `evosearch.logs`)
    candidates/<key>/, best/        why a candidate failed (written by `workers`); the best one, with SHA256SUMS
    journal-<offset>.torn           what was cut off a torn journal
    LOCK                            held by the process that writes; readers never need it

What it promises (docs/reliability.md says how each is tested): a score is on the disk when `sync` returns, and so is
every proposal before it; a run folder exists whole or not at all; a checkpoint is replaced whole, and never reflects
more of the journal than is on the disk; what does not check is named and left alone.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import os
import re
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self, TypeGuard

from evosearch.errors import EvosearchError, RunCorrupt, RunError, RunExists, StorageError
from evosearch.store import framing, lock
from evosearch.store.disk import Disk, content, refusal, unused
from evosearch.store.framing import CHECKPOINT, FORMAT, JOURNAL, MAX_CHECKPOINT, PREAMBLE, Frames, corrupt
from evosearch.store.lock import LOCK_FILE
from evosearch.text import escaped

log = logging.getLogger(__name__)

Record = dict[str, Any]

JOURNAL_FILE = "journal.msgpack"
CHECKPOINT_FILE = "checkpoint.msgpack"
PREVIOUS_FILE = "checkpoint.previous.msgpack"
ARCHIVE_FILE = "archive.bin"
SUMS_FILE = "SHA256SUMS"

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")


# --- the run ---------------------------------------------------------------------------------------------------------


class Checkpoint(NamedTuple):
    """A search's state, the offset of the journal that it reflects, and whether it is the one written last.

    standing: what its writer would have others know who read no more than this; empty where it said nothing.
    """

    state: Record
    offset: int
    newest: bool
    standing: Record


class Contents:
    """What the records of a journal up to a place amount to, and which record may come next.

    records: how many there are; proposals, scores: of these; statuses: how many scores of each; notes: themselves.
    """

    def __init__(self) -> None:
        self.records = self.proposals = self.scores = 0
        self.statuses: Counter[str] = Counter()
        self.notes: list[Record] = []
        self._waiting: set[int] = set()  # numbers of proposals without a score: as many as are in flight

    def misplaced(self, record: Any) -> str:
        """What is wrong with a record in the next place; empty where nothing is."""
        if not _is_record(record):
            return NO_RECORD
        kind, number = record["kind"], record.get("number")
        if kind == "note":
            return ""
        if type(number) is not int:
            return f"a {kind} without a number"
        if kind == "proposal":
            due = self.proposals
            return "" if number == due else f"proposal {number} stands where proposal {due} is due"
        if number in self._waiting:
            return ""
        there = 0 <= number < self.proposals
        return f"a score for proposal {number}, which {'has one' if there else 'does not exist'}"

    def pack(self) -> Record:
        """As plain values for msgpack; `records` apart."""
        return {
            "proposals": self.proposals,
            "scores": self.scores,
            "statuses": dict(self.statuses),
            "notes": list(self.notes),
            "waiting": sorted(self._waiting),
        }

    @classmethod
    def unpack(cls, data: Record, records: int) -> Contents:
        """From what `pack` gave."""
        found = cls()
        found.records, found.proposals, found.scores = records, data["proposals"], data["scores"]
        found.statuses, found.notes, found._waiting = Counter(data["statuses"]), data["notes"], set(data["waiting"])
        return found

    def take(self, record: Record) -> None:
        """Count a record that is in its place."""
        self.records += 1
        kind = record["kind"]
        if kind == "proposal":
            self.proposals += 1
            self._waiting.add(record["number"])
        elif kind == "score":
            self.scores += 1
            self.statuses[str(record.get("status", ""))] += 1
            self._waiting.remove(record["number"])
        else:
            self.notes.append(record)

    def read(self, frames: Frames) -> Iterator[tuple[int, Record]]:
        """Take what frames hold; each record with the offset after it. Raises RunCorrupt at the first out of place."""
        for found in frames:
            record = found.record(frames.path)
            if wrong := self.misplaced(record):
                raise corrupt(frames.path, found.start, wrong)
            self.take(record)
            yield found.end, record


class Run:
    """An open run folder. Made by `Run.create` or `Run.open`; a context manager that closes it.

    header: what the run was started with: format version, digests, seed, names; `files` holds digests of its files.
    contents: what the journal holds. (Open for writing only.) end: the offset after its last whole record; after its
        header where the run is open for reading.
    torn: bytes of an incomplete last record, to be cut by `cut_torn_tail` before anything is appended.
    """

    def __init__(self, folder: Path, header: Record, version: int, disk: Disk) -> None:
        self.folder, self.header, self.version, self.disk = folder, header, version, disk
        self.contents = Contents()
        self.torn = 0
        self.end = PREAMBLE
        self._journal = self._lock = -1
        self._unsynced = self._damaged = False  # _damaged: the newest checkpoint does not check
        self._failed = ""
        self._kept = (0, 0)  # how much of the archive its file has, and the CRC-32 of that
        self._bytes = hashlib.blake2b()  # of the journal up to `end`, where the run is open for writing

    @property
    def proposals(self) -> int:
        return self.contents.proposals

    @property
    def scores(self) -> int:
        return self.contents.scores

    @property
    def notes(self) -> list[Record]:
        return self.contents.notes

    # -- making and opening

    @classmethod
    def create(
        cls,
        folder: str | Path,
        *,
        header: Mapping[str, Any],
        files: Mapping[str, str | bytes],
        disk: Disk | None = None,
    ) -> Run:
        """A new run folder, whole or not at all: it is built beside its place and renamed into it.

        header: plain values; `format` and `files` (digests) are added to it. files: content by relative path, which is
        escaped where it is no text (`text.escaped`).
        Raises RunExists where something is there already, StorageError where the disk refuses.
        """
        folder, disk = Path(folder).absolute(), disk or Disk()
        _refuse_existing(folder)
        disk.mkdir(folder.parent)
        _clear_abandoned(folder)
        contents = {
            _relative(escaped(name)): text.encode() if isinstance(text, str) else text for name, text in files.items()
        }
        full_header = {
            **header, "format": FORMAT, "files": {name: _digest(data) for name, data in sorted(contents.items())}
        }  # fmt: skip
        packed = framing.encode(full_header)
        full_header = framing.decode(packed)  # as whoever reads the journal will find it
        start = framing.preamble(JOURNAL) + framing.frame(packed)
        held = journal = -1
        try:
            with disk.replacing(folder, alone=False, fresh=True) as beside:
                disk.mkdir(beside)
                held = lock.take(beside, disk)
                journal = disk.open(beside / JOURNAL_FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT)
                disk.write(journal, beside / JOURNAL_FILE, start)
                disk.fsync(journal, beside / JOURNAL_FILE)
                disk.write_tree(beside, contents)
                _refuse_existing(folder)
        except BaseException as error:
            for descriptor in (journal, held):
                if descriptor >= 0:
                    os.close(descriptor)
            if isinstance(error, StorageError):
                _refuse_existing(folder)  # another process may have been quicker by a moment
            raise
        run = cls(folder, full_header, FORMAT, disk)
        run._lock, run._journal, run.end = held, journal, len(start)
        run._bytes.update(start)
        return run

    @classmethod
    def open(cls, folder: str | Path, write: bool = False, *, disk: Disk | None = None) -> Run:
        """An existing run. Reading takes no lock and checks the header; writing takes the lock and checks all of it.

        Raises RunError where there is no run, RunLocked where another process writes it, RunCorrupt where header,
        frames, the order and numbering of records, or the files it was started with do not check. An incomplete last
        record is no error: see `torn`.
        """
        folder, disk = Path(folder).absolute(), disk or Disk()
        if not folder.is_dir():
            raise RunError(f"{folder}: there is no such run folder; `evolve list` shows those there are")
        journal = folder / JOURNAL_FILE
        if not journal.is_file():
            raise RunError(f"{folder}: not a run folder, it has no {JOURNAL_FILE}; `evolve list` shows those there are")
        held = lock.take(folder, disk) if write else -1
        try:
            header, version, start = _read_header(journal)
            run = cls(folder, header, version, disk)
            run._lock, run.end = held, start
            if write:
                for name, wrong in run.altered():
                    raise RunCorrupt(f"{folder / name}: {wrong}; restore the file from a copy")
                run._scan()
                run._journal = disk.open(journal, os.O_RDWR | os.O_APPEND)
        except BaseException:
            if held >= 0:
                lock.give(folder, held)
            raise
        return run

    def _scan(self) -> None:
        """Read the journal once: its end, its torn tail, and which proposals wait for their score.

        What a checkpoint reflects was checked when it was journaled. Where that is there to the byte, only what stands
        behind it is decoded.
        """
        journal = self.folder / JOURNAL_FILE
        reflected = self._reflected()
        with reading(journal) as file:
            start = 0
            if reflected is not None:
                found = hashed(file, reflected["offset"])
                if found.digest() == reflected["journal"].get("digest"):
                    self.contents = Contents.unpack(reflected["journal"], reflected["records"])
                    self._bytes, self.end = found, reflected["offset"]
                    start = self.end
            frames = Frames(file, journal, self.end)
            for _ in self.contents.read(frames):
                pass
            self.end, self.torn = frames.end, frames.torn
            self._bytes = hashed(file, self.end, start, self._bytes)

    def _reflected(self) -> Record | None:
        """The newest checkpoint that checks, where it says what the journal holds."""
        for name in (CHECKPOINT_FILE, PREVIOUS_FILE):
            with contextlib.suppress(RunCorrupt):  # said by whoever wants its state
                checkpoint = read_checkpoint(self.folder / name, self.header, archive=False)
                if checkpoint is not None:
                    return checkpoint if "journal" in checkpoint else None
        return None

    def altered(self) -> Iterator[tuple[str, str]]:
        """Files of the run's start that are not what the header's digests say: the name and what is wrong."""
        for name in self.header["files"]:
            if wrong := self._wrong(name, content(self.folder / _relative(name))):
                yield name, wrong

    def _wrong(self, name: str, data: bytes | None) -> str:
        if data is None:
            return "it is missing"
        same = _digest(data) == self.header["files"].get(name)
        return "" if same else "it is not the file that the run was started with"

    def close(self) -> None:
        """Make what was appended durable, and give the lock back."""
        if self._journal >= 0:
            journal, self._journal = self._journal, -1
            try:
                if self._unsynced and not self._failed:
                    self.disk.fsync(journal, self.folder / JOURNAL_FILE)
            finally:
                os.close(journal)
                lock.give(self.folder, self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.close()
        except StorageError:
            if error is None:
                raise
            log.error("the journal of %s could not be closed cleanly", self.folder)

    # -- the journal

    def append_proposal(self, record: Mapping[str, Any]) -> None:
        """Journal a proposal. Its `number` is the next one. Durable with the next `sync` or `close`.

        Raises StorageError. ValueError where the number is not the next one: the caller is wrong.
        """
        self._append({**record, "kind": "proposal"})

    def write_scores(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Journal scores of proposals by `number`; who writes them acknowledges none before `sync` has returned.

        Raises StorageError. ValueError where a proposal is unknown or has its score: the caller is wrong.
        """
        for record in records:
            self._append({**record, "kind": "score"})

    def append_note(self, record: Mapping[str, Any]) -> None:
        """Journal something else (a larger budget, a resumption): no part of what journals are compared by."""
        self._append({**record, "kind": "note"})

    def sync(self) -> None:
        """Make everything appended so far durable."""
        if self._unsynced:
            self._write_step(self.disk.fsync, self._journal, self.folder / JOURNAL_FILE)
            self._write_step(self._require_there)
            self._unsynced = False

    def _require_there(self) -> None:
        """Raise StorageError where the journal's name is gone: what is open still takes all that is written to it."""
        journal = self.folder / JOURNAL_FILE
        if not os.path.lexists(journal):
            raise StorageError(
                f"{journal}: moved or removed while the run was on; put the folder back, then `evolve resume` goes on"
            )

    def _append(self, record: Record) -> None:
        journal = self._writable()
        wrong = self.contents.misplaced(record)
        if wrong:
            raise ValueError(f"{self.folder}: {wrong}")
        if self.torn:
            raise RunCorrupt(f"{self.folder / JOURNAL_FILE}: its last record is torn; `evolve repair` cuts it off")
        data = framing.frame(framing.encode(record))
        self._write_step(self.disk.write, journal, self.folder / JOURNAL_FILE, data)
        self._unsynced = True
        self.end += len(data)
        self._bytes.update(data)
        self.contents.take(record)

    def _writable(self) -> int:
        if self._journal < 0:
            raise RunError(f"{self.folder}: opened for reading; open it for writing to append")
        return self._journal

    def _write_step(self, step: Any, *arguments: Any) -> None:
        """After a failed write or fsync nobody knows what is on the disk: only reading it anew, by resuming, tells."""
        if self._failed:
            raise StorageError(
                f"{self.folder / JOURNAL_FILE}: an earlier write failed ({self._failed}); resume the run"
            )
        try:
            step(*arguments)
        except StorageError as error:
            self._failed = str(error.__cause__ or error)
            raise

    def records(self, start: int | None = None) -> Iterator[Record]:
        """The journal's records in order, each a dict with `kind` ("proposal", "score" or "note"), read as a stream.

        start: an offset from a checkpoint; else after the header. An incomplete last record is left out (`torn`).
        Raises RunCorrupt, naming file and offset.
        """
        for _, record in self.located(start):
            yield record

    def located(self, start: int | None = None) -> Iterator[tuple[int, Record]]:
        """As `records`, each with the offset after it."""
        journal = self.folder / JOURNAL_FILE
        with reading(journal) as file:
            if start is None:
                start = _read_header(journal)[2]
            for found in Frames(file, journal, start):
                record = found.record(journal)
                if not _is_record(record):
                    raise corrupt(journal, found.start, NO_RECORD)
                yield found.end, record

    def cut_torn_tail(self) -> int:
        """Cut an incomplete last record off, into `journal-<offset>.torn`. Returns its bytes, 0 where there is none.

        Such a record was never acknowledged. Raises StorageError; then the journal is as it was.
        """
        if not self.torn:
            return 0
        journal, descriptor, size = self.folder / JOURNAL_FILE, self._writable(), self.torn
        kept = unused(self.folder / f"journal-{self.end}.torn")
        self.disk.write_new(kept, os.pread(descriptor, size, self.end))
        self.disk.fsync_folder(self.folder)
        self._write_step(self.disk.truncate, descriptor, journal, self.end)
        self._write_step(self.disk.fsync, descriptor, journal)
        self.torn = 0
        log.warning("%s: cut off an incomplete last record of %d bytes, kept in %s", journal, size, kept.name)
        return size

    def text(self, name: str) -> str:
        """A file that the run was started with. Raises RunCorrupt where it is not what the header's digest says."""
        data = content(self.folder / _relative(name))
        if data is None or self._wrong(name, data):
            raise RunCorrupt(f"{self.folder / name}: {self._wrong(name, data)}; restore the file from a copy")
        return data.decode()

    def best(self, name: str) -> bytes | None:
        """A file of best/; None where there is none. Raises RunCorrupt where it is not what SHA256SUMS says."""
        data = content(self.folder / "best" / _plain_name(name))
        stated = (content(self.folder / "best" / SUMS_FILE) or b"").splitlines()
        if data is not None and sums({name: data}).rstrip() not in stated:
            path = self.folder / "best" / name
            raise RunCorrupt(
                f"{path}: it does not match {SUMS_FILE}; restore it from a copy, or let `evolve resume` write it anew"
            )
        return data

    # -- the checkpoint

    def write_checkpoint(self, state: Mapping[str, Any], standing: Mapping[str, Any] | None = None) -> None:
        """Replace the checkpoint by one of `state` (plain values), at the journal's present end. Raises StorageError.

        What the state has as `archive`, a row of bytes that only grows, goes to a file of its own, to which no more is
        written than is new. standing: see `Checkpoint`.

        It is written beside, synced and renamed; the one before is kept, unless it was found damaged. What it reflects
        is on the disk before it is.
        """
        self._writable()
        self.sync()
        journal = {**self.contents.pack(), "digest": self._bytes.digest()}
        record = {
            "header": self.header,
            "offset": self.end,
            "records": self.contents.records,
            "journal": journal,
            "state": state,
        }
        if isinstance(archive := state.get("archive"), bytes):
            record["state"] = {**state, "archive": b""}
            record["archive"] = self._keep(archive)
        if standing is not None:
            record["standing"] = standing
        data = framing.preamble(CHECKPOINT) + framing.frame(framing.encode(record), MAX_CHECKPOINT)
        before = None if self._damaged else self.folder / PREVIOUS_FILE
        with self.disk.replacing(self.folder / CHECKPOINT_FILE, before=before) as beside:
            self.disk.write_new(beside, data)
        self._damaged = False

    def _keep(self, archive: bytes) -> Record:
        """Write what of the archive is not in its file, durably. Returns how much of the file it is, and its CRC-32."""
        path, (size, crc) = self.folder / ARCHIVE_FILE, self._kept
        if size > len(archive):
            size = crc = 0
        descriptor = self.disk.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            self.disk.truncate(descriptor, path, size)  # what a killed process had written behind its last checkpoint
            os.lseek(descriptor, size, os.SEEK_SET)
            self.disk.write(descriptor, path, archive[size:])
            self.disk.fsync(descriptor, path)
        finally:
            os.close(descriptor)
        self._kept = len(archive), zlib.crc32(archive[size:], crc)
        return {"size": self._kept[0], "crc": self._kept[1]}

    def load_checkpoint(self, *, archive: bool = True) -> Checkpoint | None:
        """The newest checkpoint that checks, None where there is none. archive: whether its state has that.

        One that does not check is named in the log, and the one before is taken: journal and older state hold all.
        Raises RunCorrupt where a checkpoint reflects more than the journal holds: then acknowledged scores are gone.
        """
        for name in (CHECKPOINT_FILE, PREVIOUS_FILE):
            try:
                checkpoint = read_checkpoint(self.folder / name, self.header, archive=archive)
            except RunCorrupt as error:
                what = str(error).removesuffix(framing.ADVICE)
                log.warning("%s; going on from the one before it, or from the journal alone", what)
                self._damaged |= name == CHECKPOINT_FILE
                continue
            if checkpoint is None:
                continue
            size = (self.folder / JOURNAL_FILE).stat().st_size
            if checkpoint["offset"] > size:
                raise RunCorrupt(
                    f"{self.folder / JOURNAL_FILE}: it ends at offset {size}, but {name} reflects it up to "
                    f"{checkpoint['offset']}: records are missing; restore the journal from a copy"
                )
            if (kept := checkpoint.get("archive")) is not None:
                self._kept = kept["size"], kept["crc"]
            standing = checkpoint.get("standing", {})
            return Checkpoint(checkpoint["state"], checkpoint["offset"], name == CHECKPOINT_FILE, standing)
        return None

    # -- other files

    def write_best(self, files: Mapping[str, str | bytes]) -> Path:
        """Replace the folder `best/` by one with these files and their SHA256SUMS (`sha256sum -c` reads it)."""
        self._writable()
        best = self.folder / "best"
        contents = {_plain_name(name): text.encode() if isinstance(text, str) else text for name, text in files.items()}
        with self.disk.replacing(best) as beside:
            self.disk.write_tree(beside, {**contents, SUMS_FILE: sums(contents)})
        return best


NO_RECORD = "not a record of a proposal, a score or a note"


def _is_record(record: Any) -> TypeGuard[Record]:
    return isinstance(record, dict) and record.get("kind") in ("proposal", "score", "note")


# --- reading ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Any]:
    """The file open for reading in large pieces; the system's refusals become StorageErrors."""
    try:
        with path.open("rb", buffering=1 << 20) as file:
            yield file
    except OSError as error:
        raise refusal(path, error) from error


def hashed(file: BinaryIO, end: int, start: int = 0, found: hashlib.blake2b | None = None) -> hashlib.blake2b:
    """The hash of a file's bytes up to an offset, or to its end. found: that of the bytes up to `start`."""
    found = hashlib.blake2b() if found is None else found
    file.seek(start)
    while start < end and (chunk := file.read(min(end - start, 1 << 20))):
        found.update(chunk)
        start += len(chunk)
    return found


def _read_header(journal: Path) -> tuple[Record, int, int]:
    """(header, format version, offset of the first record after it)."""
    with reading(journal) as file:
        version = framing.read_preamble(file, journal, JOURNAL)
        found = next(iter(Frames(file, journal)), None)
        header = found.record(journal) if found else None
        if found is None or not _is_header(header):
            raise corrupt(journal, PREAMBLE, "the run's header is not there")
        return header, version, found.end


def _is_header(header: Any) -> TypeGuard[Record]:
    try:
        return all(isinstance(digest, str) and _relative(name) for name, digest in header["files"].items())
    except (TypeError, KeyError, AttributeError, ValueError):  # well framed, but not ours
        return False


def read_checkpoint(path: Path, header: Record, *, archive: bool = True) -> dict[str, Any] | None:
    """The checkpoint's record; None where there is no file. Raises RunCorrupt where it does not check or fit.

    archive: whether its state is to have what lies in the archive's file, which is checked in any case.
    """
    try:
        with path.open("rb") as file:
            framing.read_preamble(file, path, CHECKPOINT)
            frames = Frames(file, path, limit=MAX_CHECKPOINT)
            found = list(frames)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refusal(path, error) from error
    if len(found) != 1 or frames.torn:
        raise corrupt(path, frames.end, "the checkpoint is cut short or has something behind it")
    record: Any = found[0].record(path)
    kinds = {"header": dict, "offset": int, "records": int, "state": dict}
    more = {"archive": dict, "standing": dict, "journal": dict}  # what older ones do not have
    found_kinds = {name: type(value) for name, value in record.items()} if isinstance(record, dict) else {}
    if {**more, **found_kinds} != {**more, **kinds}:
        raise corrupt(path, PREAMBLE, "not a checkpoint's record")
    if record["header"] != header:
        raise corrupt(path, PREAMBLE, "the checkpoint belongs to another run")
    if (stated := record.get("archive")) is not None:
        kept = (content(path.with_name(ARCHIVE_FILE)) or b"")[: stated.get("size", 0)]
        if (len(kept), zlib.crc32(kept)) != (stated.get("size"), stated.get("crc")):
            raise corrupt(path, PREAMBLE, f"{ARCHIVE_FILE} beside it is not what it goes with")
        record["state"]["archive"] = kept if archive else b""
    return dict(record)


# --- small things ----------------------------------------------------------------------------------------------------


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def sums(contents: Mapping[str, bytes]) -> bytes:
    """As `sha256sum` prints them."""
    return "".join(f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(contents)).encode()


def _relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r} is no path inside a run folder")
    return name


def _plain_name(name: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain file name")
    return name


def _refuse_existing(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise RunExists(
            f"{folder}: there is something already; go on with it by `evolve resume {folder.name}`, "
            f"or choose another name"
        )


def _clear_abandoned(folder: Path) -> None:
    """Remove what a creation of this run left beside it when its process was killed."""
    for beside in folder.parent.glob(f".{glob.escape(folder.name)}.new-*"):
        with contextlib.suppress(OSError, EvosearchError):  # gone meanwhile, or at work: not in our way
            if time.time() - beside.stat().st_mtime > 60 or (beside / LOCK_FILE).exists():
                os.close(lock.take(beside, Disk()))
                shutil.rmtree(beside)
                log.warning("%s: removed what an interrupted start of this run had left", beside)
