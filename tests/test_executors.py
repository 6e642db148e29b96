"""Evaluations through an executor: the journal is the one-process run's, whatever becomes of the executor's workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evosearch import config as configuration
from evosearch import engine, plugins
from evosearch.errors import ConfigError, UsageError, WorkerError
from evosearch.evaluation.evaluators import Spec
from evosearch.evaluation.hardware import HardwareSettings
from evosearch.evaluation.lineage import FOLDER
from evosearch.evaluation.recipe import Recipe
from evosearch.store.run import Run
from evosearch.workers import Job, WorkerSettings, executors, parcel
from evosearch.workers.executor import ExecutorPool, slots
from tests.chaos.sessions import config as words_config
from tests.chaos.sessions import words
from tests.journals import equal_journals
from tests.test_finishing import settings as small
from tests.watch import Silent

OPENED: list[Executor] = []


def threads() -> Executor:
    return ThreadPoolExecutor(2)


def processes() -> Executor:
    OPENED.append(ProcessPoolExecutor(2, multiprocessing.get_context("spawn")))
    return OPENED[-1]


class Nowhere(Executor):
    """An executor none of whose workers ever answers."""

    size = 2

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(ConnectionError("no route to host"))
        return future


@pytest.fixture(autouse=True)
def _parcels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parcels of a test's own machine."""
    monkeypatch.setenv("EVOSEARCH_PARCELS", str(tmp_path / "parcels"))


@pytest.fixture
def settings(tmp_path: Path) -> configuration.Config:
    return words_config(words(tmp_path / "words", 4), budget=60, seed=3)


def on(settings: configuration.Config, executor: str, **more: Any) -> configuration.Config:
    return settings.model_copy(update={"workers": WorkerSettings(executor=executor, device="cpu", **more)})


@pytest.mark.parametrize("factory", ["threads", "processes"])
def test_an_executor_of_ones_own_gives_the_same_journal(
    factory: str, settings: configuration.Config, tmp_path: Path
) -> None:
    engine.start(settings, tmp_path / "here", Silent())
    engine.start(on(settings, f"{__name__}:{factory}"), tmp_path / "there", Silent())
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(tmp_path / "there"))


def test_a_worker_that_dies_costs_its_candidates_one_more_try(settings: configuration.Config, tmp_path: Path) -> None:
    """The process pool breaks for good under the run; another one is opened, and the journal is the same."""
    engine.start(settings, tmp_path / "here", Silent())
    OPENED.clear()
    killed = threading.Event()

    def kill() -> None:
        while not killed.is_set():
            for executor in OPENED[:1]:
                for process in list(getattr(executor, "_processes", None) or {}):
                    os.kill(process, signal.SIGKILL)
                    killed.set()
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    engine.start(on(settings, f"{__name__}:processes"), tmp_path / "there", Silent())
    killer.join()
    assert len(OPENED) == 2
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(tmp_path / "there"))


class Breaking(ThreadPoolExecutor):
    """Breaks while it is asked for the third time, as a process pool does whose pipes another thread closes."""

    opened = 0
    asked = 0

    def __init__(self, sound: bool) -> None:
        super().__init__(2)
        self.sound = sound

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        self.asked += 1
        if not self.sound and self.asked >= 3:
            raise ValueError("bad value(s) in fds_to_keep")
        return super().submit(call, *arguments, **named)


def breaking() -> Executor:
    """The first one breaks."""
    Breaking.opened += 1
    return Breaking(sound=Breaking.opened > 1)


class Closed(ThreadPoolExecutor):
    """An executor that takes nothing."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        raise RuntimeError("cannot schedule new futures after shutdown")


def closed() -> Executor:
    return Closed(1)


def test_an_executor_that_breaks_while_it_is_asked_is_opened_anew(
    settings: configuration.Config, tmp_path: Path
) -> None:
    engine.start(settings, tmp_path / "here", Silent())
    Breaking.opened = 0
    engine.start(on(settings, f"{__name__}:breaking"), tmp_path / "there", Silent())
    assert Breaking.opened == 2
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(tmp_path / "there"))


def test_an_executor_that_takes_no_jobs_at_all_is_told(settings: configuration.Config, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="takes no jobs, opened anew neither: RuntimeError: cannot schedule"):
        engine.start(on(settings, f"{__name__}:closed"), tmp_path / "there", Silent())


def test_a_run_resumes_on_another_executor(settings: configuration.Config, tmp_path: Path) -> None:
    engine.start(settings, tmp_path / "here", Silent())
    half = settings.model_copy(update={"search": settings.search.__class__(**{**vars(settings.search), "budget": 30})})
    engine.start(on(half, f"{__name__}:threads"), tmp_path / "there", Silent())
    with pytest.raises(UsageError, match="--executor"):
        engine.resume(tmp_path / "there", Silent(), budget=60)
    engine.resume(tmp_path / "there", Silent(), budget=60, executor="local")
    assert equal_journals(Run.open(tmp_path / "here"), Run.open(tmp_path / "there"))


def test_weights_pass_on_through_an_executor(tmp_path: Path) -> None:
    """By their content: the same journal and the same weights as in one process, bit for bit."""
    inherited = {"recipe__inherit": "parent", "ensemble__members": 1, "search__budget": 10, "search__lookahead": 2}
    config = small(tmp_path, **inherited, workers__pool="inline")
    engine.start(config, tmp_path / "here", Silent())
    engine.start(on(config, f"{__name__}:threads", pool="inline"), tmp_path / "there", Silent())
    here, there = tmp_path / "here", tmp_path / "there"
    assert any("inherits" in record for record in Run.open(there).records())
    assert equal_journals(Run.open(here), Run.open(there))
    files = {file.name: file.read_bytes() for file in (here / FOLDER).iterdir()}
    assert {file.name: file.read_bytes() for file in (there / FOLDER).iterdir()} == files


def test_an_executor_that_never_answers_ends_the_run(settings: configuration.Config, tmp_path: Path) -> None:
    spec = Spec(grammar=settings.grammar, task=settings.task)
    pool = ExecutorPool(spec, WorkerSettings(device="cpu"), None, Nowhere)
    pool.submit(Job(0, "aaaa", "0" * 32))
    with pytest.raises(WorkerError, match="no route to host"):
        pool.wait(5)


def test_wrong_executors_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no executor 'rya'"):
        executors.pool(Spec("x", "digits"), WorkerSettings(executor="rya"))
    with pytest.raises(ConfigError, match="return a concurrent"):
        executors.own("os:getpid")()
    with pytest.raises(ConfigError, match="say --workers N"):
        slots(Executor())


OWN = """
from helping import factor

def fitness(text, derivation, seed):
    return factor() * text.count("1")
"""


def test_a_parcel_holds_all_that_a_function_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened where none of the files lies; one that was changed on the way is refused."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "evosearch.toml").write_text("")
    (project / "bits.lark").write_text('// input: none\nstart: bit bit\nbit: "0" -> zero | "1" -> one\n')
    (project / "owning.py").write_text(OWN)
    (project / "helping.py").write_text("def factor():\n    return 2\n")
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(project)
    setup = engine.prepare(configuration.load(None, {"grammar": "bits.lark", "task": "owning:fitness", "seeds": []}))
    sent = parcel.packed(setup.spec(project / "bits.lark", tmp_path / "run"))
    assert not parcel.has(sent.digest)
    parcel.put(sent.digest, sent.data)
    parcel.put(sent.digest, sent.data)  # as another process of the machine may at the same time
    spec = parcel.opened(sent.digest)
    place = parcel.place() / sent.digest
    assert {path.relative_to(place).as_posix() for path in place.rglob("*.*")} == {
        "manifest.msgpack", "grammar/bits.lark", "code/owning.py", "code/helping.py",
    }  # fmt: skip
    assert Path(spec.grammar).is_relative_to(place)
    (place / "code/helping.py").write_text("def factor():\n    return 3\n")
    with pytest.raises(WorkerError, match="not what was sent"):
        parcel.opened(sent.digest)
    with pytest.raises(WorkerError, match="not parcel"):
        parcel.put("0" * 32, sent.data)


def test_proxies_teachers_and_tables_travel_too(tmp_path: Path) -> None:
    """What a recipe and the measurements name by a path lies in the parcel."""
    own = tmp_path / "own"
    (own / "proxy").mkdir(parents=True)
    (own / "proxy" / "tall.py").write_text('def tall(probe):\n    """Made up."""\n    return 1.0\n')
    (tmp_path / "wise.pt2").write_bytes(b"a program")
    (tmp_path / "mine.csv").write_text("layer,input,ms\n")
    grammar = words(tmp_path / "words", 2) / "words.lark"
    recipe = Recipe(proxies=("tall",), teacher=str(tmp_path / "wise.pt2"))
    hardware = HardwareSettings(table=str(tmp_path / "mine.csv"))
    named = Spec(str(grammar), "digits", recipe=recipe, hardware=hardware, operators=(str(own),))
    sent = parcel.packed(named)
    parcel.put(sent.digest, sent.data)
    there = parcel.opened(sent.digest)
    place = parcel.place() / sent.digest
    assert plugins.find(there.operators).get("proxy", "tall").path.is_relative_to(place.resolve())
    assert Path(there.hardware.table) == place / "table/mine.csv"
    assert Path(there.recipe.teacher) == place / "teacher/wise.pt2"
    assert Path(there.recipe.teacher).read_bytes() == b"a program"
    plain = parcel.packed(Spec(str(grammar), "digits", recipe=Recipe(teacher="self")))
    parcel.put(plain.digest, plain.data)
    assert parcel.opened(plain.digest).recipe.teacher == "self"


def test_data_travel_by_content(tmp_path: Path) -> None:
    """A folder of data and a table's columns are named anew where they are opened."""
    (tmp_path / "table.csv").write_text("key,fitness\naa,1\n")
    grammar = words(tmp_path / "words", 2) / "words.lark"
    sent = parcel.packed(Spec(str(grammar), f"table:{tmp_path / 'table.csv'},fitness=fitness"))
    parcel.put(sent.digest, sent.data)
    there = parcel.opened(sent.digest)
    assert there.task == f"table:{parcel.place() / sent.digest / 'data/table.csv'},fitness=fitness"
    assert there.limits == Spec("", "").limits
