"""The fitness table is a dict from 128-bit keys; the ledger keeps every acknowledged score of every process."""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evosearch.cost import Cost
from evosearch.errors import RunCorrupt, RunError, StorageError
from evosearch.score import Score
from evosearch.store import framing
from evosearch.store import ledger as cache
from evosearch.store.ledger import FitnessTable, Ledger, ledger_path, pairs
from evosearch.store.run import Run
from tests.journals import append_score

# Few distinct halves, and low bits that collide, so that probing, overwriting and wrapping round all happen.
HALVES = st.sampled_from([0, 1, 2, 1023, 1024, 2047, 2**63, 2**64 - 1, 2**64 - 1024])
KEYS = st.tuples(HALVES, HALVES)


def array(keys: list[tuple[int, int]]) -> cache.Keys:
    return np.array(keys, np.uint64).reshape(-1, 2)


# --- the table


@pytest.mark.parametrize("many", [0, cache.MANY], ids=["compiled", "as it is"])
@given(st.lists(st.lists(st.tuples(KEYS, st.integers(0, 2**63 - 2)), max_size=50), max_size=10), st.lists(KEYS))
def test_the_table_is_a_dict(
    many: int, batches: list[list[tuple[tuple[int, int], int]]], others: list[tuple[int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "MANY", many)
        if many:
            patch.setattr(cache, "_kernels", functools.cache(cache._kernels.__wrapped__))  # as where none was compiled
        the_table_is_a_dict(batches, others)


def the_table_is_a_dict(batches: list[list[tuple[tuple[int, int], int]]], others: list[tuple[int, int]]) -> None:
    table, reference = FitnessTable(capacity=1), dict[tuple[int, int], int]()
    for batch in batches:
        known = len(reference)
        reference.update(batch)
        new = table.put(array([key for key, _ in batch]), np.array([value for _, value in batch], np.int64))
        assert new == len(reference) - known
        assert len(table) == len(reference)
    asked = [*reference, *others]
    found, values = table.get(array(asked))
    assert list(found) == [key in reference for key in asked]
    assert list(values) == [reference.get(key, -1) for key in asked]


def test_the_table_grows_and_keeps_all() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, (50_000, 2), dtype=np.uint64)
    table = FitnessTable()
    for start in range(0, len(keys), 777):
        batch = keys[start : start + 777]
        assert table.put(batch, np.arange(start, start + len(batch))) == len(batch)
    found, values = table.get(keys)
    assert found.all()
    assert (values == np.arange(len(keys))).all()
    absent = rng.integers(0, 2**64, (50_000, 2), dtype=np.uint64)
    found, values = table.get(absent)
    assert not found.any()
    assert (values == -1).all()
    assert 2 * len(table) <= len(table._slots) <= 4 * len(table)


@given(st.lists(st.tuples(KEYS, st.integers(0, 100)), max_size=40), st.lists(KEYS, max_size=10))
def test_the_compiled_loops_do_what_their_python_does(
    entries: list[tuple[tuple[int, int], int]], asked: list[tuple[int, int]]
) -> None:
    results = []
    for find, insert, move in (cache._kernels(), (cache._find, cache._insert, cache._move)):
        slots, larger = np.zeros((128, 3), np.int64), np.zeros((256, 3), np.int64)
        keys = array([key for key, _ in entries]).view(np.int64)
        new = insert(slots, keys, np.array([value for _, value in entries], np.int64))
        move(slots, larger)
        values = np.empty(len(asked), np.int64)
        find(larger, array(asked).view(np.int64), values)
        results.append((new, slots.tolist(), larger.tolist(), values.tolist()))
    assert results[0] == results[1]


def test_few_keys_compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of some hundred candidates starts and ends without Numba; a ledger of many is read with it."""
    compiled = []

    @functools.cache
    def kernels() -> tuple[Any, ...]:
        compiled.append(len(table))
        return cache._find, cache._insert, cache._move

    monkeypatch.setattr(cache, "_kernels", kernels)
    keys = np.random.default_rng(0).integers(0, 2**64, (cache.MANY + 1000, 2), dtype=np.uint64)
    table = FitnessTable()
    for number in range(1000):
        table.put(keys[number : number + 1], np.array([number]))
        table.get(keys[number : number + 1])
    assert compiled == []
    table.put(keys[1000:], np.arange(cache.MANY))
    assert compiled == [1000]
    table.get(keys[:1])
    assert compiled == [1000]


def test_an_empty_batch_is_fine() -> None:
    table = FitnessTable()
    assert table.put(pairs([]), np.array([], np.int64)) == 0
    assert [len(part) for part in table.get(pairs([]))] == [0, 0]


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        (np.zeros((2, 3), np.uint64), np.zeros(2, np.int64)),
        (np.zeros(2, np.uint64), np.zeros(2, np.int64)),
        (np.zeros((2, 2), np.float64), np.zeros(2, np.int64)),
        (np.zeros((2, 2), np.uint64), np.zeros(3, np.int64)),
        (np.zeros((2, 2), np.uint64), np.array([1, -1])),
    ],
)
def test_wrong_batches_are_refused(keys: Any, values: Any) -> None:
    with pytest.raises(ValueError, match=r"keys are uint64|one value of at least 0"):
        FitnessTable().put(keys, values)


def test_hex_keys_become_the_same_pairs_as_their_bytes() -> None:
    digests = [os.urandom(16) for _ in range(10)]
    keys = pairs([digest.hex() for digest in digests])
    assert keys.shape == (10, 2)
    assert [row.tobytes() for row in keys] == digests
    for wrong in (["ab"], ["ab" * 15 + "x" * 2], ["ab" * 8, "ab" * 24]):
        with pytest.raises(ValueError):
            pairs(wrong)


def test_without_a_place_for_compiled_code_it_is_compiled_anew_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import numba

    real = numba.njit

    def njit(signature: str, cache: bool = False) -> Any:
        if cache:
            raise RuntimeError("cannot cache function '_find': no locator available")
        return real(signature)

    monkeypatch.setattr(numba, "njit", njit)
    caplog.set_level(logging.INFO, "evosearch.store.ledger")
    find, insert, _ = cache._kernels.__wrapped__()
    slots, values = np.zeros((4, 3), np.int64), np.zeros(1, np.int64)
    insert(slots, np.array([[5, 6]]), np.array([7]))
    find(slots, np.array([[5, 6]]), values)
    assert values[0] == 7
    assert "no locator available" in caplog.text


# --- the ledger

SCORE = Score("ab" * 16, "ok", {"accuracy": 0.5}, {"loss": 0.1}, (0.1, 0.5), Cost(1, 2, 3, 4), 1.5, seed=7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "ledger.msgpack"


def scores(count: int, start: int = 0) -> list[Score]:
    return [Score(f"{number:032x}", "ok", {"accuracy": number / 100}) for number in range(start, start + count)]


def fill(path: Path, count: int, start: int = 0, at: float = 1000.0) -> None:
    with Ledger(path, clock=lambda: at) as ledger:
        for score in scores(count, start):
            assert ledger.put(score, task="t", recipe="r")


def held(path: Path, count: int, start: int = 0) -> list[int]:
    with Ledger(path) as ledger:
        return [
            number
            for number, score in enumerate(scores(count, start), start)
            if ledger.get(score.key, "t", "r", 0) == score
        ]


def test_a_score_comes_back_in_this_process_and_the_next(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.get(SCORE.key, "t", "r", 7) is None
        assert not path.exists()  # nothing is made before there is something to keep
        assert ledger.put(SCORE, task="t", recipe="r")
        assert ledger.get(SCORE.key, "t", "r", 7) == SCORE
        assert len(ledger) == 1
    with Ledger(path) as again:
        assert again.get(SCORE.key, "t", "r", 7) == SCORE


def test_a_score_is_known_only_for_its_key_task_recipe_and_seed(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.put(SCORE, task="t", recipe="r")
        for wrong in (
            ("cd" * 16, "t", "r", 7),
            (SCORE.key, "x", "r", 7),
            (SCORE.key, "t", "x", 7),
            (SCORE.key, "t", "r", 8),
        ):
            assert ledger.get(*wrong) is None


@pytest.mark.parametrize("status", ["ok", "nan", "stopped", "invalid", "over_budget", "oom", "timeout", "crashed"])
def test_only_ok_and_nan_are_kept(path: Path, status: Any) -> None:
    with Ledger(path) as ledger:
        assert ledger.put(Score(SCORE.key, status), task="t", recipe="r") == (status in ("ok", "nan"))
        assert (ledger.get(SCORE.key, "t", "r", 0) is not None) == (status in ("ok", "nan"))


def test_a_score_is_kept_once(path: Path) -> None:
    with Ledger(path) as one, Ledger(path) as other:
        assert one.put(SCORE, task="t", recipe="r")
        size = path.stat().st_size
        assert not one.put(SCORE, task="t", recipe="r")
        assert not other.put(SCORE, task="t", recipe="r")  # it learns of it under the lock
        assert path.stat().st_size == size


def test_refresh_takes_in_what_others_have_put(path: Path) -> None:
    with Ledger(path) as reader:
        fill(path, 3)
        assert reader.get(scores(1)[0].key, "t", "r", 0) is None
        reader.refresh()
        assert reader.get(scores(1)[0].key, "t", "r", 0) == scores(1)[0]
        fill(path, 3, start=3)
        reader.refresh()
        assert len(reader) == 6


def test_the_default_place_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVOSEARCH_CACHE", str(tmp_path / "mine"))
    assert ledger_path() == tmp_path / "mine" / "ledger.msgpack"
    monkeypatch.setenv("EVOSEARCH_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ledger_path() == tmp_path / ".cache" / "evosearch" / "ledger.msgpack"
    with Ledger() as ledger:
        ledger.put(SCORE, task="t", recipe="r")
    assert ledger_path().exists()


@pytest.mark.parametrize("tail", [b"\0", framing.frame(b"x" * 50)[:-1], framing.frame(b"x" * 50)[:5], bytes(600)])
def test_a_tail_left_by_a_killed_writer_is_cut_off_by_the_next(path: Path, tail: bytes) -> None:
    fill(path, 3)
    with path.open("ab") as file:
        file.write(tail)
    assert held(path, 3) == [0, 1, 2]  # a reader leaves it alone
    assert path.read_bytes().endswith(tail)
    fill(path, 2, start=3)
    assert held(path, 5) == [0, 1, 2, 3, 4]
    assert Ledger(path).ls().records == 5


def test_a_file_cut_at_any_byte_keeps_the_records_before(path: Path) -> None:
    fill(path, 2)
    whole = path.read_bytes()
    fill(path, 1, start=2)
    full = path.read_bytes()
    for size in [*range(17), *range(len(whole), len(full))]:
        path.write_bytes(full[:size])
        expected = [0, 1] if size >= len(whole) else []
        assert held(path, 3) == expected
        fill(path, 1, start=9)
        assert held(path, 10) == [*expected, 9]


def test_damage_in_the_middle_costs_the_damaged_record_and_is_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path, 10)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    fill(path, 1, start=10)
    kept = held(path, 11)
    assert len(kept) == 10
    assert kept[-1] == 10
    assert "went on with the 9 records that check, the file is kept as" in caplog.text
    assert path.with_name("ledger.msgpack.damaged").read_bytes() == bytes(data)
    assert Ledger(path).ls().records == 10


def test_another_file_in_its_place_is_kept_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my diary, not a ledger")
    fill(path, 1)
    assert held(path, 1) == [0]
    assert path.with_name("ledger.msgpack.damaged").read_bytes() == b"my diary, not a ledger"


def test_a_ledger_of_a_newer_format_is_left_alone_and_that_is_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(framing.preamble(framing.LEDGER, 2) + b"whatever")
    with Ledger(path) as ledger:
        assert ledger.put(SCORE, task="t", recipe="r")
        assert ledger.get(SCORE.key, "t", "r", 7) == SCORE
        with pytest.raises(RunError, match="written in format 2"):
            ledger.ls()
    assert path.read_bytes() == framing.preamble(framing.LEDGER, 2) + b"whatever"
    assert caplog.text.count("are not shared") == 1


def test_a_record_with_fields_we_do_not_know_is_no_score(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(path, 1)
    identity = cache._identity(SCORE.key, "t", "r", 7)
    record = {"task": "t", "recipe": "r", "at": 1.0, "score": {"key": SCORE.key, "seed": 7, "colour": "red"}}
    with path.open("ab") as file:
        file.write(framing.frame(framing.encode([identity, record])))
    assert Ledger(path).get(SCORE.key, "t", "r", 7) is None
    assert "cannot be used" in caplog.text


@pytest.mark.parametrize("place", ["file in the way", "not writable"])
def test_a_ledger_that_cannot_be_written_stays_in_memory_and_says_so_once(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "place" / "ledger.msgpack"
    if place == "file in the way":
        (tmp_path / "place").write_text("x")
    else:
        fill(path, 1)
        real = os.write

        def full(descriptor: int, data: bytes) -> int:
            real(descriptor, data[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
    with Ledger(path) as ledger:
        for score in scores(3, start=5):
            assert ledger.put(score, task="t", recipe="r")
            assert not ledger.put(score, task="t", recipe="r")
            assert ledger.get(score.key, "t", "r", 0) == score
            ledger.refresh()
        if place == "not writable":
            assert ledger.get(scores(1)[0].key, "t", "r", 0) == scores(1)[0]
    assert caplog.text.count("are not shared") == 1
    monkeypatch.undo()
    if place == "not writable":
        assert held(path, 1) == [0]
        assert Ledger(path).ls().records == 1  # what was half written was taken back


def test_a_lock_that_never_comes_does_not_hang(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stopped process may hold it for hours."""
    fill(path, 1)
    monkeypatch.setattr(cache, "LOCK_PATIENCE", 0.05)
    with path.open("rb") as holder, Ledger(path) as ledger:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert ledger.put(SCORE, task="t", recipe="r")
        assert ledger.get(SCORE.key, "t", "r", 7) == SCORE
        assert ledger.get(scores(1)[0].key, "t", "r", 0) == scores(1)[0]
    assert "are not shared" in caplog.text


def test_ls_counts(path: Path) -> None:
    assert Ledger(path).ls() == cache.LedgerStatistics(path, 0, 0, 0.0, 0.0, {})
    fill(path, 3, at=10.0)
    with Ledger(path, clock=lambda: 20.0) as ledger:
        ledger.put(SCORE, task="t2", recipe="r")
        assert ledger.ls() == cache.LedgerStatistics(
            path, 4, path.stat().st_size, 10.0, 20.0, {("t", "r"): 3, ("t2", "r"): 1}
        )  # fmt: skip


def test_merge_adds_what_is_missing(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.msgpack"
    fill(path, 5)
    fill(other, 5, start=3)
    with Ledger(path) as ledger:
        assert ledger.merge(other) == 3
        assert ledger.merge(other) == 0
        assert len(ledger) == 8
        with pytest.raises(StorageError, match="No such file"):
            ledger.merge(tmp_path / "none")
        (tmp_path / "rubbish").write_bytes(b"x" * 100)
        with pytest.raises(RunCorrupt, match="not those of an evosearch ledger"):
            ledger.merge(tmp_path / "rubbish")
    assert held(path, 8) == list(range(8))
    assert held(other, 8) == [3, 4, 5, 6, 7]


def test_a_lost_ledger_is_made_again_from_the_journals(path: Path, tmp_path: Path) -> None:
    kept, failed = replace(scores(2)[1], seconds=2.0), Score("cd" * 16, "crashed", seconds=1.0, error="it failed")
    told = Score("ef" * 16, "ok", {"accuracy": 1.0})  # by whoever asked for it
    header = {"digests": {"task": "t", "recipe": "r"}}
    with Run.create(tmp_path / "run", header=header, files={}) as run:
        for number, score in enumerate((SCORE, kept, failed, told)):
            run.append_proposal({"number": number})
            append_score(run, {**score.pack(), "number": number, "at": 5.0})
        run.append_note({"budget": 3})
    with Ledger(path) as ledger:
        assert ledger.merge(tmp_path / "run") == 2
        assert ledger.merge(tmp_path / "run") == 0
        assert ledger.get(SCORE.key, "t", "r", SCORE.seed) == SCORE
        assert ledger.get(kept.key, "t", "r", kept.seed) == kept
        assert ledger.get(told.key, "t", "r", told.seed) is None
        assert ledger.ls().tasks == {("t", "r"): 2}
        with pytest.raises(RunError, match="not a run folder"):
            ledger.merge(tmp_path)


def test_gc_drops_the_oldest(path: Path) -> None:
    for number, at in enumerate((50.0, 10.0, 40.0, 20.0, 30.0)):
        fill(path, 1, start=number, at=at)
    with Ledger(path, clock=lambda: 60.0) as ledger, Ledger(path) as other:
        assert ledger.gc(older_than=45.0) == (4, 1)
        assert held(path, 5) == [0, 2, 3, 4]
        size = path.stat().st_size
        assert ledger.gc(max_bytes=size - 1) == (3, 1)
        assert path.stat().st_size < size
        assert held(path, 5) == [0, 2, 4]
        assert ledger.gc() == (3, 0)
        # A process that had the old file open goes on with the new one.
        assert other.put(SCORE, task="t", recipe="r")
        assert other.get(SCORE.key, "t", "r", 7) == SCORE
        assert other.get(scores(1, 2)[0].key, "t", "r", 0) == scores(1, 2)[0]
        assert len(other) == 4
        ledger.refresh()
        assert ledger.get(SCORE.key, "t", "r", 7) == SCORE
        assert ledger.gc(max_bytes=0) == (0, 4)
    assert held(path, 5) == []


def test_a_score_is_not_written_to_a_file_that_was_replaced_before_we_had_its_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, 2)
    real = fcntl.flock
    compacted: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if not compacted:
            compacted.append(descriptor)
            with Ledger(path) as other:
                other.gc()
        real(descriptor, operation)

    with Ledger(path) as ledger:
        monkeypatch.setattr(fcntl, "flock", flock)
        assert ledger.put(SCORE, task="t", recipe="r")
    assert compacted
    assert Ledger(path).get(SCORE.key, "t", "r", 7) == SCORE


def test_a_ledger_that_is_removed_meanwhile_is_made_again(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.put(SCORE, task="t", recipe="r")
        shutil.rmtree(path.parent)
        assert ledger.put(scores(1)[0], task="t", recipe="r")
        assert ledger.get(scores(1)[0].key, "t", "r", 0) == scores(1)[0]
    assert held(path, 1) == [0]


WRITER = """
import sys, os
from evosearch.store.ledger import Ledger
from evosearch.store.run import Run
from evosearch.score import Score
path, me, count, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), os.open(sys.argv[4], os.O_WRONLY | os.O_CREAT)
with Ledger(path) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        name = number if number % 5 == 0 else 1_000_000 * me + number   # every fifth is everybody's
        score = Score(f"{name:032x}", "ok", {"accuracy": name / 7}, {"text": 0.0}, tuple(range(number % 50)))
        ledger.put(score, task="t", recipe="r")
        os.write(out, f"{name}\\n".encode())
        if number % 37 == 0:
            ledger.refresh()
        if number % 101 == 100 and me == 0:
            ledger.gc()
"""


def crowd(folder: Path, processes: int, killed: int, scores: int) -> None:
    """Many processes put scores, one compacts now and then, some are killed: every acknowledged score is there."""
    folder.mkdir()
    path = folder / "ledger.msgpack"
    commands = [
        [sys.executable, "-c", WRITER, str(path), str(me), str(scores), str(folder / f"acknowledged{me}")]
        for me in range(processes)
    ]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for number, process in enumerate(started[-killed:]):
        time.sleep(0.03 * (number + 1))
        process.send_signal(signal.SIGKILL)
    errors = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * (processes - killed) + [-signal.SIGKILL] * killed
    assert "not shared" not in "".join(errors), errors
    acknowledged = {int(line) for file in folder.glob("acknowledged*") for line in file.read_text().splitlines()}
    assert len(acknowledged) > scores
    with Ledger(path) as ledger:
        for name in acknowledged:
            score = ledger.get(f"{name:032x}", "t", "r", 0)
            assert score, name
            assert score.objectives == {"accuracy": name / 7}
        with path.open("rb") as file:  # every record checks; at most the killed ones' last is cut short
            framing.read_preamble(file, path, framing.LEDGER)
            assert sum(1 for _ in framing.Frames(file, path)) == len(ledger) == ledger.ls().records


def test_processes_share_a_ledger_while_one_is_killed(tmp_path: Path) -> None:
    crowd(tmp_path / "crowd", processes=3, killed=1, scores=150)
