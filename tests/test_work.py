"""Workers on a shared folder: each job is done once, the dead one's again, and the journal is the one-process run's."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from evosearch import config as configuration
from evosearch import engine
from evosearch.engine import working as working_module
from evosearch.errors import RunError
from evosearch.evaluation.evaluators import Spec
from evosearch.score import Score
from evosearch.store.run import Run
from evosearch.workers import Job, WorkerSettings, open_pool
from evosearch.workers.executors import slurm
from evosearch.workers.folder import FolderPool, Signs, Worker
from tests.chaos.sessions import config as words_config
from tests.chaos.sessions import words
from tests.journals import equal_journals
from tests.watch import Silent

SILENCE = 0.4  # seconds: nobody here is slower to give a sign of life


@pytest.fixture
def settings(tmp_path: Path) -> configuration.Config:
    return words_config(words(tmp_path / "words", 4), budget=60, seed=3)


@contextmanager
def working(folder: Path, settings: configuration.Config, count: int) -> Iterator[list[Worker]]:
    """Workers in threads of this process, until the block ends."""
    over = threading.Event()
    workers = [Worker(folder, SILENCE) for _ in range(count)]
    spec = Spec(grammar=settings.grammar, task=settings.task)

    def run(worker: Worker) -> None:
        pool = open_pool(spec, WorkerSettings(device="cpu", pool="inline"))
        while not over.is_set():
            if not worker.turn(pool, 0.1):
                time.sleep(0.005)
        worker.close()

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    yield workers
    over.set()
    for thread in threads:
        thread.join()


def on_folder(settings: configuration.Config) -> configuration.Config:
    return settings.model_copy(update={"workers": WorkerSettings(executor="folder", device="cpu", silence=SILENCE)})


def answered(
    pool: FolderPool, until: Callable[[list[tuple[int, Score]]], bool], timeout: float = 20
) -> dict[int, Score]:
    found: list[tuple[int, Score]] = []
    ends = time.monotonic() + timeout
    while not until(found) and time.monotonic() < ends:
        found += pool.wait(0.1)
    assert len(dict(found)) == len(found), "answered twice"
    return dict(found)


def test_the_journal_is_that_of_one_process(settings: configuration.Config, tmp_path: Path) -> None:
    engine.start(settings, tmp_path / "here", Silent())
    work = threading.Thread(target=engine.start, args=(on_folder(settings), tmp_path / "there", Silent()))
    work.start()
    while not (tmp_path / "there" / "queue" / "jobs").is_dir():
        time.sleep(0.01)
    with working(tmp_path / "there", settings, 3) as workers:
        work.join()
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(tmp_path / "there"))
    assert sum(worker.evaluated for worker in workers) == 60
    left = {path.name for path in (tmp_path / "there" / "queue").rglob("*") if path.is_file()}
    assert left == set()


def test_what_a_dead_worker_had_claimed_is_tried_once_more(settings: configuration.Config, tmp_path: Path) -> None:
    """A worker claims and gives no sign of life any more: another does its job. The second time it crashed."""
    pool = FolderPool(Spec("", ""), WorkerSettings(silence=SILENCE), tmp_path / "candidates")
    pool.submit(Job(0, "abcd", "0" * 32, seed=5))
    job = next((tmp_path / "queue/jobs").iterdir())
    for name in ("first", "second"):
        until = time.monotonic() + 20
        while not job.exists():
            assert not pool.wait(0.05)
            assert time.monotonic() < until
        job.rename(tmp_path / "queue/claimed" / f"{job.name}.{name}")
    (score,) = answered(pool, bool).values()
    assert (score.status, score.seed) == ("crashed", 5)
    assert "second" in score.error
    pool.close()


class Slow:
    """A pool of two that answers when it is told to."""

    size, memory = 2, (0, 0)

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.done = False

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def wait(self, timeout: float | None = None) -> list[tuple[int, Score]]:
        jobs, self.jobs = (self.jobs, []) if self.done else ([], self.jobs)
        return [(job.number, Score(job.key, "ok", {"fitness": 1.0}, seed=job.seed)) for job in jobs]

    def close(self) -> None: ...


def test_a_worker_that_was_thought_dead_has_its_job_once(tmp_path: Path) -> None:
    """Its machine slept for longer than a sign of life takes: the job is there again, and it is at work on it still."""
    pool = FolderPool(Spec("", ""), WorkerSettings(silence=SILENCE), tmp_path / "candidates")
    worker, at_work = Worker(tmp_path, SILENCE), Slow()
    pool.submit(Job(0, "abcd", "0" * 32, seed=5))
    assert worker.turn(at_work, 0)
    worker._alive._over.set()  # it sleeps
    worker._alive._thread.join()
    until = time.monotonic() + 20
    while not list((tmp_path / "queue/jobs").iterdir()):
        assert not pool.wait(0.05)
        assert time.monotonic() < until
    assert worker.turn(at_work, 0)
    assert len(at_work.jobs) == 1
    at_work.done = True
    assert worker.turn(at_work, 0)
    assert {number: score.status for number, score in answered(pool, bool).items()} == {0: "ok"}
    assert not worker.turn(at_work, 0)
    worker.close()
    pool.close()
    assert {path.name for path in (tmp_path / "queue").rglob("*") if path.is_file()} == set()


def test_a_new_driver_takes_what_is_done_and_what_is_claimed(settings: configuration.Config, tmp_path: Path) -> None:
    """Results that came while nobody drove count; an answer to a job that is another now does not."""
    first = FolderPool(Spec("", ""), WorkerSettings(silence=SILENCE), tmp_path / "candidates")
    jobs = [Job(number, "abcd", f"{number:032x}") for number in range(3)]
    for job in jobs:
        first.submit(job)
    first.close()
    with working(tmp_path, settings, 1):
        while len(list((tmp_path / "queue/done").iterdir())) < 3:
            time.sleep(0.01)
    second = FolderPool(Spec("", ""), WorkerSettings(silence=SILENCE), tmp_path / "candidates")
    other = Job(2, "dcba", "f" * 32)
    for job in (*jobs[:2], other):
        second.submit(job)
    found = answered(second, lambda found: len(found) == 2)
    assert {score.key for score in found.values()} == {job.key for job in jobs[:2]}
    with working(tmp_path, settings, 1):
        assert answered(second, bool)[2].key == other.key
    second.close()


def test_signs_of_life_are_judged_by_the_watchers_clock(tmp_path: Path) -> None:
    now = [0.0]
    signs = Signs(tmp_path, lambda: now[0])
    (tmp_path / "a").write_text("1")
    assert signs.silent() == {"a": 0.0}
    now[0] = 5.0
    assert signs.silent() == {"a": 5.0}
    (tmp_path / "a").write_text("2")
    assert signs.silent() == {"a": 0.0}


def test_a_worker_of_a_table_imports_no_torch(settings: configuration.Config, tmp_path: Path) -> None:
    """`evolve work` on a run that nobody drives: it starts a driver, and evaluates, to the end."""
    settings = settings.model_copy(update={"workers": WorkerSettings(silence=1.0)})
    engine.start(settings, tmp_path / "here", Silent())
    with pytest.raises(RunError):
        interrupted(settings, tmp_path / "there")
    code = (
        f"import sys; from evosearch.cli import main; assert main(['work', {str(tmp_path / 'there')!r}]) == 0; "
        "assert not {'torch', 'numba', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(tmp_path / "there"))


def interrupted(settings: configuration.Config, folder: Path) -> None:
    """A run that ends after some scores."""

    class Interrupting(Silent):
        def progress(self, progress: engine.Progress) -> None:
            if progress.evaluated >= 10:
                raise RunError("interrupted")

    engine.start(settings, folder, Interrupting())


def test_a_driver_and_pilots_are_told_device_and_data(
    tmp_path: Path, settings: configuration.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person said to `evolve work` or `evolve resume` holds for the processes that these start."""
    changes = engine.Changes(device="cpu", task="moved.csv")
    command = working_module._Drive(tmp_path, changes, SILENCE, print).command
    assert command[-4:] == ["--task", "moved.csv", "--device", "cpu"]
    submitted: list[list[str]] = []

    def submit(command: list[str]) -> SimpleNamespace:
        submitted.append(command)
        return SimpleNamespace(cancel=lambda: None)

    executor = SimpleNamespace(update_parameters=lambda **_: None, batch=nullcontext, submit=submit)
    submitit = SimpleNamespace(
        AutoExecutor=lambda **_: executor, helpers=SimpleNamespace(CommandFunction=lambda given: given)
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(slurm, "import_module", lambda name: submitit)
    there = WorkerSettings(executor="slurm", workers=1, device="cuda", silence=SILENCE)
    slurm.Pilots(Spec(settings.grammar, "moved.csv"), there, tmp_path / "run/candidates").close()
    assert submitted[0][-4:] == ["--device", "cuda", "--task", "moved.csv"]
