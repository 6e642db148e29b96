"""A task that one process has read is there for the others of its machine, and nowhere when they are gone."""

from __future__ import annotations

import dataclasses
import errno
import io
import multiprocessing
import sys
import tempfile
from contextlib import closing
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from evosearch import plugins, tasks
from evosearch.evaluation.evaluators import Spec
from evosearch.evaluation.recipe import Recipe
from evosearch.tasks import Task, TaskSettings
from evosearch.tasks.base import _digest
from evosearch.tasks.kinds import BUNDLED, named
from evosearch.tasks.shared import SPLITS, SharedTask, Sharing
from evosearch.workers import Job, Resources, WorkerSettings, open_pool
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process reads the data itself")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng, file = np.random.default_rng(0), tmp_path / "table.csv"
    lines = [f"{rng.normal():.3f},{rng.choice(['red', 'blue'])},2024-01-{n % 28 + 1:02},{n % 3}" for n in range(120)]
    file.write_text("\n".join(["size,colour,day,goal", *lines]) + "\n")
    return file


def loaded(spec: str, **settings: object) -> Task:
    task = tasks.load(spec, TaskSettings(**settings))  # type: ignore[arg-type] # settings of several types
    assert isinstance(task, Task)
    return task


def shared(sharing: Sharing) -> SharedTask:
    assert sharing.shared is not None
    return sharing.shared


def read(there: SharedTask) -> Task:
    task = there.task(BUNDLED[there.kind])
    assert task is not None
    return task


def digest_of(there: SharedTask) -> tuple[str, list[str]]:
    """Of the arrays as they are here."""
    task = read(there)
    splits = task.train, task.validation, task.test_split()
    return _digest(task.kind.name, task.metric, task.labels, splits), task.summary()


@pytest.mark.parametrize("spec", ["digits", "table", "regression"])
def test_another_process_has_the_same_task(spec: str, table: Path) -> None:
    task = loaded("digits") if spec == "digits" else loaded(str(table), kind="auto" if spec == "table" else spec)
    sharing = Sharing(task)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(digest_of, (shared(sharing),)) == (task.digest, task.summary())


def test_every_field_is_the_same(table: Path) -> None:
    task = loaded(str(table))
    sharing = Sharing(task)
    there = read(shared(sharing))
    for one in dataclasses.fields(Task):
        mine, other = getattr(task, one.name), getattr(there, one.name)
        if one.name in SPLITS:
            assert (mine.x.dtype, mine.y.dtype) == (other.x.dtype, other.y.dtype)
            assert (mine.x == other.x).all()
            assert (mine.y == other.y).all()
            assert other.groups is None
        elif isinstance(mine, np.ndarray):
            assert mine.dtype == other.dtype
            assert (mine == other).all()
        elif one.name == "kind":
            assert type(mine) is type(other)
        else:
            assert mine == other


def test_what_one_process_writes_to_the_arrays_no_other_sees() -> None:
    task = loaded("digits")
    sharing = Sharing(task)
    first, second = read(shared(sharing)), read(shared(sharing))
    first.train.x[:] = 7
    assert (second.train.x == task.train.x).all()


@pytest.mark.filterwarnings("error")
def test_the_file_has_no_name_and_is_gone_with_its_holder() -> None:
    sharing = Sharing(loaded("digits"))
    there = shared(sharing)
    assert "(deleted)" in str(Path(there.path).readlink())
    del sharing
    assert there.task(BUNDLED["classification"]) is None
    with tempfile.TemporaryFile() as other:  # has the number that is free now
        assert Path(there.path).name == str(other.fileno())
        assert there.task(BUNDLED["classification"]) is None


def test_a_full_disk_leaves_the_data_to_each_process_and_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def full() -> Full:
        opened.append(Full())
        return opened[-1]

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    assert Sharing(loaded("digits")).shared is None
    assert opened[0].closed


def test_little_of_it_crosses_to_a_worker(tmp_path: Path) -> None:
    """As much as a socket takes at once, however wide the table is: nobody waits until the worker reads."""
    file, columns = tmp_path / "wide.csv", range(500)
    rows = [
        ",".join([*(f"a word {number % 7} of {column}" for column in columns), str(number % 2)]) for number in range(60)
    ]
    file.write_text("\n".join([",".join([*(f"column {column}" for column in columns), "goal"]), *rows]) + "\n")
    sharing = Sharing(loaded(str(file)))
    assert len(ForkingPickler.dumps(shared(sharing))) < 10_000


def test_a_kind_of_one_s_own_is_the_one_that_was_asked_for(table: Path, tmp_path: Path) -> None:
    """Whatever it says that it is called."""
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind" / "other.py").write_text(
        "from evosearch.tasks.kinds.regression import Regression\n\n\n"
        "class Other(Regression):\n    '''Of a loss that fails.'''\n\n"
        "    def loss(self, out, y, recipe):\n        raise RuntimeError('own loss')\n"
    )
    settings = TaskSettings(kind="other")
    own = plugins.find((str(tmp_path),))
    task = tasks.load(str(table), settings, named(own.own("kind"), "other"))
    assert isinstance(task, Task)
    sharing = Sharing(task)
    grammar = str(ROOT / "grammars" / "mlp.lark")
    recipe = Recipe(epochs=1, batch=16)
    spec = Spec(grammar, str(table), recipe=recipe, data=settings, operators=(str(tmp_path),), shared=shared(sharing))
    with closing(open_pool(spec, WorkerSettings(workers=1), tmp_path / "candidates")) as pool:
        pool.submit(Job(0, "linear(16)", "0" * 32))
        ((_, score),) = pool.wait()
    assert "own loss" in score.error


@pytest.mark.parametrize("reachable", [True, False])
def test_a_worker_takes_the_task_from_there_or_reads_it(table: Path, tmp_path: Path, reachable: bool) -> None:
    """With the file gone it can only have been taken; with the holder gone only have been read."""
    sharing = Sharing(loaded(str(table)))
    there = shared(sharing)
    if reachable:
        table.unlink()
    else:
        del sharing
    grammar = str(ROOT / "grammars" / "mlp.lark")
    spec = Spec(grammar, str(table), recipe=Recipe(epochs=1, batch=16), shared=there)
    with closing(open_pool(spec, WorkerSettings(workers=1), tmp_path / "candidates")) as pool:
        pool.submit(Job(0, "linear(16)", "0" * 32))
        ((_, score),) = pool.wait()
    assert score.status == "ok", score.error


def test_a_spec_without_it_reads_the_data(table: Path) -> None:
    spec = Spec(str(ROOT / "grammars" / "mlp.lark"), str(table))
    assert spec.build(Resources()).digest
