"""Run folders: whole or not at all, one writer, nothing acknowledged is lost, nothing that does not check passes."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch.errors import EvosearchError, RunCorrupt, RunError, RunLocked, StorageError
from evosearch.score import Score
from evosearch.store import framing, lock
from evosearch.store.disk import Disk, hand_over, handing_over
from evosearch.store.run import Checkpoint, Run
from evosearch.store.verify import repair, verify
from evosearch.workers import records
from tests.chaos.faults import Died, FaultyDisk, proposal, restored, score, search
from tests.journals import append_score, equal_journals, journal_digest

FILES = {"config.toml": "seed = 1\n", "grammar/mine.lark": 'start: "a"\n', "environment.json": "{}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mine"


def create(folder: Path, **options: Any) -> Run:
    return Run.create(folder, header={"seed": 1, "grammar": "ab" * 16}, files=FILES, **options)


def filled(folder: Path, evaluations: int = 5) -> Path:
    with create(folder) as run:
        for number in range(evaluations):
            run.append_proposal(proposal(number))
            append_score(run, score(number))
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- making one


def test_a_new_run_holds_its_files_and_header(folder: Path) -> None:
    create(folder).close()
    assert snapshot(folder).keys() == {*FILES, "journal.msgpack"}
    assert (folder / "grammar/mine.lark").read_text() == FILES["grammar/mine.lark"]
    run = Run.open(folder)
    assert run.header["seed"] == 1
    assert run.header["format"] == framing.FORMAT
    assert set(run.header["files"]) == set(FILES)
    assert list(run.records()) == []
    assert run.load_checkpoint() is None
    assert verify(folder) == []


@pytest.mark.parametrize("there", ["run", "file", "other", "link"])
def test_what_is_there_already_is_refused_and_left_alone(folder: Path, there: str) -> None:
    folder.parent.mkdir()
    if there == "run":
        filled(folder)
    elif there == "file":
        folder.write_text("mine")
    elif there == "link":
        folder.symlink_to(folder.parent / "nowhere")
    else:
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
    before = snapshot(folder.parent)
    with pytest.raises(RunError, match=r"mine: there is something already; .*evolve resume mine"):
        create(folder)
    assert snapshot(folder.parent) == before


def test_an_empty_folder_is_taken(folder: Path) -> None:
    folder.mkdir(parents=True)
    create(folder).close()
    assert verify(folder) == []


def test_a_creation_that_fails_at_any_step_leaves_nothing(folder: Path) -> None:
    disk = FaultyDisk()
    create(folder, disk=disk).close()
    shutil.rmtree(folder.parent)
    creating = [step for step, path in disk.calls].index("rename") + 1
    for fault in range(creating + 2):
        for error in (errno.ENOSPC, errno.EIO):
            with pytest.raises(StorageError, match=r"^/.*: (No space left on device|Input/output error): "):
                create(folder, disk=FaultyDisk(fault, error)).close()
            assert not folder.parent.exists() or list(folder.parent.iterdir()) == [], disk.calls[fault]
    create(folder).close()


def test_files_stay_inside_the_folder(folder: Path) -> None:
    for name in ("../x", "/etc/x", "a/../../x", ""):
        with pytest.raises(ValueError, match="no path inside a run folder"):
            Run.create(folder, header={}, files={name: "x"})
    assert not folder.exists()


def test_what_a_killed_creation_left_is_removed_by_the_next(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = folder.parent / ".mine.new-1-2"
    left.mkdir(parents=True)
    (left / "LOCK").write_text("")
    other = folder.parent / ".other.new-1-2"
    other.mkdir()
    create(folder).close()
    assert not left.exists()
    assert other.exists()
    assert "had left" in caplog.text


def test_what_a_living_creation_builds_is_left_alone(folder: Path) -> None:
    beside = folder.parent / ".mine.new-1-2"
    beside.mkdir(parents=True)
    held = lock.take(beside, FaultyDisk())
    create(folder).close()
    assert beside.exists()
    os.close(held)


# --- the journal


def test_records_come_back_in_order(folder: Path) -> None:
    with create(folder) as run:
        run.append_proposal({"number": 0, "text": "a"})
        run.append_proposal({"number": 1, "text": "b", "parents": (0,)})
        append_score(run, {"number": 1, "status": "nan", "accuracy": 0.5})
        run.append_note({"budget": 20})
        run.write_scores([{"number": 0, "status": "ok", "accuracy": np.float64(0.25)}])
        run.sync()
        assert (run.proposals, run.scores) == (2, 2)
    with Run.open(folder, write=True) as again:
        assert (again.proposals, again.scores, dict(again.contents.statuses)) == (2, 2, {"ok": 1, "nan": 1})
        assert again.notes == [{"budget": 20, "kind": "note"}]
    assert list(Run.open(folder).records()) == [
        {"number": 0, "text": "a", "kind": "proposal"},
        {"number": 1, "text": "b", "parents": [0], "kind": "proposal"},
        {"number": 1, "status": "nan", "accuracy": 0.5, "kind": "score"},
        {"budget": 20, "kind": "note"},
        {"number": 0, "status": "ok", "accuracy": 0.25, "kind": "score"},
    ]


def test_a_score_is_synced_before_it_is_acknowledged_and_its_proposal_with_it(folder: Path) -> None:
    disk = FaultyDisk()
    with create(folder, disk=disk) as run:
        disk.calls.clear()
        run.append_proposal(proposal(0))
        run.append_proposal(proposal(1))
        assert [step for step, _ in disk.calls] == ["write", "write"]
        append_score(run, score(0))
        assert [step for step, _ in disk.calls] == ["write", "write", "write", "fsync"]
        disk.calls.clear()
        run.append_proposal(proposal(2))
        run.write_scores([score(2), score(1)])
        run.sync()
        assert [step for step, _ in disk.calls] == ["write"] * 3 + ["fsync"]
        disk.calls.clear()
    assert disk.calls == []  # nothing was left to sync


@pytest.mark.parametrize(
    ("append", "message"),
    [
        (lambda run: run.append_proposal({"number": 2}), "proposal 2 stands where proposal 1 is due"),
        (lambda run: run.append_proposal({"number": 0}), "proposal 0 stands where proposal 1 is due"),
        (lambda run: run.append_proposal({}), "a proposal without a number"),
        (lambda run: append_score(run, {"number": 1}), "proposal 1, which does not exist"),
        (lambda run: append_score(run, {"number": -1}), "proposal -1, which does not exist"),
        (lambda run: append_score(run, {"number": True}), "a score without a number"),
        (lambda run: run.write_scores([{"number": 0}] * 2), "proposal 0, which has one"),
    ],
)
def test_records_out_of_order_are_refused_when_written(
    folder: Path, append: Callable[[Run], Any], message: str
) -> None:
    with create(folder) as run:
        run.append_proposal({"number": 0})
        with pytest.raises(ValueError, match=message):
            append(run)
    assert verify(folder) == []


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "proposal", "number": 7}, "proposal 7 stands where proposal 5 is due"),
        ({"kind": "proposal", "number": 4}, "proposal 4 stands where proposal 5 is due"),
        ({"kind": "proposal", "number": "5"}, "a proposal without a number"),
        ({"kind": "score", "number": 2}, "a score for proposal 2, which has one"),
        ({"kind": "score", "number": 5}, "a score for proposal 5, which does not exist"),
        ({"kind": "other", "number": 5}, "not a record of a proposal, a score or a note"),
        ([1, 2], "not a record of a proposal, a score or a note"),
    ],
)
def test_records_out_of_order_are_corrupt_when_read(folder: Path, record: Any, message: str) -> None:
    journal = filled(folder) / "journal.msgpack"
    offset = journal.stat().st_size
    with journal.open("ab") as file:
        file.write(framing.frame(framing.encode(record)))
    with pytest.raises(RunCorrupt, match=f"journal.msgpack: offset {offset}: {message}"):
        Run.open(folder, write=True)
    assert [str(finding) for finding in verify(folder)] == [
        f"journal.msgpack: offset {offset}: {message}; restore the file from a copy"
    ]


def test_reading_needs_no_lock_and_sees_what_is_written_meanwhile(folder: Path) -> None:
    with create(folder) as run:
        reader = Run.open(folder)
        run.append_proposal(proposal(0))
        assert len(list(reader.records())) == 1
        with pytest.raises(RunError, match="opened for reading"):
            reader.append_proposal(proposal(1))


def test_memory_does_not_grow_with_the_journal(folder: Path, tmp_path: Path) -> None:
    peaks = []
    for evaluations in (200, 4_000):
        with create(tmp_path / str(evaluations), disk=FaultyDisk()) as run:
            for number in range(evaluations):
                run.append_proposal(proposal(number))
                append_score(run, score(number))
        tracemalloc.start()
        with Run.open(tmp_path / str(evaluations), write=True) as again:
            assert sum(1 for _ in again.records()) == 2 * evaluations
            assert len(journal_digest(again)) == 32
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The read buffer is 1 MiB; 7,600 more records would be megabytes if they were kept.
    assert peaks[1] < peaks[0] + 200_000


# --- torn tails


def test_every_cut_of_the_last_record_is_cut_off_said_and_kept(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = filled(folder) / "journal.msgpack"
    before = list(Run.open(folder).records())
    start = journal.stat().st_size
    with Run.open(folder, write=True, disk=FaultyDisk()) as run:
        run.append_proposal(proposal(5))
    whole = journal.read_bytes()
    for size in range(start + 1, len(whole)):
        journal.write_bytes(whole[:size])
        caplog.clear()
        assert [finding.message for finding in verify(folder)] == [
            f"offset {start}: an incomplete last record of {size - start} bytes, never acknowledged"
        ]
        with Run.open(folder, write=True, disk=FaultyDisk()) as run:
            with pytest.raises(RunCorrupt, match="torn"):
                run.append_proposal(proposal(5))
            assert run.cut_torn_tail() == size - start
            assert run.cut_torn_tail() == 0
            run.append_proposal(proposal(5))
        assert f"cut off an incomplete last record of {size - start} bytes, kept in journal-{start}" in caplog.text
        (kept,) = folder.glob("*.torn")
        assert kept.read_bytes() == whole[start:size]
        kept.unlink()
        assert journal.read_bytes() == whole
        assert list(Run.open(folder).records())[:-1] == before


def test_torn_files_are_never_overwritten(folder: Path) -> None:
    journal = filled(folder) / "journal.msgpack"
    for tail in (b"1", b"22", b"333"):
        size = journal.stat().st_size
        with journal.open("ab") as file:
            file.write(tail)
        assert repair(folder) == [
            f"journal.msgpack: cut off an incomplete last record of {len(tail)} bytes at offset {size}"
        ]
    assert sorted(path.read_bytes() for path in folder.glob("*.torn")) == [b"1", b"22", b"333"]


def test_a_torn_write_resumes_to_the_same_end(tmp_path: Path) -> None:
    tears(tmp_path, stride=150)


def tears(tmp_path: Path, stride: int) -> None:
    """The process dies inside each write of a short run, at each `stride`-th byte: going on ends the same."""
    folder = tmp_path / "whole"
    disk = FaultyDisk(only="write")
    search(folder, disk, total=4)
    expected = journal_digest(Run.open(folder))
    assert len(disk.calls) > 15
    for fault, size in enumerate(disk.written):
        for keep in {*range(0, size, stride), 1, size - 1}:
            broken = tmp_path / f"broken-{fault}-{keep}"
            acknowledged: list[int] = []
            with pytest.raises(Died):
                search(broken, FaultyDisk(fault, keep=keep, only="write"), 4, acknowledged.append)
            search(broken, FaultyDisk(), 4, acknowledged.append)
            run = Run.open(broken)
            assert journal_digest(run) == expected
            assert set(acknowledged) <= {record["number"] for record in run.records() if record["kind"] == "score"}
            assert verify(broken) == []


# --- a disk that refuses


def test_a_disk_that_refuses_is_a_clear_error_and_the_run_goes_on_later(tmp_path: Path) -> None:
    refusals(tmp_path, total=3, every=2)


def refusals(tmp_path: Path, total: int, every: int) -> None:
    """The disk is full, or broken, at each call of a short run (each at every `every`-th): going on ends the same."""
    disk = FaultyDisk()
    search(tmp_path / "whole", disk, total)
    expected = journal_digest(Run.open(tmp_path / "whole"))
    for fault, (step, path) in enumerate(disk.calls):
        for error in [errno.ENOSPC, errno.EIO][fault % every :: every]:
            broken = tmp_path / f"broken-{fault}-{error}"
            acknowledged: list[int] = []
            with pytest.raises(StorageError) as caught:
                search(broken, FaultyDisk(fault, error), total, acknowledged.append)
            assert os.strerror(error) in str(caught.value), (step, path)
            assert str(caught.value).startswith(str(tmp_path))
            assert "\n" not in str(caught.value)
            assert caught.value.exit_code == 1
            if broken.exists():
                scores = {record["number"] for record in Run.open(broken).records() if record["kind"] == "score"}
                assert set(acknowledged) <= scores
            search(broken, FaultyDisk(), total)
            assert journal_digest(Run.open(broken)) == expected, (step, path)
            assert verify(broken) == []


def test_after_a_failed_write_nothing_more_is_appended(folder: Path) -> None:
    """What a failed fsync left on the disk is unknown; a later one that succeeds would prove nothing."""
    create(folder).close()
    disk = FaultyDisk(only="fsync")
    run = Run.open(folder, write=True, disk=disk)
    run.append_proposal(proposal(0))
    disk.fault, disk.error = 0, errno.EIO
    with pytest.raises(StorageError, match=r"journal.msgpack: Input/output error"):
        append_score(run, score(0))
    disk.fault = -1
    steps: list[Callable[[], None]] = [
        lambda: run.append_proposal(proposal(1)),
        run.sync,
        lambda: run.write_checkpoint({}),
    ]
    for again in steps:
        with pytest.raises(StorageError, match=r"an earlier write failed .*resume the run"):
            again()
    run.close()
    assert not (folder / "checkpoint.msgpack").exists()


def test_errors_say_what_to_do(folder: Path) -> None:
    folder.parent.mkdir()
    for code, words in ((errno.ENOSPC, "make room"), (errno.EROFS, "read-only"), (errno.EACCES, "permissions")):
        with pytest.raises(StorageError, match=words):
            create(folder, disk=FaultyDisk(0, code))


# --- the checkpoint


def checkpointed(folder: Path) -> list[Checkpoint]:
    """A run with two checkpoints and a tail behind them; (state, offset) of both, the newest first."""
    with create(folder) as run:
        for number in range(6):
            run.append_proposal(proposal(number))
            append_score(run, score(number))
            if number in (1, 3):
                run.write_checkpoint({"told": number, "rng": 1 << 127, "archive": {"a": b"\0\1"}})
    run = Run.open(folder)
    newest = run.load_checkpoint()
    assert newest
    (folder / "checkpoint.msgpack").rename(folder / "kept")
    previous = run.load_checkpoint()
    assert previous
    (folder / "kept").rename(folder / "checkpoint.msgpack")
    return [newest, previous]


def test_a_checkpoint_gives_the_state_and_the_tail_behind_it(folder: Path) -> None:
    (state, offset, newest, _), (before, _, earlier, _) = checkpointed(folder)
    assert (newest, earlier) == (True, False)
    assert state == {"told": 3, "rng": 1 << 127, "archive": {"a": b"\0\1"}}
    assert before["told"] == 1
    tail = list(Run.open(folder).records(offset))
    assert [(record["kind"], record["number"]) for record in tail] == [
        ("proposal", 4), ("score", 4), ("proposal", 5), ("score", 5)
    ]  # fmt: skip
    assert verify(folder) == []


def test_a_checkpoint_is_never_ahead_of_the_journal_on_the_disk(folder: Path) -> None:
    disk = FaultyDisk()
    with create(folder, disk=disk) as run:
        run.append_proposal(proposal(0))
        disk.calls.clear()
        run.write_checkpoint({})
    assert [(step, path.name) for step, path in disk.calls] == [
        ("fsync", "journal.msgpack"),
        ("open", "checkpoint.msgpack.new"),
        ("write", "checkpoint.msgpack.new"),
        ("fsync", "checkpoint.msgpack.new"),
        ("rename", "checkpoint.msgpack"),
        ("open", "mine"),
        ("fsync", "mine"),
    ]


def test_death_at_any_call_of_a_checkpoint_leaves_one_that_checks(folder: Path, tmp_path: Path) -> None:
    expected = [checkpoint.state["told"] for checkpoint in checkpointed(folder)]
    for fault in range(7):
        copy = tmp_path / str(fault)
        shutil.copytree(folder, copy)
        disk = FaultyDisk()
        run = Run.open(copy, write=True, disk=disk)
        disk.fault = len(disk.calls) + fault
        with pytest.raises(Died), run:
            run.write_checkpoint({"told": 5})
        loaded = Run.open(copy).load_checkpoint()
        assert loaded
        assert loaded.state["told"] in (5, *expected[:1])


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, previous = checkpointed(folder)
    data = bytearray((folder / "checkpoint.msgpack").read_bytes())
    data[40] ^= 4
    (folder / "checkpoint.msgpack").write_bytes(data)
    assert Run.open(folder).load_checkpoint() == previous
    assert (
        "checkpoint.msgpack: offset 16: a record does not match its checksum; going on from the one before"
        in caplog.text
    )
    assert [finding.file for finding in verify(folder)] == ["checkpoint.msgpack"]
    (folder / "checkpoint.previous.msgpack").write_bytes(b"")
    assert Run.open(folder).load_checkpoint() is None
    assert [finding.file for finding in verify(folder)] == ["checkpoint.msgpack", "checkpoint.previous.msgpack"]
    assert len(repair(folder)) == 2
    assert len(list(folder.glob("*.torn"))) == 2
    assert verify(folder) == []


def test_a_checkpoint_of_another_run_is_refused(folder: Path, tmp_path: Path) -> None:
    checkpointed(folder)
    with Run.create(tmp_path / "other", header={"seed": 2}, files={}) as other:
        other.write_checkpoint({"told": 99})
    shutil.copy(tmp_path / "other" / "checkpoint.msgpack", folder)
    loaded = Run.open(folder).load_checkpoint()
    assert loaded
    assert loaded.state["told"] == 1
    assert "belongs to another run" in str(verify(folder)[0])


def test_a_journal_that_lost_what_a_checkpoint_reflects_is_corrupt(folder: Path) -> None:
    offset = checkpointed(folder)[0].offset
    journal = folder / "journal.msgpack"
    ends = [end for end, _ in Run.open(folder).located() if end < offset]
    with journal.open("r+b") as file:
        file.truncate(ends[-1])
    with pytest.raises(RunCorrupt, match=r"records are missing; restore the journal from a copy"):
        Run.open(folder).load_checkpoint()
    assert any("records are missing" in finding.message for finding in verify(folder))


def test_a_checkpoint_at_no_boundary_is_found(folder: Path) -> None:
    with create(folder) as run:
        run.append_proposal(proposal(0))
        run.end -= 1
        run.write_checkpoint({})
        assert ["no boundary" in finding.message for finding in verify(folder)] == [True]
        run.end, run.contents.records = run.end + 1, 7
        run.write_checkpoint({})
        assert any("it reflects 7 records" in finding.message for finding in verify(folder))


def held(run: Run) -> dict[str, Any]:
    return {"records": run.contents.records, "end": run.end, "torn": run.torn, **run.contents.pack()}


def without_checkpoints(folder: Path, at: Path) -> Path:
    names = shutil.ignore_patterns("checkpoint*", "LOCK")
    return Path(shutil.copytree(folder, at, ignore=names))


def test_what_a_checkpoint_reflects_is_compared_and_not_decoded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run is taken to hold is what reading all of it gives, however often it was cut and gone on with."""
    checkpointed(folder)
    for first in (6, 10):
        with (folder / "journal.msgpack").open("ab") as file:
            file.write(b"\x07\0\0")  # a record that a kill cut short
        with Run.open(folder, write=True) as run:
            run.cut_torn_tail()
            run.append_note({"budget": first})
            for number in (first, first + 1):
                run.append_proposal(proposal(number))
            append_score(run, {**score(first + 1), "status": "nan"})
            append_score(run, score(first))
            run.append_proposal(proposal(first + 2))  # its score comes behind the checkpoint
            run.write_checkpoint({})
            append_score(run, score(first + 2))
            run.append_proposal(proposal(first + 3))
            append_score(run, score(first + 3))
        decoded: list[Any] = []
        monkeypatch.setattr(framing.Frame, "record", noted(framing.Frame.record, decoded))
        with Run.open(folder, write=True) as run:
            by_checkpoint = held(run)
        assert len(decoded) == 2 + 3  # the headers of journal and checkpoint, and what stands behind the checkpoint
        monkeypatch.undo()
        with Run.open(without_checkpoints(folder, tmp_path / str(first)), write=True) as run:
            assert held(run) == by_checkpoint
        assert verify(folder) == []


def noted(function: Any, found: list[Any]) -> Any:
    def wrapped(*arguments: Any) -> Any:
        found.append(function(*arguments))
        return found[-1]

    return wrapped


def test_damage_before_a_checkpoint_is_named_as_without_one(folder: Path, tmp_path: Path) -> None:
    """Wherever it is, also where every record checks by itself."""
    offset = checkpointed(folder)[0].offset
    bare = without_checkpoints(folder, tmp_path / "bare")
    whole = (folder / "journal.msgpack").read_bytes()
    ends = [end for end, _ in Run.open(folder).located()]
    frames = [whole[start:end] for start, end in itertools.pairwise(ends)]
    damaged = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(ends[0], offset, 23)]
    damaged.append(whole[: ends[1]] + frames[2] + frames[1] + whole[ends[3] :])  # a score before its proposal
    damaged.append(whole[: ends[1]] + whole[ends[2] :])  # one is missing
    for data in damaged:
        said = []
        for at in (folder, bare):
            (at / "journal.msgpack").write_bytes(data)
            with pytest.raises(RunCorrupt) as caught:
                Run.open(at, write=True)
            said.append(str(caught.value).removeprefix(str(at)))
        assert said[0] == said[1]


def test_a_checkpoint_that_says_otherwise_of_the_journal_is_found(folder: Path) -> None:
    with create(folder) as run:
        run.append_proposal(proposal(0))
        append_score(run, score(0))
        run.contents.statuses["nan"] += 1
        run.write_checkpoint({})
    assert any("it reflects other records" in finding.message for finding in verify(folder))


# --- the lock


def test_a_second_writer_is_refused_by_pid_and_host(folder: Path) -> None:
    run = create(folder)
    for write in (lambda: Run.open(folder, write=True), lambda: repair(folder)):
        with pytest.raises(RunLocked, match=rf"mine: process {os.getpid()} on {socket.gethostname()} \(since 20"):
            write()
    assert Run.open(folder).header == run.header
    assert (folder / "LOCK").exists()
    run.close()
    assert not (folder / "LOCK").exists()
    Run.open(folder, write=True).close()


def test_whether_a_run_is_being_written_can_be_seen_without_disturbing_it(folder: Path) -> None:
    with create(folder):
        assert lock.is_written(folder)
        with (folder / "journal.msgpack").open("ab") as file:
            file.write(b"begun")
        assert verify(folder) == []  # what is not whole yet is being written
    assert not lock.is_written(folder)
    assert len(verify(folder)) == 1
    (folder / "LOCK").write_text("pid 1\nhost a\nstarted b\n")
    assert not lock.is_written(folder)


def test_a_reader_that_looks_at_the_lock_does_not_turn_a_writer_away(folder: Path) -> None:
    filled(folder)
    with (folder / "LOCK").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        timer = threading.Timer(0.03, fcntl.flock, (held.fileno(), fcntl.LOCK_UN))
        timer.start()
        Run.open(folder, write=True).close()
        timer.join()


def test_the_lock_of_a_killed_process_is_taken_over_and_that_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(folder)
    program = (
        f"from evosearch.store.run import Run; import time; run = Run.open({str(folder)!r}, write=True); "
        f"print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        with pytest.raises(RunLocked, match=f"process {process.pid} on"):
            Run.open(folder, write=True)
        process.send_signal(signal.SIGKILL)
    assert (folder / "LOCK").exists()
    with Run.open(folder, write=True):
        assert f"took over the lock left by process {process.pid} on" in caplog.text


def test_a_lock_removed_while_we_wait_for_it_is_no_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder removes the file between our open and our lock: what we hold then is nobody's."""
    filled(folder)
    real = fcntl.flock
    removed: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if not removed:
            (folder / "LOCK").unlink()
            removed.append(descriptor)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with Run.open(folder, write=True), pytest.raises(RunLocked):
        Run.open(folder, write=True)


def test_a_lock_file_is_never_written_through_a_link(folder: Path, tmp_path: Path) -> None:
    filled(folder)
    (tmp_path / "precious").write_text("mine")
    (folder / "LOCK").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError, match="symbolic link"):
        Run.open(folder, write=True)
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_lock_file_of_rubbish_is_no_obstacle(folder: Path) -> None:
    filled(folder)
    (folder / "LOCK").write_bytes(b"\xff\0pid \x1b[31m")
    Run.open(folder, write=True).close()


def test_what_a_lock_file_says_is_cleaned_before_it_is_shown(folder: Path) -> None:
    run = create(folder)
    (folder / "LOCK").write_text("pid \x1b[31m1\nhost a\x07b\nstarted now\n")
    with pytest.raises(RunLocked) as caught:
        Run.open(folder, write=True)
    assert "process ?[31m1 on a?b".replace("[", "?") in str(caught.value)
    run.close()


# --- other files


def test_no_run_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, message in (("no", "no such run folder"), ("file", "no such run folder"), ("empty", "not a run folder")):
        for use in (Run.open, verify, repair):
            with pytest.raises(RunError, match=f"{name}: .*{message}.*evolve list"):
                use(tmp_path / name)
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_run_of_a_newer_format_is_refused_by_name(folder: Path) -> None:
    filled(folder)
    data = (folder / "journal.msgpack").read_bytes()
    (folder / "journal.msgpack").write_bytes(framing.preamble(framing.JOURNAL, 2) + data[16:])
    for use in (Run.open, verify, repair):
        with pytest.raises(RunError, match="written in format 2"):
            use(folder)


def test_a_header_that_points_outside_the_folder_is_corrupt(folder: Path) -> None:
    headers: list[Any] = [
        {"files": {"../../etc/passwd": "x"}},
        {"files": {"a": 1}},
        {"files": []},
        {},
        [1],
        "x",
        {"files": {1: "x"}},
    ]
    folder.mkdir(parents=True)
    for header in headers:
        start = framing.preamble(framing.JOURNAL) + framing.frame(framing.encode(header))
        (folder / "journal.msgpack").write_bytes(start)
        with pytest.raises(RunCorrupt, match="header is not there"):
            Run.open(folder)
        assert len(verify(folder)) == 1


def test_best_is_replaced_whole_and_its_sums_check(folder: Path) -> None:
    with create(folder) as run:
        run.write_best({"old.txt": "old", "model.py": "a"})
        run.write_best({"model.py": "b", "weights.safetensors": b"\0\1"})
    assert {path.name for path in (folder / "best").iterdir()} == {"model.py", "weights.safetensors", "SHA256SUMS"}
    assert (folder / "best/model.py").read_text() == "b"
    assert not list(folder.glob("best.*"))
    command = ["sha256sum", "-c", "SHA256SUMS"]
    checked = subprocess.run(command, cwd=folder / "best", capture_output=True, text=True, check=True)
    assert checked.stdout.splitlines() == ["model.py: OK", "weights.safetensors: OK"]
    assert verify(folder) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda best: (best / "model.py").write_text("c"), "best/model.py"),
        (lambda best: (best / "model.py").unlink(), "best/model.py"),
        (lambda best: (best / "added.py").write_text("c"), "best/added.py"),
        (lambda best: (best / "SHA256SUMS").unlink(), "best/SHA256SUMS"),
        (lambda best: (best / "SHA256SUMS").write_text(""), "best/SHA256SUMS"),
        (lambda best: (best / "SHA256SUMS").open("a").write("\n"), "best/SHA256SUMS"),
    ],
)
def test_a_changed_best_is_found(folder: Path, change: Callable[[Path], object], named: str) -> None:
    with create(folder) as run:
        run.write_best({"model.py": "b", "weights.safetensors": b"\0\1"})
    assert Run.open(folder).best("model.py") == b"b"
    assert Run.open(folder).best("other.py") is None
    change(folder / "best")
    assert named in [finding.file for finding in verify(folder)]
    if named == "best/model.py" and (folder / named).exists():
        with pytest.raises(RunCorrupt, match=r"best/model.py: it does not match SHA256SUMS"):
            Run.open(folder).best("model.py")


def test_changed_and_missing_files_are_found(folder: Path) -> None:
    filled(folder)
    (folder / "config.toml").write_text("seed = 2\n")
    (folder / "grammar/mine.lark").unlink()
    assert [str(finding) for finding in verify(folder)] == [
        "config.toml: it is not the file that the run was started with; restore the file from a copy",
        "grammar/mine.lark: it is missing; restore the file from a copy",
    ]
    with pytest.raises(RunCorrupt, match=r"config.toml: it is not the file that the run was started with"):
        Run.open(folder).text("config.toml")
    for write in (lambda: Run.open(folder, write=True), lambda: repair(folder)):
        with pytest.raises(RunCorrupt, match=r"config.toml: it is not the file that the run was started with"):
            write()


def test_the_text_of_a_file_that_the_run_was_started_with(folder: Path) -> None:
    assert Run.open(filled(folder)).text("config.toml") == "seed = 1\n"
    (folder / "added.toml").write_text("x")
    with pytest.raises(RunCorrupt, match=r"added.toml"):
        Run.open(folder).text("added.toml")


def test_repair_leaves_a_damaged_journal_alone(folder: Path) -> None:
    journal = filled(folder) / "journal.msgpack"
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(data)
    before = snapshot(folder)
    with pytest.raises(RunCorrupt, match=r"journal.msgpack: offset \d+: "):
        repair(folder)
    assert snapshot(folder) == before


def test_repair_of_a_sound_run_does_nothing(folder: Path) -> None:
    checkpointed(folder)
    before = snapshot(folder)
    assert repair(folder) == []
    assert snapshot(folder) == before


# --- comparing


def test_equal_journals_are_equal_whatever_the_order_of_scores_and_the_times(tmp_path: Path) -> None:
    def journal(name: str, order: list[int], changed: dict[str, Any] | None = None, **times: float) -> Run:
        with Run.create(tmp_path / name, header={"seed": len(name)}, files={}) as run:
            for number in range(4):
                run.append_proposal({**proposal(number), **((changed or {}) if number == 2 else {})})
            for number in order:
                append_score(
                    run, {**score(number), **times, "objectives": {"seconds": time.perf_counter(), "error": 0.5}}
                )
        return Run.open(tmp_path / name)

    a = journal("a", [0, 1, 2, 3], at=1.0)
    assert equal_journals(a, journal("b", [3, 1, 0, 2], at=2.0, seconds=7.0))
    for other in (
        journal("fewer", [0, 1, 2]),
        journal("another", [0, 1, 2, 3], {"text": "x"}),
        journal("more", [0, 1, 2, 3], loss=0.5),
    ):
        assert not equal_journals(a, other)


def test_equal_journals_tell_proposals_apart_by_their_order(tmp_path: Path) -> None:
    digests = set()
    for name, texts in (("a", "xy"), ("b", "yx"), ("c", "xx")):
        with Run.create(tmp_path / name, header={}, files={}) as run:
            for number, text in enumerate(texts):
                run.append_proposal({"number": number, "text": text})
        digests.add(journal_digest(Run.open(tmp_path / name)))
    assert len(digests) == 3


# --- the short form of `make chaos`


def test_byte_flips_are_found_and_run_nothing(tmp_path: Path) -> None:
    flips(tmp_path, 200, np.random.default_rng(1))


def flips(tmp_path: Path, count: int, rng: np.random.Generator) -> None:
    """Damage one byte of a run: `verify` finds it; going on ends the same, or is refused by an EvosearchError."""
    total = 8
    search(tmp_path / "whole", FaultyDisk(), total)
    expected = journal_digest(Run.open(tmp_path / "whole"))
    half = tmp_path / "half"
    with pytest.raises(Died):
        search(half, FaultyDisk(20, only="write"), total)
    for leftover in ("journal.msgpack", "checkpoint.msgpack", "checkpoint.previous.msgpack"):
        assert (half / leftover).exists()
    search(tmp_path / "ends", FaultyDisk(), total)
    for base in (half, tmp_path / "ends"):
        names = sorted(snapshot(base).keys() - {"LOCK", "checkpoint.msgpack.new"})
        sizes = np.array([(base / name).stat().st_size for name in names])
        resumed, refused = 0, []
        for number in range(count // 2):
            # Each file as often as another, since most bytes lie in few of them.
            index = int(rng.integers(len(names)))
            offset, flip = int(rng.integers(sizes[index])), int(rng.integers(1, 256))
            path = base / names[index]
            sound = path.read_bytes()
            path.write_bytes(sound[:offset] + bytes([sound[offset] ^ flip]) + sound[offset + 1 :])
            before = snapshot(base)
            findings = verify(base)
            assert findings, f"{names[index]}:{offset}^{flip}"
            assert {finding.file.split("/")[0] for finding in findings} & {names[index].split("/")[0], "best"}
            assert snapshot(base) == before
            if number % 4 == 0:
                damaged = tmp_path / f"flip-{base.name}-{number}"
                shutil.copytree(base, damaged)
                try:
                    search(damaged, FaultyDisk(), total)
                except EvosearchError as error:
                    refused.append((names[index], str(error)))
                else:
                    resumed += 1
                    assert journal_digest(Run.open(damaged)) == expected
            path.write_bytes(sound)
        assert resumed > 0
        assert all(name in message for name, message in refused)


def test_kill_and_resume_loses_nothing(tmp_path: Path) -> None:
    kills(tmp_path, runs_killed=2, times=2, total=60, rng=np.random.default_rng(2))


def kills(tmp_path: Path, runs_killed: int, times: int, total: int, rng: np.random.Generator) -> None:
    """Kill a small search at random moments, then let it end: same journal, and every acknowledged score is in it."""
    search(tmp_path / "whole", FaultyDisk(), total)
    expected = journal_digest(Run.open(tmp_path / "whole"))
    for number in range(runs_killed):
        folder, acknowledged = tmp_path / f"run{number}", tmp_path / f"acknowledged{number}"
        command = [sys.executable, "-m", "tests.chaos.faults", str(folder), str(acknowledged), str(total)]
        for _ in range(times):
            with subprocess.Popen([*command, "0.001"], stdout=subprocess.PIPE) as process:
                assert process.stdout
                process.stdout.readline()  # the first acknowledged score: it is at work
                time.sleep(float(rng.uniform(0, 0.04)))
                process.kill()
        subprocess.run([*command, "0"], check=True, stdout=subprocess.DEVNULL)
        run = Run.open(folder)
        assert journal_digest(run) == expected
        told = [record["number"] for record in run.records() if record["kind"] == "score"]
        assert len(told) == len(set(told)) == total
        assert {int(line) for line in acknowledged.read_text().split()} <= set(told)
        assert restored(run)[0] == total
        assert verify(folder) == []


def test_a_run_whose_folder_is_moved_away_ends_with_the_next_score(tmp_path: Path) -> None:
    """What is open takes all that is written, for days; nothing is made anew in its place, and it goes on elsewhere."""
    folder = tmp_path / "run"
    with Run.create(folder, header={"seed": 0}, files={}) as run:
        run.append_proposal({"number": 0, "text": "a"})
        run.append_proposal({"number": 1, "text": "b"})
        append_score(run, {"number": 0, "status": "ok"})
        folder.rename(tmp_path / "moved")
        with pytest.raises(StorageError, match="moved or removed while the run was on; put the folder back"):
            append_score(run, {"number": 1, "status": "ok"})
        records.keep(folder / "candidates", Score("0" * 32, "crashed", error="why"), "")
    assert not folder.exists()
    with Run.open(tmp_path / "moved", write=True) as run:
        assert run.scores == 2


def test_what_a_person_asked_for_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    """A link leads to the file that is replaced, whose permissions stay; a pipe or a device is written to."""
    file, link = tmp_path / "own.arch", tmp_path / "link.arch"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file)

    def interrupted() -> None:
        with handing_over(link) as place:
            place.write_text("half of it")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert file.read_text() == "before"
    hand_over(link, "after\n")
    assert (link.is_symlink(), file.read_text(), file.stat().st_mode & 0o777) == (True, "after\n", 0o640)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.arch", "own.arch"]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    hand_over(pipe, "told")
    assert (os.read(reader, 100), pipe.is_fifo()) == (b"told", True)
    os.close(reader)
    hand_over(Path(os.devnull), "nobody reads this")
    assert Path(os.devnull).is_char_device()
    with Disk().replacing(Path(os.devnull), alone=False) as place:
        assert place == Path(os.devnull)
