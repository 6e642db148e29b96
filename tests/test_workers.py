"""Workers: every job is answered once, whatever its candidate does to its process, and no process is left behind."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from evosearch.errors import ConfigError, WorkerError
from evosearch.score import Score
from evosearch.workers import (
    GIB,
    Job,
    Pool,
    Resources,
    WorkerSettings,
    machine_memory,
    open_pool,
    seats,
)
from evosearch.workers.processes import REFUSED, ProcessPool
from evosearch.workers.records import contained, keep
from tests.accidents import Accidents
from tests.chaos.faults import FaultyDisk
from tests.conftest import ROOT


def answers(pool: Pool, texts: list[str], timeout: float = 60) -> list[Score]:
    """The scores of the texts, in order."""
    for number, text in enumerate(texts):
        pool.submit(Job(number, text, f"{number:032x}", number))
    found: dict[int, Score] = {}
    until = time.monotonic() + timeout
    while len(found) < len(texts) and time.monotonic() < until:
        for number, score in pool.wait(1):
            assert number not in found, "answered twice"
            found[number] = score
    return [found[number] for number in range(len(texts))]


def own_children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture
def before() -> set[int]:
    return own_children()


TWO = WorkerSettings(workers=2, device="cpu", memory=0.25, time_limit=2.0)


def test_each_accident_costs_its_candidate_and_no_other(
    tmp_path: Path, before: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exits, aborts, allocation without end and sleep get their statuses; the candidates around them get scores."""
    monkeypatch.setattr("evosearch.workers.processes.GRACE", 0.1)  # none of them looks at its time
    texts = ["fine", "exit 0", "allocate", "fine", "abort", "sleep 60", "fine", "exit 7", "raise what"]
    with ProcessPool(Accidents(), TWO, tmp_path) as pool:
        scores = answers(pool, texts)
        assert pool.wait(0.1) == []
    expected = ["ok", "crashed", "oom", "ok", "crashed", "timeout", "ok", "crashed", "crashed"]
    assert [score.status for score in scores] == expected
    assert [score.key for score in scores] == [f"{number:032x}" for number in range(len(texts))]
    assert "exit code 7" in scores[7].error
    assert "SIGABRT" in scores[4].error
    assert "limit is 0.25" in scores[2].error
    assert own_children() <= before

    kept = tmp_path / scores[7].key
    assert (kept / "error.txt").read_text() == f"crashed: {scores[7].error}\n"
    assert (kept / "log").read_text() == "going now\n"
    assert not (tmp_path / scores[0].key).exists()


def test_worker_killed_from_outside_has_its_candidate_tried_once_more(tmp_path: Path) -> None:
    """SIGKILL once: the candidate is scored by the next worker. SIGKILL again: crashed, and no third try."""
    settings = WorkerSettings(workers=1, device="cpu", time_limit=30)
    with ProcessPool(Accidents(marks=str(tmp_path)), settings) as pool:
        pool.submit(Job(0, "sleep 1", "0" * 32))
        mark = tmp_path / "0"
        while not mark.exists() or not mark.read_text():
            assert pool.wait(0.05) == []
        os.kill(int(mark.read_text()), signal.SIGKILL)
        [(number, score)] = pool.wait(30)
        assert (number, score.status) == (0, "ok")
        assert len(set(mark.read_text().split())) == 2

        pool.submit(Job(1, f"kill {int(signal.SIGKILL)}", "1" * 32))
        [(number, score)] = pool.wait(30)
        assert (number, score.status) == (1, "crashed")
        assert "two workers" in score.error
        assert len((tmp_path / "1").read_text().split()) == 2


def test_what_a_candidate_started_ends_with_its_worker(tmp_path: Path) -> None:
    """A process that a candidate left behind is gone once the candidate is answered for."""
    pid = tmp_path / "pid"
    with ProcessPool(Accidents(), WorkerSettings(workers=1, device="cpu")) as pool:
        assert answers(pool, [f"orphan {pid}"])[0].status == "crashed"
    until = time.monotonic() + 5
    while psutil.pid_exists(int(pid.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(int(pid.read_text()))


def test_a_worker_that_does_not_end_gives_its_seat_up() -> None:
    """One that is to be replaced and hangs at its exit is ended: the candidates behind it are scored by the next."""
    with ProcessPool(Accidents(), WorkerSettings(workers=1, device="cpu")) as pool:
        assert [score.status for score in answers(pool, ["linger", "fine"], 30)] == ["crashed", "ok"]


def test_a_reason_that_cannot_be_kept_is_no_score_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a file where the folder of failures is to be, every candidate is answered, and the log says so."""
    (tmp_path / "candidates").write_text("in the way")
    with ProcessPool(Accidents(), WorkerSettings(workers=1, device="cpu"), tmp_path / "candidates") as pool:
        assert [score.status for score in answers(pool, ["say no", "exit 3", "fine"], 30)] == [
            "crashed",
            "crashed",
            "ok",
        ]
    assert "why a candidate got 'crashed' is not kept" in caplog.text


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_the_reason_of_a_failure_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    """At every system call of keeping it: no error is raised, and the log names the file and what the disk said."""
    failure = Score("ab" * 16, "crashed", error="it failed: \ud800")
    whole = FaultyDisk()
    keep(tmp_path / "whole", failure, "Traceback \ud800", whole)
    assert (tmp_path / "whole" / failure.key / "error.txt").read_text() == "crashed: it failed: \\ud800\n"
    assert (tmp_path / "whole" / failure.key / "log").read_text() == "Traceback \\ud800"
    for fault in range(len(whole.calls)):
        caplog.clear()
        keep(tmp_path / str(fault), failure, "Traceback", FaultyDisk(fault, error))
        assert f"{tmp_path / str(fault)}" in caplog.text
        assert os.strerror(error) in caplog.text


@pytest.mark.parametrize("linked", ["candidates", "candidates/KEY", "candidates/KEY/error.txt", "candidates/KEY/log"])
def test_no_link_is_followed_to_keep_a_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture, linked: str) -> None:
    """What a symbolic link in a run's folder points at stays as it is."""
    failure = Score("ab" * 16, "crashed", error="it failed")
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "run" / linked.replace("KEY", failure.key)
    link.parent.mkdir(parents=True)
    if link.name in ("error.txt", "log"):
        elsewhere.write_text("mine")
    else:
        elsewhere.mkdir()
    link.symlink_to(elsewhere)
    keep(tmp_path / "run" / "candidates", failure, "Traceback")
    assert "symbolic link" in caplog.text
    assert elsewhere.read_text() == "mine" if elsewhere.is_file() else not any(elsewhere.iterdir())


def test_workers_find_modules_where_their_parent_does(tmp_path: Path) -> None:
    """A ctypes.py in the current folder is not run; a module on the parent's path alone, evosearch's too, is found."""
    here, apart = tmp_path / "here", tmp_path / "apart"
    here.mkdir()
    apart.mkdir()
    (here / "ctypes.py").write_text("open('taken', 'w').close()\n")
    (apart / "accident.py").write_text("from tests.accidents import Accidents\nclass Own(Accidents): pass\n")
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path[:0] = [{str(ROOT)!r}, {str(apart)!r}]
            from accident import Own
            from evosearch.workers import Job, WorkerSettings
            from evosearch.workers.processes import ProcessPool
            with ProcessPool(Own(), WorkerSettings(workers=1, device="cpu")) as pool:
                pool.submit(Job(0, "fine", "0" * 32))
                print(pool.wait(60)[0][1].status)
            """
        )
    )
    done = subprocess.run([sys.executable, program], cwd=here, capture_output=True, text=True, check=False)
    assert done.stdout == "ok\n", done.stderr
    assert not (here / "taken").exists()


@pytest.mark.usefixtures("hears_signals")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, sign: signal.Signals) -> None:
    """Whether it is killed or interrupted without closing its pool, its workers are gone a moment later."""
    program = textwrap.dedent(
        f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from tests.accidents import Accidents
        from evosearch.workers import Job, WorkerSettings
        from evosearch.workers.processes import ProcessPool
        pool = ProcessPool(Accidents(marks={str(tmp_path)!r}), WorkerSettings(workers=2, device="cpu"))
        for number in range(2):
            pool.submit(Job(number, "sleep 600", "0" * 32))
        while True:
            pool.wait(1)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    marks = [tmp_path / "0", tmp_path / "1"]
    until = time.monotonic() + 60
    while not all(mark.exists() and mark.read_text() for mark in marks) and time.monotonic() < until:
        time.sleep(0.05)
    workers = [psutil.Process(int(mark.read_text())) for mark in marks]
    parent.send_signal(sign)
    parent.wait(10)
    assert psutil.wait_procs(workers, 5)[1] == []


def test_mistakes_of_the_run_are_raised_and_not_blamed_on_candidates() -> None:
    """A worker that cannot load its task, or dies before it is ready, is an error of the pool with its reason."""
    with ProcessPool(Accidents(broken="error"), TWO) as pool:
        pool.submit(Job(0, "fine", "0" * 32))
        with pytest.raises(WorkerError, match="no such task"):
            pool.wait(30)
    with ProcessPool(Accidents(broken="exit"), TWO) as pool:
        pool.submit(Job(0, "fine", "0" * 32))
        with pytest.raises(WorkerError, match=r"exit code 3.*the disk is on fire"):
            pool.wait(30)


@pytest.mark.parametrize(("error", "times"), [(errno.EAGAIN, 2), (errno.EAGAIN, 9), (errno.ENOENT, 9)])
def test_a_start_that_the_system_refuses_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int, times: int
) -> None:
    """A machine with no process left just now ends no run; one that never has any, or no Python, is an error."""
    opened, refusals = subprocess.Popen, [OSError(error, os.strerror(error))] * times

    def popen(*arguments: Any, **settings: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return opened(*arguments, **settings)

    monkeypatch.setattr("evosearch.workers.processes.subprocess.Popen", popen)
    monkeypatch.setattr("evosearch.workers.processes.PAUSE", 0.01)
    with ProcessPool(Accidents(), WorkerSettings(workers=1, device="cpu")) as pool:
        if times == 2:
            assert [score.status for score in answers(pool, ["fine"], 30)] == ["ok"]
            assert caplog.text.count("could not be started") == 2
        else:
            pool.submit(Job(0, "fine", "0" * 32))
            with pytest.raises(WorkerError, match=f"no worker could be started: .*{os.strerror(error)}"):
                pool.wait(30)
            assert len(refusals) == times - (1 if error == errno.ENOENT else REFUSED)


def test_a_pool_whose_workers_are_refused_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C waits for no next try."""
    asked = threading.Event()

    def popen(*_: Any, **__: Any) -> Any:
        asked.set()
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("evosearch.workers.processes.subprocess.Popen", popen)
    monkeypatch.setattr("evosearch.workers.processes.PAUSE", 60.0)
    pool = ProcessPool(Accidents(), WorkerSettings(workers=1, device="cpu"))
    assert asked.wait(10)
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 10


def test_inline_pool_answers_and_keeps_logs(tmp_path: Path) -> None:
    """The pool in this process answers one job for each wait, and keeps what failed."""
    pool = open_pool(Accidents(), WorkerSettings(pool="inline", device="cpu"), tmp_path)
    scores = answers(pool, ["fine", "say hello", "raise what"])
    assert [score.status for score in scores] == ["ok", "crashed", "crashed"]
    assert scores[2].error == "ValueError: what"
    assert (tmp_path / f"{1:032x}" / "log").read_text() == "Tracebackhello\n"  # raised, and printed
    assert "ValueError: what" in (tmp_path / f"{2:032x}" / "log").read_text()
    assert pool.wait(0) == []
    pool.close()


def test_a_candidate_that_asks_its_process_to_end_is_a_crashed_score() -> None:
    """`sys.exit` in a person's own code ends its candidate, in evosearch's own process too."""
    score, log = contained(lambda job: sys.exit("no licence"), Job(0, "x", "0" * 32))
    assert (score.status, score.error) == ("crashed", "SystemExit: no licence")
    assert "Traceback" in log


def test_settings_say_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match=r"workers.device is 'gpu'; use auto, cpu, cuda or cuda:N"):
        WorkerSettings(device="gpu")
    with pytest.raises(ConfigError, match=r"workers.threads is 0; it must be at least 1"):
        WorkerSettings(threads=0)


def test_workers_share_the_machine() -> None:
    """Memory that is not given is shared equally, within four fifths of the machine's."""
    given = seats(WorkerSettings(workers=4, device="cpu"))
    assert len(given) == 4
    assert sum(seat.memory for seat in given) <= 0.8 * machine_memory()
    assert {seat.threads for seat in given} == {1}


@pytest.mark.parametrize("memory", [0.0, 0.25])
def test_what_is_over_budget_does_not_depend_on_the_number_of_workers(memory: float) -> None:
    """On CPU a candidate's estimate is held against the same figure, however many workers share the machine."""
    rooms = {
        seat.device_memory
        for count in (1, 2, 16)
        for seat in seats(WorkerSettings(workers=count, device="cpu", memory=memory))
    }
    assert rooms == {int(memory * GIB) or int(0.8 * machine_memory())}


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library has no malloc_trim")
def test_a_worker_takes_its_pages_once_and_gives_them_back_after_a_candidate() -> None:
    """A large array that is freed and made again is not taken from the system anew; trimming returns it there."""
    measure = """
        import os, resource
        import numpy as np, psutil
        from evosearch.workers.serve import _keep_pages

        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            array = np.empty(16 << 20)
            array[:] = 1
            del array
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        release = _keep_pages()
        first, second = faults(), faults()
        held = psutil.Process().memory_info().rss
        release(0)
        print(first, second, held - psutil.Process().memory_info().rss)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(measure)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, second, returned = map(int, done.stdout.split())
    assert second < first / 10
    assert returned > 100 << 20  # of 128 MiB


def test_what_workers_take_of_memory_is_seen() -> None:
    """On CPU main memory, of each worker while it works; and what they may take together."""
    with ProcessPool(Accidents(), WorkerSettings(workers=2, device="cpu", memory=2.0)) as pool:
        assert pool.memory[1] == 2 * 2 * GIB
        pool.submit(Job(0, "sleep 0.5", "0" * 32))
        while not pool.wait(0.1):
            pass
        used, given = pool.memory
        assert 1 << 20 < used < given


@pytest.mark.gpu
def test_a_worker_is_held_to_its_share_of_a_gpu() -> None:
    import torch

    from evosearch.workers.serve import _share

    try:
        _share(Resources("cuda:0", threads=1, memory=0, device_memory=1 << 30, time_limit=0))
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(1 << 29, device="cuda:0")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, "cuda:0")
    torch.zeros(1 << 29, device="cuda:0")


@pytest.mark.gpu
def test_what_a_candidate_took_of_a_gpu_is_seen() -> None:
    """The most that it had reserved, and nothing of the candidate before."""
    import torch

    from evosearch.workers.serve import _held

    tensor = torch.zeros(1 << 26, device="cuda:0")
    del tensor
    held, _ = _held("cuda:0")
    assert held >= 4 << 26
    held, _ = _held("cuda:0")
    assert held < 4 << 26
