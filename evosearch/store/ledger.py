"""Scores by identity: the fitness table in memory, and the ledger on disk that runs on this machine share.

The table is open addressing with linear probing on 128-bit keys, compiled by Numba where the keys are many: one batch
of look-ups is one loop without Python objects, so that the cache misses of its keys overlap. Keys are hashes already
(blake2b), so their low bits are the slot.

The ledger is framed like the journal, and not fsynced: journals can rebuild it, and a run never depends on it. Writers
append one record in one write under the file's lock; readers take no lock. A ledger that cannot be written becomes a
ledger in memory, and says so.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import RunCorrupt, RunError, StorageError
from evosearch.score import Score
from evosearch.store import framing
from evosearch.store.disk import Disk, refusal
from evosearch.store.framing import LEDGER, PREAMBLE, Frame, Frames
from evosearch.store.run import Run

log = logging.getLogger(__name__)

Keys = NDArray[np.uint64]  # shape (n, 2): the two little-endian halves of each 128-bit key
Slots = NDArray[np.int64]  # shape (capacity, 3): low half, high half, value + 1 (0: the slot is empty)
MANY = 1 << 14  # keys of one call: Python takes 1 µs for each, and half a second to load Numba and what it compiled


# --- the table -------------------------------------------------------------------------------------------------------


def pairs(keys: Sequence[str]) -> Keys:
    """Keys of 32 hex digits as the table takes them: uint64, shape (n, 2). Raises ValueError for any other text."""
    data = bytes.fromhex("".join(keys))
    if len(data) != 16 * len(keys) or any(len(key) != 32 for key in keys):
        raise ValueError("a key has 32 hex digits")
    return np.frombuffer(data, dtype="<u8").reshape(-1, 2)


def _find(slots: Slots, keys: NDArray[np.int64], values: NDArray[np.int64]) -> None:
    """Write each key's value, or -1."""
    mask = slots.shape[0] - 1
    for i in range(keys.shape[0]):
        low, high = keys[i, 0], keys[i, 1]
        slot = low & mask
        while True:
            value = slots[slot, 2]
            if value == 0 or (slots[slot, 0] == low and slots[slot, 1] == high):
                values[i] = value - 1
                break
            slot = (slot + 1) & mask


def _insert(slots: Slots, keys: NDArray[np.int64], values: NDArray[np.int64]) -> int:
    """Set each key's value; the number of keys that were new. There must be room."""
    mask = slots.shape[0] - 1
    new = 0
    for i in range(keys.shape[0]):
        low, high = keys[i, 0], keys[i, 1]
        slot = low & mask
        while slots[slot, 2] != 0 and not (slots[slot, 0] == low and slots[slot, 1] == high):
            slot = (slot + 1) & mask
        if slots[slot, 2] == 0:
            new += 1
            slots[slot, 0], slots[slot, 1] = low, high
        slots[slot, 2] = values[i] + 1
    return new


def _move(old: Slots, slots: Slots) -> None:
    """Insert all of one table into a larger empty one."""
    mask = slots.shape[0] - 1
    for i in range(old.shape[0]):
        if old[i, 2] != 0:
            slot = old[i, 0] & mask
            while slots[slot, 2] != 0:
                slot = (slot + 1) & mask
            slots[slot, 0], slots[slot, 1], slots[slot, 2] = old[i, 0], old[i, 1], old[i, 2]


@functools.cache
def _kernels() -> tuple[Any, ...]:
    """The three loops as machine code, kept on disk between processes where there is a place for it."""
    import numba

    kernels = (
        ("void(int64[:,::1], int64[:,::1], int64[::1])", _find),
        ("int64(int64[:,::1], int64[:,::1], int64[::1])", _insert),
        ("void(int64[:,::1], int64[:,::1])", _move),
    )
    try:
        return tuple(numba.njit(signature, cache=True)(function) for signature, function in kernels)
    except (RuntimeError, OSError) as error:  # neither beside this file nor in the home is there a writable place
        log.info(
            "compiling the fitness table for this process only (%s); NUMBA_CACHE_DIR names a place to keep it", error
        )
        return tuple(numba.njit(signature)(function) for signature, function in kernels)


def _loops(keys: int) -> tuple[Any, ...]:
    """`_find`, `_insert` and `_move` for so many keys: compiled where they are many, or where others were."""
    return _kernels() if keys >= MANY or _kernels.cache_info().currsize else (_find, _insert, _move)


class FitnessTable:
    """A map from 128-bit keys to numbers (a proposal's number, a record's offset), looked up by the batch.

    keys: uint64, shape (n, 2), from `pairs` or any other view of 16 bytes each; values: int64, shape (n,), at least 0.
    Memory: 24 bytes a slot; slots are a power of two, at least twice and at most four times the keys.
    """

    def __init__(self, capacity: int = 1024) -> None:
        """capacity: keys to make room for; it grows by itself."""
        self._slots: Slots = np.zeros((_slots_for(capacity), 3), np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, keys: Keys) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """(whether each key is there, its value or -1), each of shape (n,)."""
        values = np.empty(len(keys), np.int64)
        _loops(len(keys))[0](self._slots, _signed(keys), values)
        return values >= 0, values

    def put(self, keys: Keys, values: NDArray[np.int64]) -> int:
        """Set the keys' values; of equal keys the last one counts. Returns how many keys were new."""
        values = np.ascontiguousarray(values, np.int64)
        if values.shape != (len(keys),) or (len(values) and int(values.min()) < 0):
            raise ValueError("one value of at least 0 for each key")
        needed = _slots_for(self._count + len(keys))
        if needed > len(self._slots):
            larger: Slots = np.zeros((needed, 3), np.int64)
            _loops(len(self._slots))[2](self._slots, larger)
            self._slots = larger
        new: int = _loops(len(keys))[1](self._slots, _signed(keys), values)
        self._count += new
        return new


def _slots_for(keys: int) -> int:
    """The power of two at which at most half of the slots are taken."""
    return 1 << max(2 * keys - 1, 1).bit_length()


def _signed(keys: Keys) -> NDArray[np.int64]:
    """The same bits as int64: Numba would make a float of an unsigned and a signed number together."""
    if keys.ndim != 2 or keys.shape[1] != 2 or keys.dtype != np.uint64:
        raise ValueError(f"keys are uint64 of shape (n, 2), not {keys.dtype} of shape {keys.shape}")
    return np.require(keys, requirements=["C", "A", "W"]).view(np.int64)


# --- the ledger ------------------------------------------------------------------------------------------------------


KEPT = ("ok", "nan")  # other failures may be the machine's and not the architecture's
MOST_WRITTEN = 1 << 20  # bytes that a merge writes at a time
LOCK_PATIENCE = 10.0  # seconds: appending takes microseconds, compacting a million records a few seconds


def ledger_path() -> Path:
    """Where this machine's ledger lies: in $EVOSEARCH_CACHE, else in ~/.cache/evosearch.

    Raises StorageError where this user has no home folder.
    """
    folder = Path(os.environ.get("EVOSEARCH_CACHE") or "~/.cache/evosearch")
    try:
        return folder.expanduser() / "ledger.msgpack"
    except RuntimeError:
        raise StorageError(f"{folder}: this user has no home folder; EVOSEARCH_CACHE names another place") from None


@dataclass(frozen=True)
class LedgerStatistics:
    """records: whole ones that check. bytes: the file's size. oldest, newest: seconds since 1970 (0 where empty).

    tasks: records by (task digest, recipe digest).
    """

    path: Path
    records: int
    bytes: int
    oldest: float
    newest: float
    tasks: Mapping[tuple[str, str], int]


class Ledger:
    """Scores that runs on this machine share, by (key, task digest, recipe digest, seed). A context manager.

    path: the file; made when the first score is put. Several processes may use one at once, and die at any moment.
    Raises StorageError where there is no place for one; see `shared`.
    """

    def __init__(self, path: str | Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path) if path is not None else ledger_path()
        self._clock = clock
        self._table = FitnessTable()
        self._memory: dict[bytes, Score] = {}  # what could not be written
        self._file = -1  # descriptor
        self._end = 0  # everything before this offset is in the table
        self._gave_up = False
        self.refresh()

    @classmethod
    def shared(cls) -> Ledger | None:
        """This machine's ledger; None where there is no place for one, which the log says."""
        try:
            return cls()
        except StorageError as error:
            log.warning("%s: scores of this run are not shared with others", error)
            return None

    def __len__(self) -> int:
        return len(self._table) + len(self._memory)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    # -- one score

    def get(self, key: str, task: str, recipe: str, seed: int) -> Score | None:
        """The score known for this candidate, trained so; None where there is none. Sees what `refresh` has seen."""
        identity = _identity(key, task, recipe, seed)
        if identity in self._memory:
            return self._memory[identity]
        found, offsets = self._table.get(_keys([identity]))
        return self._read(int(offsets[0]), identity) if found[0] else None

    def put(self, score: Score, *, task: str, recipe: str) -> bool:
        """Share a score. Returns whether it is kept ("ok" and "nan" are) and new. Never raises for the disk's sake."""
        if score.status not in KEPT:
            return False
        identity = _identity(score.key, task, recipe, score.seed)
        if identity in self._memory or self._table.get(_keys([identity]))[0][0]:
            return False
        if not self._gave_up:
            try:
                return self._append([_framed(score, task, recipe, self._clock())]) == 1
            except (OSError, RunError, StorageError) as error:
                self._give_up(error)
        self._memory[identity] = score
        return True

    def refresh(self) -> None:
        """Take in what other processes have put since. Does nothing where the ledger cannot be read."""
        try:
            self._reopen(create=False)
            if self._file >= 0:
                with contextlib.suppress(RunCorrupt):  # a torn tail may be being cut just now; put looks under the lock
                    self._take_in()
        except (OSError, RunError) as error:
            self._give_up(error)

    # -- the whole ledger

    def ls(self) -> LedgerStatistics:
        """What is in the file. Raises StorageError or RunError where it cannot be read."""
        tasks: Counter[tuple[str, str]] = Counter()
        times = []
        with _refused(self.path):
            if not self.path.exists():
                return LedgerStatistics(self.path, 0, 0, 0.0, 0.0, {})
            for _, record in self._all():
                tasks[record["task"], record["recipe"]] += 1
                times.append(record["at"])
            size = self.path.stat().st_size
        return LedgerStatistics(
            self.path, len(times), size, min(times, default=0.0), max(times, default=0.0), dict(tasks)
        )  # fmt: skip

    def merge(self, other: str | Path) -> int:
        """Add what another ledger has and this one has not. Returns how many. Raises StorageError or RunError.

        other: the ledger's file; or the folder of a run, whose journal holds the scores it paid for.
        """
        other = Path(other)
        if other.is_dir():
            batch = list(_journaled(Run.open(other)))
        else:
            with _refused(other), other.open("rb", buffering=1 << 20) as file:
                framing.read_preamble(file, other, LEDGER)
                batch = [framing.frame(found.payload) for found in framing.salvage(file, other) if _known(found)]
        with _refused(self.path):
            return self._append(batch)

    def gc(self, max_bytes: int | None = None, older_than: float | None = None) -> tuple[int, int]:
        """Drop records older than `older_than` seconds, then the oldest ones until the file has at most `max_bytes`.

        Returns (kept, dropped). The file is replaced as a whole. Raises StorageError or RunError.
        """
        with _refused(self.path), self._locked():
            ages = sorted(((record["at"], found.start, found.end) for found, record in self._all()), reverse=True)
            kept, size = [], PREAMBLE
            for at, start, end in ages:
                size += end - start
                old = older_than is not None and at < self._clock() - older_than
                if not old and (max_bytes is None or size <= max_bytes):
                    kept.append((start, end))
            kept.sort()
            self._replace(os.pread(self._file, end - start, start) for start, end in kept)
        self.refresh()
        return len(kept), len(ages) - len(kept)

    def _all(self) -> Iterator[tuple[Frame, dict[str, Any]]]:
        """Every record that checks, whatever lies between."""
        with self.path.open("rb", buffering=1 << 20) as file:
            framing.read_preamble(file, self.path, LEDGER)
            for found in framing.salvage(file, self.path):
                record = _known(found)
                if record:
                    yield found, record

    # -- the file

    def _reopen(self, *, create: bool) -> None:
        """Have the file open that stands at the path now: a compaction replaces it."""
        try:
            if self._file >= 0 and os.path.samestat(os.fstat(self._file), self.path.stat()):
                return
        except FileNotFoundError:
            pass  # removed since; a new one is made where something is to be written
        self.close()
        self._table, self._end = FitnessTable(), 0
        flags = os.O_APPEND | os.O_CLOEXEC
        if create:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, flags | os.O_RDWR | os.O_CREAT, 0o644)
        elif self.path.exists():
            writable = os.access(self.path, os.W_OK)
            self._file = os.open(self.path, flags | (os.O_RDWR if writable else os.O_RDONLY))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the file that stands at the path. Raises BlockingIOError after LOCK_PATIENCE seconds."""
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            self._reopen(create=True)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.0005)
                continue
            try:
                if os.path.samestat(os.fstat(self._file), self.path.stat()):
                    break  # else it was replaced between our open and our lock
            except FileNotFoundError:
                continue
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _take_in(self) -> int:
        """Put the records behind `_end` into the table. Returns the bytes of an incomplete last one.

        Raises RunCorrupt, with all before it taken in; RunError where a newer evosearch wrote the file.
        """
        size = os.fstat(self._file).st_size
        if size == self._end:
            return 0
        if size < PREAMBLE:
            return size
        with os.fdopen(os.dup(self._file), "rb", buffering=1 << 20) as file:
            file.seek(0)
            if self._end == 0:
                framing.read_preamble(file, self.path, LEDGER)
            frames = Frames(file, self.path, self._end or PREAMBLE)
            try:
                self._index(frames)
            finally:
                self._end = frames.end
        return frames.torn

    def _index(self, frames: Frames) -> None:
        """Read frames into the table, by their identity alone."""
        identities: list[bytes] = []
        offsets: list[int] = []
        try:
            for found in frames:
                if found.payload.startswith(_STARTS):
                    identities.append(found.payload[3:19])
                    offsets.append(found.start)
        finally:
            if identities:
                self._table.put(_keys(identities), np.array(offsets, np.int64))

    def _append(self, batch: Sequence[bytes]) -> int:
        """Append the frames whose identity is new, under the lock. Returns how many. Raises OSError or RunError."""
        with self._locked():
            try:
                torn = self._take_in()
            except RunCorrupt as error:
                self._mend(error)
                torn = 0
            if self._end == 0:
                os.ftruncate(self._file, 0)
                self._write(framing.preamble(LEDGER))
            elif torn:  # under the lock nobody is writing: who began this record is dead
                os.ftruncate(self._file, self._end)
                log.info("%s: cut off a record of %d bytes that another process had begun", self.path, torn)
            identities = [data[_IDENTITY_AT : _IDENTITY_AT + 16] for data in batch]
            known, _ = self._table.get(_keys(identities))
            new: dict[bytes, bytes] = {}
            for identity, data, there in zip(identities, batch, known, strict=True):
                if not there:
                    new.setdefault(identity, data)
            for part in _parts(new.items()):
                starts = self._end + np.cumsum([0, *(len(data) for _, data in part[:-1])])
                self._write(b"".join(data for _, data in part))
                self._table.put(_keys([identity for identity, _ in part]), starts)
            return len(new)

    def _write(self, data: bytes) -> None:
        """Append in one write, all of it or nothing."""
        try:
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):  # else the next writer cuts it off
                os.ftruncate(self._file, self._end)
            raise
        self._end += len(data)

    def _mend(self, damage: RunCorrupt) -> None:
        """Keep a damaged ledger aside and go on with its records that check: each stands for itself."""
        aside = self.path.with_name(self.path.name + ".damaged")
        shutil.copyfile(self.path, aside)
        with self.path.open("rb", buffering=1 << 20) as file:
            self._replace(framing.frame(found.payload) for found in framing.salvage(file, self.path) if _known(found))
        what = str(damage).removesuffix(framing.ADVICE)
        log.warning("%s; went on with the %d records that check, the file is kept as %s", what, len(self._table), aside)

    def _replace(self, frames: Iterable[bytes]) -> None:
        """Put a new file with these frames in the place of the present one, and hold its lock as well."""
        disk, file = Disk(), -1
        try:
            with disk.replacing(self.path, durable=False) as beside:  # ours alone: we hold the lock
                file = disk.open(beside, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
                fcntl.flock(file, fcntl.LOCK_EX)
                with os.fdopen(os.dup(file), "wb", buffering=1 << 20) as out:
                    out.write(framing.preamble(LEDGER))
                    for data in frames:
                        out.write(data)
                disk.fsync(file, beside)
        except BaseException:
            if file >= 0:
                os.close(file)
            raise
        self.close()
        self._file, self._table, self._end = file, FitnessTable(), 0
        self._take_in()

    def _read(self, offset: int, identity: bytes) -> Score | None:
        try:
            found = framing.frame_at(self._file, self.path, offset)
            record = _known(found)
            if record and found.payload[3:19] == identity:
                return Score.unpack(record["score"])
        except (OSError, RunCorrupt, KeyError, TypeError) as error:
            log.warning("%s: the score at offset %d cannot be used: %s", self.path, offset, error)
        return None

    def _give_up(self, error: Exception) -> None:
        """From here on scores stay in memory; said once."""
        if not self._gave_up:
            log.warning("%s: %s: scores of this run are not shared with others", self.path, error)
        self._gave_up = True


# A record is msgpack [16 bytes of identity, {...}]: what the table needs is read without unpacking the rest.
_STARTS = b"\x92\xc4\x10"
_IDENTITY_AT = 8 + len(_STARTS)


def _identity(key: str, task: str, recipe: str, seed: int) -> bytes:
    """16 bytes that stand for (key, task, recipe, seed)."""
    return hashlib.blake2b("\0".join((key, task, recipe, str(seed))).encode(), digest_size=16).digest()


def _keys(identities: Sequence[bytes]) -> Keys:
    return np.frombuffer(b"".join(identities), "<u8").reshape(-1, 2)


def _parts(frames: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Identities and frames in parts of about MOST_WRITTEN bytes: what one write makes whole."""
    part: list[tuple[bytes, bytes]] = []
    size = 0
    for identity, data in frames:
        part.append((identity, data))
        size += len(data)
        if size >= MOST_WRITTEN:
            yield part
            part, size = [], 0
    if part:
        yield part


def known_as(recipe: str, code: Mapping[str, str]) -> str:
    """The recipe's digest as the ledger has it: with the files that own layers import, which no key takes in.

    code: their digests by path; empty for most runs, and then it is the recipe's.
    """
    if not code:
        return recipe
    return hashlib.blake2b(repr((recipe, sorted(code.items()))).encode(), digest_size=16).hexdigest()


def _framed(score: Score, task: str, recipe: str, at: float) -> bytes:
    """A score as the ledger holds it. at: seconds since 1970."""
    record = {"task": task, "recipe": recipe, "at": at, "score": score.pack()}
    return framing.frame(framing.encode([_identity(score.key, task, recipe, score.seed), record]))


def _journaled(run: Run) -> Iterator[bytes]:
    """The scores that a run paid for, of its journal, as the ledger holds them. What took no time was known from
    elsewhere, or somebody told it: that is no training of the task.
    """
    task = run.header["digests"]["task"]
    recipe = known_as(run.header["digests"]["recipe"], run.header.get("code", {}).get("layers", {}))
    for record in run.records():
        if record["kind"] == "score" and record["status"] in KEPT and record["seconds"]:
            yield _framed(Score.unpack(record), task, recipe, float(record["at"]))


def _known(found: Frame) -> dict[str, Any] | None:
    """The record of a score in a frame; None where it is none."""
    try:
        _, record = framing.decode(found.payload)
        score = record["score"]
        same = _identity(score["key"], record["task"], record["recipe"], score["seed"]) == found.payload[3:19]
        return record if same and found.payload.startswith(_STARTS) and isinstance(record["at"], float) else None
    except (ValueError, TypeError, KeyError):
        return None


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error
