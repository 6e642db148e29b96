"""Files of framed msgpack records: the journal, the checkpoint and the ledger.

    file   = preamble, frame, frame, ...
    preamble (16 bytes) = kind (8 bytes), format version (u32), CRC-32 of the 12 bytes before (u32)
    frame  = length of the payload (u32), CRC-32 of those 4 bytes (u32), payload, CRC-32 of the payload (u32)

All integers are little-endian. The length has a checksum of its own, so that a damaged length is never taken for a
record that was cut short: what is incomplete at the end of the file is *torn*, anything else that does not check is
*corrupt*. A file system may, after a power cut, show a size whose data never arrived: zeros from a sector boundary to
the end of the file are torn as well.

Records are plain values (None, bool, int, float, str, bytes, list, dict). Reading makes nothing else, runs nothing,
and never allocates more than the file holds. Equal records written in equal order give equal bytes.
"""

from __future__ import annotations

import numbers
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgpack  # type: ignore[import-untyped]  # has no types, and typeshed none for it

from evosearch.errors import RunCorrupt, RunError

FORMAT = 1  # the newest format version, and the one that is written
JOURNAL, CHECKPOINT, LEDGER = b"EVOJRNL\n", b"EVOCHKP\n", b"EVOLEDG\n"

MAX_RECORD = 1 << 24  # bytes: a proposal's text and a score are some kilobytes
MAX_CHECKPOINT = 1 << 30  # bytes

SECTOR = 512  # bytes that a disk writes as a whole; the smallest there are
_BIG_INTEGER = (
    1  # msgpack extension: an integer beyond 64 bits (the state of a random generator), signed, little-endian
)

_HEAD = struct.Struct("<II")
_CRC = struct.Struct("<I")
PREAMBLE = 16
FRAME = _HEAD.size + _CRC.size  # bytes that a frame adds to its payload


# --- records ---------------------------------------------------------------------------------------------------------


def _encode_other(value: object) -> Any:
    """What msgpack does not know by itself: numpy scalars, and integers beyond 64 bits."""
    if isinstance(value, numbers.Integral):
        integer = int(value)
        if -(1 << 63) <= integer < 1 << 64:
            return integer
        return msgpack.ExtType(_BIG_INTEGER, integer.to_bytes(integer.bit_length() // 8 + 1, "little", signed=True))
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(
        f"{type(value).__name__} cannot be written to a run: give None, bool, int, float, str, bytes, list or dict"
    )


def _decode_other(code: int, data: bytes) -> int:
    if code != _BIG_INTEGER:
        raise ValueError(f"unknown msgpack extension {code}")
    return int.from_bytes(data, "little", signed=True)


def encode(record: Any) -> bytes:
    """A record as bytes. Tuples become lists; lone surrogates in texts are escaped (as by `text.escaped`).

    Raises TypeError for anything that is no plain value.
    """
    packed = msgpack.packb(record, default=_encode_other, use_bin_type=True, unicode_errors="backslashreplace")
    assert isinstance(packed, bytes)
    return packed


def decode(payload: bytes) -> Any:
    """The record in a payload. Raises ValueError where the bytes are no record."""
    try:
        return msgpack.unpackb(payload, raw=False, strict_map_key=False, ext_hook=_decode_other)
    except ValueError:
        raise
    except (TypeError, OverflowError, RecursionError) as error:  # an unhashable key, an absurd time stamp
        raise ValueError(str(error)) from error


# --- frames ----------------------------------------------------------------------------------------------------------


def preamble(kind: bytes, version: int = FORMAT) -> bytes:
    """The first 16 bytes of a file of this kind."""
    start = kind + _CRC.pack(version)
    return start + _CRC.pack(zlib.crc32(start))


def frame(payload: bytes, limit: int = MAX_RECORD) -> bytes:
    """A payload with its length and checksums. Raises ValueError beyond `limit` bytes."""
    if len(payload) > limit:
        raise ValueError(f"a record of {len(payload)} bytes is over the limit of {limit}")
    length = _CRC.pack(len(payload))
    return b"".join((length, _CRC.pack(zlib.crc32(length)), payload, _CRC.pack(zlib.crc32(payload))))


def read_preamble(file: BinaryIO, path: Path, kind: bytes) -> int:
    """The file's format version.

    Raises RunCorrupt where the first 16 bytes do not check, RunError where a newer evosearch wrote the file.
    """
    start = file.read(PREAMBLE)
    if len(start) < PREAMBLE or _CRC.unpack(start[12:])[0] != zlib.crc32(start[:12]) or start[:8] != kind:
        raise RunCorrupt(
            f"{path}: offset 0: its first {PREAMBLE} bytes are not those of an evosearch {NAMES[kind]}{RESTORE}"
        )
    version: int = _CRC.unpack(start[8:12])[0]
    if not 1 <= version <= FORMAT:
        raise RunError(
            f"{path}: written in format {version}; this evosearch reads formats 1 to {FORMAT}: "
            f"install the version that wrote it, or a newer one"
        )
    return version


RESTORE = "; restore the file from a copy"
NAMES = {JOURNAL: "journal", CHECKPOINT: "checkpoint", LEDGER: "ledger"}


class Frame(NamedTuple):
    """A whole frame that checks. start, end: offsets in the file, of its first byte and of the one after its last."""

    start: int
    end: int
    payload: bytes

    def record(self, path: Path) -> Any:
        """The record inside. Raises RunCorrupt."""
        try:
            return decode(self.payload)
        except ValueError as error:
            raise corrupt(path, self.start, f"the record cannot be read ({error})") from error


ADVICE = "; nothing was changed: restore the file from a copy, or look at it with `evolve verify`"


def corrupt(path: Path, offset: int, why: str) -> RunCorrupt:
    return RunCorrupt(f"{path}: offset {offset}: {why}{ADVICE}")


class Frames:
    """The frames of an open file from `start` on, in order, read as a stream.

    After the last one, `end` is the offset after it and `torn` the number of bytes of an incomplete one behind it.
    Raises RunCorrupt, naming file and offset, at the first thing that does not check.
    """

    def __init__(self, file: BinaryIO, path: Path, start: int = PREAMBLE, limit: int = MAX_RECORD) -> None:
        self.file, self.path, self.limit = file, path, limit
        self.end = start
        self.torn = 0

    def __iter__(self) -> Iterator[Frame]:
        file, limit = self.file, self.limit
        head_size, unpack_head, unpack_crc, crc32 = _HEAD.size, _HEAD.unpack, _CRC.unpack, zlib.crc32
        file.seek(self.end)
        while True:
            head = file.read(head_size)
            if len(head) < head_size:
                self.torn = len(head)
                return
            length, check = unpack_head(head)
            if check != crc32(head[:4]):
                return self._refuse(head_size, "the length of a record does not check")
            if length > limit:
                raise corrupt(self.path, self.end, f"a record of {length} bytes is over the limit of {limit}")
            left = self._left() if length > 1 << 20 else length + 4  # never allocate what is not there
            body = file.read(min(length + 4, left))
            if len(body) < length + 4:
                self.torn = head_size + len(body)
                return
            payload = body[:length]
            if unpack_crc(body[length:])[0] != crc32(payload):
                return self._refuse(head_size + length + 4, "a record does not match its checksum")
            start, self.end = self.end, self.end + length + FRAME
            yield Frame(start, self.end, payload)

    def _left(self) -> int:
        return os.fstat(self.file.fileno()).st_size - self.file.tell()

    def _refuse(self, size: int, why: str) -> None:
        """Corrupt, unless the rest of the file is zeros that never arrived: then torn."""
        boundary = max(self.end, (self.end + size - 1) // SECTOR * SECTOR)
        total = os.fstat(self.file.fileno()).st_size
        # 8 bytes: a frame ends with its checksum, so that one damaged byte cannot look like this.
        if total - boundary >= 8 and self._zeros_from(boundary):
            self.torn = total - self.end
            return
        raise corrupt(self.path, self.end, why)

    def _zeros_from(self, offset: int) -> bool:
        self.file.seek(offset)
        while chunk := self.file.read(1 << 16):
            if chunk.count(0) < len(chunk):
                return False
        return True


def frame_at(descriptor: int, path: Path, offset: int) -> Frame:
    """The frame that begins at an offset. Raises RunCorrupt where none that checks does."""
    data = os.pread(descriptor, 8192, offset)
    if len(data) >= FRAME:
        length, check = _HEAD.unpack_from(data)
        if check == zlib.crc32(data[:4]) and length <= MAX_RECORD:
            if len(data) < length + FRAME:
                data = os.pread(descriptor, length + FRAME, offset)
            payload = data[_HEAD.size : _HEAD.size + length]
            if len(data) >= length + FRAME and _CRC.unpack_from(data, _HEAD.size + length)[0] == zlib.crc32(payload):
                return Frame(offset, offset + length + FRAME, payload)
    raise corrupt(path, offset, "no record that checks")


def salvage(file: BinaryIO, path: Path) -> Iterator[Frame]:
    """Every frame that checks, whatever lies between them. For a cache, whose records stand each for itself."""
    start, size = PREAMBLE, os.fstat(file.fileno()).st_size
    while start < size:
        frames = Frames(file, path, start)
        try:
            yield from frames
            return
        except RunCorrupt:
            start = _next_head(file, frames.end + 1, size)


def _next_head(file: BinaryIO, start: int, size: int) -> int:
    """The next offset at which a length and its checksum stand, else `size`."""
    while start < size:
        file.seek(start)
        chunk = file.read(1 << 16)
        for index in range(max(len(chunk) - _HEAD.size + 1, 0)):
            length, check = _HEAD.unpack_from(chunk, index)
            if length <= size and check == zlib.crc32(chunk[index : index + 4]):
                return start + index
        start += max(len(chunk) - _HEAD.size + 1, 1)
    return size
