"""What journal and checkpoint cost beside the fsyncs themselves, and how fast a long run is read again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from evosearch.logs import Logs, Scored, Session, makers
from evosearch.store.disk import Disk
from evosearch.store.run import Run
from evosearch.store.verify import verify
from tests.journals import append_score, journal_digest

T = TypeVar("T")

TEXT = "seq(seq(conv(64,3),norm),branch(clone2,seq(linear(128),relu),identity,add))" * 4
KNOWN = 10_000  # keys in the state that is checkpointed
EVERY = 100  # evaluations between two checkpoints
RATE = 100  # evaluations a second: at this rate journal and checkpoint may take 2 % of a run's time


class TimedDisk(Disk):
    """Counts the fsyncs and their seconds."""

    def __init__(self, skip: bool = False) -> None:
        self.fsyncs, self.seconds, self.skip = 0, 0.0, skip

    def perform(self, step: str, path: Path, function: Callable[..., T], *arguments: object) -> T:
        if step != "fsync":
            return function(*arguments)
        start = time.perf_counter()
        try:
            return function(*arguments) if not self.skip else None  # type: ignore[return-value]
        finally:
            self.fsyncs += 1
            self.seconds += time.perf_counter() - start


def proposal(number: int) -> dict[str, Any]:
    key = f"{number:032x}"
    return {
        "number": number,
        "key": key,
        "text": TEXT,
        "parents": [number - 1],
        "operator": "redraw",
        "seed": number << 32,
    }


def score(number: int) -> dict[str, Any]:
    curve = [0.1 * epoch for epoch in range(8)]
    return {
        "number": number, "key": f"{number:032x}", "status": "ok", "objectives": {"accuracy": 0.9, "params": 1e6},
        "metrics": {"loss": 0.3}, "curve": curve, "cost": {"params": 1, "flops": 2}, "seconds": 1.5, "error": "",
    }  # fmt: skip


def state() -> dict[str, Any]:
    """As a search has it: a population, what is known, the random streams."""
    individuals = [{"text": TEXT, "key": f"{number:032x}", "values": [0.5]} for number in range(100)]
    known = b"".join(number.to_bytes(16, "big") for number in range(KNOWN))
    return {"population": individuals, "known": known, "streams": [1 << 127] * 8, "inflight": individuals[:8]}


@contextmanager
def journal(folder: Path, disk: Disk) -> Iterator[Callable[[], None]]:
    """One evaluation at each call, a checkpoint at each hundredth."""
    now = state()
    with Run.create(folder, header={"seed": 1}, files={"config.toml": ""}, disk=disk) as run:

        def evaluate() -> None:
            number = run.proposals
            run.append_proposal(proposal(number))
            append_score(run, score(number))
            if number % EVERY == EVERY - 1:
                run.write_checkpoint(now)

        yield evaluate


def test_journal_and_checkpoint_of_one_evaluation(benchmark: Any, tmp_path: Path) -> None:
    """At 100 evaluations a second they take under 2 % of the time beside the fsyncs, of which there is one a score."""
    disk = TimedDisk()
    count = 2_000
    with journal(tmp_path / "timed", disk) as evaluate:
        disk.fsyncs, disk.seconds = 0, 0.0
        start = time.perf_counter()
        for _ in range(count):
            evaluate()
        beside = (time.perf_counter() - start - disk.seconds) / count
    checkpoints = count // EVERY
    print(
        f"\n{beside * 1e6:.0f} us an evaluation beside the fsyncs: {beside * RATE:.2%} of the time at {RATE} a second; "
        f"{disk.fsyncs} fsyncs of {disk.seconds / disk.fsyncs * 1e6:.0f} us: one a score, two a checkpoint"
    )
    assert disk.fsyncs == count + 2 * checkpoints
    assert beside * RATE < 0.02
    with journal(tmp_path / "run", TimedDisk(skip=True)) as evaluate:
        benchmark(evaluate)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100,000 evaluations."""
    folder = tmp_path_factory.mktemp("runs") / "long"
    with journal(folder, TimedDisk(skip=True)) as evaluate:
        for _ in range(100_000):
            evaluate()
    return folder


def test_opening_a_run_of_100_000_evaluations_for_writing(benchmark: Any, long_run: Path) -> None:
    """Every record is checked, the checkpoint read, and the tail behind it."""

    def resume() -> None:
        with Run.open(long_run, write=True) as run:
            assert run.scores == 100_000
            loaded = run.load_checkpoint()
            assert loaded
            assert sum(1 for _ in run.records(loaded.offset)) < 2 * EVERY

    benchmark.pedantic(resume, rounds=3)
    print(f"\n{(long_run / 'journal.msgpack').stat().st_size / 1e6:.0f} MB of journal")
    assert benchmark.stats.stats.max < 5


def test_reading_all_of_a_run_of_100_000_evaluations(benchmark: Any, long_run: Path) -> None:
    benchmark.pedantic(lambda: sum(1 for _ in Run.open(long_run).records()), rounds=3)
    assert benchmark.stats.stats.max < 5


def test_the_digest_of_a_run_of_100_000_evaluations(benchmark: Any, long_run: Path) -> None:
    benchmark.pedantic(lambda: journal_digest(Run.open(long_run)), rounds=1)


def test_verifying_a_run_of_100_000_evaluations(benchmark: Any, long_run: Path) -> None:
    assert benchmark.pedantic(lambda: verify(long_run), rounds=1) == []


def test_looking_at_the_whole_logs_of_a_run_of_100_000_evaluations(benchmark: Any, long_run: Path) -> None:
    """What a resume does to them where nothing is missing."""
    with Run.open(long_run, write=True) as run:
        Logs(Session(run), makers([])).close()
        benchmark.pedantic(lambda: Logs(Session(run), makers([])).close(), rounds=5)


def test_writing_the_logs_of_a_run_of_100_000_evaluations_anew(benchmark: Any, long_run: Path) -> None:
    """What `evolve repair` does, and the first resume of a run that was begun without them."""

    def gone() -> None:
        for name in ("evaluations.csv", "evaluations.jsonl"):
            (long_run / name).unlink(missing_ok=True)

    with Run.open(long_run, write=True) as run:
        benchmark.pedantic(lambda: Logs(Session(run), makers([])).close(), setup=gone, rounds=2)


def test_a_row_in_each_log(benchmark: Any, tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", header={}, files={}, disk=TimedDisk(skip=True)) as run:
        logs, number = Logs(Session(run), makers([])), iter(range(1_000_000))

        def journaled() -> tuple[tuple[list[Scored]], dict[str, Any]]:
            this = next(number)
            made, came = proposal(this), score(this)
            run.append_proposal(made)
            append_score(run, came)
            return ([Scored(made, came)],), {}

        benchmark.pedantic(logs.add, setup=journaled, rounds=2_000, warmup_rounds=10)
