"""Framed files: what was appended is read back; a record cut short is torn, anything else that is wrong is corrupt."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evosearch.errors import RunCorrupt, RunError
from evosearch.store import framing
from evosearch.store.framing import FRAME, JOURNAL, PREAMBLE, Frames

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 130), 1 << 130)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def write(path: Path, payloads: list[bytes], tail: bytes = b"") -> list[int]:
    """A file of these frames and then `tail`; the offsets at which frames end."""
    data = framing.preamble(JOURNAL)
    ends = []
    for payload in payloads:
        data += framing.frame(payload)
        ends.append(len(data))
    path.write_bytes(data + tail)
    return ends


def read(path: Path) -> tuple[list[bytes], int]:
    """(payloads, torn bytes)."""
    with path.open("rb") as file:
        framing.read_preamble(file, path, JOURNAL)
        frames = Frames(file, path)
        return [found.payload for found in frames], frames.torn


@given(st.lists(PLAIN, max_size=5))
def test_records_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, records: list[Any]) -> None:
    path = tmp_path_factory.mktemp("frames") / "journal"
    write(path, [framing.encode(record) for record in records])
    payloads, torn = read(path)
    assert [framing.decode(payload) for payload in payloads] == records
    assert torn == 0


def test_frames_have_the_layout_that_the_docstring_states(tmp_path: Path) -> None:
    write(tmp_path / "a", [b"abc"])
    data = (tmp_path / "a").read_bytes()
    kind, version, check = struct.unpack_from("<8sII", data)
    assert (kind, version, check) == (b"EVOJRNL\n", 1, zlib.crc32(data[:12]))
    length, check = struct.unpack_from("<II", data, 16)
    assert (length, check) == (3, zlib.crc32(data[16:20]))
    assert data[24:] == b"abc" + struct.pack("<I", zlib.crc32(b"abc"))


def test_offsets_are_where_frames_start_and_end(tmp_path: Path) -> None:
    ends = write(tmp_path / "a", [b"x", b"", b"yz" * 1000])
    with (tmp_path / "a").open("rb") as file:
        found = list(Frames(file, tmp_path / "a"))
        assert [frame.end for frame in found] == ends
        assert [frame.start for frame in found] == [PREAMBLE, *ends[:-1]]
        assert [frame.payload for frame in Frames(file, tmp_path / "a", ends[0])] == [b"", b"yz" * 1000]
        assert framing.frame_at(file.fileno(), tmp_path / "a", ends[1]).payload == b"yz" * 1000
        with pytest.raises(RunCorrupt, match="offset 17"):
            framing.frame_at(file.fileno(), tmp_path / "a", 17)


def test_a_large_record_is_read_at_its_offset(tmp_path: Path) -> None:
    ends = write(tmp_path / "a", [b"x", b"y" * 100_000])
    with (tmp_path / "a").open("rb") as file:
        assert framing.frame_at(file.fileno(), tmp_path / "a", ends[0]).payload == b"y" * 100_000


def test_equal_records_are_equal_bytes_in_every_process() -> None:
    program = (
        "from evosearch.store import framing; print(framing.encode({'b': [1, 2.5, 'x'], 'a': {'z': 1 << 99}}).hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {framing.encode({"b": [1, 2.5, "x"], "a": {"z": 1 << 99}}).hex().encode() + b"\n"}


def test_every_cut_of_the_last_record_is_torn_and_hurts_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a"
    first, second = write(path, [b"first", b"second"])
    whole = path.read_bytes()
    for size in range(first, second):
        path.write_bytes(whole[:size])
        assert read(path) == ([b"first"], size - first)


def test_every_damaged_byte_is_corrupt_and_never_torn(tmp_path: Path) -> None:
    """A damaged length must not pass for a record that was cut short: what follows would be lost in silence."""
    path = tmp_path / "a"
    write(path, [b"first", b"second" * 5])
    whole = path.read_bytes()
    for offset in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            path.write_bytes(whole[:offset] + bytes([whole[offset] ^ flip]) + whole[offset + 1 :])
            with pytest.raises(RunCorrupt, match=r"a: offset \d+: "):
                read(path)


@pytest.mark.parametrize("written", [0, 3, 8, 700, 1000])
def test_zeros_that_never_arrived_are_torn(tmp_path: Path, written: int) -> None:
    """After a power cut a file may have the size of its last records without their data, sector by sector."""
    path = tmp_path / "a"
    (end,) = write(path, [b"first"])
    last = framing.frame(b"x" * 2000)
    kept = (end + written) // 512 * 512 - end if end + written >= 512 else 0
    path.write_bytes(path.read_bytes() + last[: max(kept, 0)] + bytes(len(last) - max(kept, 0)))
    assert read(path) == ([b"first"], len(last))


def test_zeros_in_the_middle_are_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "a"
    ends = write(path, [b"x" * 2000, b"last"])
    data = bytearray(path.read_bytes())
    data[1024 : ends[0]] = bytes(ends[0] - 1024)
    path.write_bytes(data)
    with pytest.raises(RunCorrupt, match="offset 16"):
        read(path)


def test_a_length_over_the_limit_is_refused_without_allocating(tmp_path: Path) -> None:
    path = tmp_path / "a"
    length = struct.pack("<I", 0xFFFFFFF0)
    write(path, [b"first"], length + struct.pack("<I", zlib.crc32(length)) + b"x" * 100)
    with pytest.raises(RunCorrupt, match="over the limit"):
        read(path)
    with pytest.raises(ValueError, match="over the limit of 10"):
        framing.frame(b"x" * 11, limit=10)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"short", b"x" * 100, framing.preamble(framing.LEDGER)):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(RunCorrupt, match="not those of an evosearch journal"):
            read(tmp_path / "a")


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(framing.preamble(JOURNAL, version=2))
    with pytest.raises(RunError, match="written in format 2; this evosearch reads formats 1 to 1") as caught:
        read(tmp_path / "a")
    assert not isinstance(caught.value, RunCorrupt)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",  # never used in msgpack
        b"\x91",  # an array without its element
        b"\x01\x01",  # something behind the record
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million
        b"\xa2\xff\xfe",  # text that is no UTF-8
        b"\x91" * 5000 + b"\x01",  # nested too deep
        b"\x81\x90\x01",  # a list as a key
        msgpack.packb(msgpack.ExtType(9, b"os.system")),  # an extension we do not know
    ],
)
def test_a_payload_that_is_no_record_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):
        framing.decode(payload)


@given(st.binary(max_size=300))
def test_no_payload_raises_anything_but_value_error(payload: bytes) -> None:
    with contextlib.suppress(ValueError):
        framing.decode(payload)


def test_numpy_scalars_and_tuples_become_plain() -> None:
    record = {"a": np.float64(0.5), "b": np.int64(3), "c": (1, 2), "d": np.float32(0.25), "e": np.uint64(1 << 63)}
    assert framing.decode(framing.encode(record)) == {"a": 0.5, "b": 3, "c": [1, 2], "d": 0.25, "e": 1 << 63}


@pytest.mark.parametrize("value", [object(), {1, 2}, np.zeros(2), 1j])
def test_what_is_no_plain_value_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be written to a run"):
        framing.encode(value)


def test_salvage_finds_every_record_that_checks(tmp_path: Path) -> None:
    path = tmp_path / "a"
    payloads = [bytes([number]) * (50 + number) for number in range(20)]
    ends = write(path, payloads)
    data = bytearray(path.read_bytes())
    data[ends[2] + 1] ^= 1  # the length of record 3
    data[ends[9] + 20] ^= 1  # the content of record 10
    path.write_bytes(bytes(data[:-5]))  # and the last one cut short
    with path.open("rb") as file:
        found = [frame.payload for frame in framing.salvage(file, path)]
    assert found == [payload for number, payload in enumerate(payloads) if number not in (3, 10, 19)]


def test_a_frame_adds_twelve_bytes() -> None:
    assert len(framing.frame(b"abc")) == 3 + FRAME == 15
