"""Whole runs on real digits, made very small: what they leave, how they are resumed, refused and forked."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evosearch
from evosearch import config as configuration
from evosearch import engine, tasks
from evosearch.errors import ConfigError, RunChanged, RunLocked, SpaceExhausted, UsageError
from evosearch.store.run import Run
from tests.chaos.sessions import config as words_config
from tests.chaos.sessions import words
from tests.journals import append_score, equal_journals

SMALL: Mapping[str, Any] = {
    "seeds": ["small_cnn"],
    "search.budget": 6,
    "search.population": 3,
    "search.lookahead": 2,
    "limits.max_params": 100_000,
    "limits.max_flops": 3_000_000,
    "recipe.epochs": 1,
    "recipe.batch": 256,
    "final.epochs": 1,
    "workers.pool": "inline",
    "workers.device": "cpu",
}


def config(**more: Any) -> configuration.Config:
    return configuration.load(None, {**SMALL, **{key.replace("__", "."): value for key, value in more.items()}})


class Watching:
    """Remembers what it is told; `then` may interrupt."""

    def __init__(self, then: Callable[[engine.Progress], None] = lambda progress: None) -> None:
        self.then = then
        self.told: list[engine.Progress] = []
        self.notes: list[str] = []

    def started(self, info: Mapping[str, Any]) -> None:
        self.info = info

    def described(self, lines: Sequence[str]) -> None:
        self.notes.extend(lines)

    def progress(self, progress: engine.Progress) -> None:
        self.told.append(progress)
        self.then(progress)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finished(self, summary: engine.Summary) -> None:
        self.summary = summary


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, engine.Summary]:
    """A run to its end, with a ledger of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOSEARCH_CACHE", str(tmp_path_factory.mktemp("ledger")))
        folder = tmp_path_factory.mktemp("runs") / "whole"
        return folder, engine.start(config(), folder, Watching())


def test_a_run_leaves_a_tested_network(finished: tuple[Path, engine.Summary]) -> None:
    folder, summary = finished
    metrics = json.loads((folder / "best" / "metrics.json").read_text())
    assert metrics["test"] == dict(summary.test_metric)
    assert metrics["key"] == summary.best_key
    assert summary.evaluated == summary.distinct == 6
    assert 0.1 < summary.test_metric["accuracy"] <= 1
    assert 0.9 < summary.baseline["accuracy"] <= 1
    assert engine.verify(folder) == []


def test_the_saved_network_is_the_one_that_was_tested(finished: tuple[Path, engine.Summary]) -> None:
    """evosearch.load gives a network whose accuracy on the held-out split is the one reported."""
    torch = pytest.importorskip("torch")
    folder, summary = finished
    task = tasks.load("digits")
    test = task.test_split()  # type: ignore[attr-defined]
    with torch.no_grad():
        outputs = evosearch.load(folder)(torch.from_numpy(task.normalise(test.x)))  # type: ignore[attr-defined]
    assert float((outputs.argmax(1).numpy() == test.y).mean()) == summary.test_metric["accuracy"]


def test_the_saved_code_needs_no_evosearch(finished: tuple[Path, engine.Summary], tmp_path: Path) -> None:
    """model.py and the weights alone, in a process without evosearch, predict as evosearch.load does."""
    torch = pytest.importorskip("torch")
    folder, _ = finished
    test = tasks.load("digits").test_split()  # type: ignore[attr-defined]
    np.save(tmp_path / "images.npy", test.x[:50])
    script = f"""
import sys
sys.modules["evosearch"] = None
sys.path.insert(0, {str(folder / "best")!r})
import numpy, model
from safetensors.torch import load_file
network = model.Network()
network.load_state_dict(load_file({str(folder / "best" / "weights.safetensors")!r}))
images = numpy.load({str(tmp_path / "images.npy")!r})
print(*model.predict(network.eval(), images))
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    task = tasks.load("digits")
    with torch.no_grad():
        outputs = evosearch.load(folder)(torch.from_numpy(task.normalise(test.x[:50])))  # type: ignore[attr-defined]
    assert said.stdout.split() == [str(label) for label in outputs.argmax(1).tolist()]


def test_an_interrupted_run_ends_as_the_one_that_was_not(finished: tuple[Path, engine.Summary], tmp_path: Path) -> None:
    """The same candidates, scores, best network and weights, bit for bit, after an interruption at three scores."""

    def interrupt(progress: engine.Progress) -> None:
        if progress.evaluated >= 3:
            raise KeyboardInterrupt

    folder, summary = finished
    with pytest.raises(KeyboardInterrupt):
        engine.start(config(), tmp_path / "run", Watching(interrupt))
    assert 3 <= sum(r["kind"] == "score" for r in Run.open(tmp_path / "run").records()) < 6
    resumed = engine.resume(tmp_path / "run", Watching())
    assert equal_journals(Run.open(folder), Run.open(tmp_path / "run"))
    assert (resumed.best_key, resumed.test_metric) == (summary.best_key, summary.test_metric)
    for name in ("weights.safetensors", "model.py", "architecture.arch"):
        assert (folder / "best" / name).read_bytes() == (tmp_path / "run" / "best" / name).read_bytes()
    assert engine.verify(tmp_path / "run") == []


def test_scores_that_another_run_paid_for_cost_nothing_and_change_nothing(tmp_path: Path) -> None:
    """Two runs of one configuration on one ledger: the second trains nothing and has the same journal."""
    engine.start(config(), tmp_path / "first", Watching())
    second = Watching()
    engine.start(config(), tmp_path / "second", second)
    assert second.told[-1].known == 6
    assert all(r["seconds"] == 0 for r in Run.open(tmp_path / "second").records() if r["kind"] == "score")
    assert equal_journals(Run.open(tmp_path / "first"), Run.open(tmp_path / "second"))


def test_a_finished_run_goes_on_with_a_larger_budget(finished: tuple[Path, engine.Summary], tmp_path: Path) -> None:
    """Its first candidates stay; a run of the larger budget from the start has the same ones."""
    engine.start(config(search__budget=4), tmp_path / "run", Watching())
    assert engine.resume(tmp_path / "run", Watching(), budget=6).evaluated == 6
    assert equal_journals(Run.open(finished[0]), Run.open(tmp_path / "run"))
    with pytest.raises(UsageError, match="given 6 already"):
        engine.resume(tmp_path / "run", Watching(), budget=5)


def test_limits_that_no_architecture_meets_leave_nothing_behind(tmp_path: Path) -> None:
    """The head of ten classes alone has twenty parameters."""
    with pytest.raises(SpaceExhausted, match="max_params=10"):
        engine.start(config(seeds=[], limits__max_params=10, search__draws=50), tmp_path / "runs" / "none", Watching())
    assert not (tmp_path / "runs").exists()


def test_a_run_that_will_not_repeat_says_so(tmp_path: Path) -> None:
    """`--order arrival` gives repeatability away, and the first lines of the run tell; it is evaluated all the same."""
    settings = words_config(words(tmp_path / "table"), 20, 0)
    arrival = settings.model_copy(update={"search": replace(settings.search, order="arrival")})
    for name, asked, said in (("arrival", arrival, True), ("proposal", settings, False)):
        watch = Watching()
        summary = engine.start(asked, tmp_path / name, watch)
        assert ("not repeatable" in watch.info["search"]) is said
        assert summary.evaluated == 20
        assert engine.verify(tmp_path / name) == []


def test_a_run_that_is_being_written_is_not_resumed(finished: tuple[Path, engine.Summary]) -> None:
    folder, _ = finished
    with Run.open(folder, write=True), pytest.raises(RunLocked, match="process"):
        engine.resume(folder, Watching())


def test_operators_that_changed_are_refused_by_name_and_forked_instead(tmp_path: Path) -> None:
    own = tmp_path / "mine" / "mutate"
    own.mkdir(parents=True)
    operator = own / "again.py"
    operator.write_text('def again(parent, space, rng):\n    """Another sample."""\n    return space.draw(rng)\n')
    settings = config(operators=[str(tmp_path / "mine")], search__budget=4)
    engine.start(settings, tmp_path / "run", Watching())
    with pytest.raises(UsageError, match="--operators"):
        engine.resume(tmp_path / "run", Watching(), budget=6)
    operator.write_text(operator.read_text() + "\n# changed\n")
    with pytest.raises(RunChanged, match="the operators changed"):
        engine.resume(tmp_path / "run", Watching(), budget=6, operators=[str(tmp_path / "mine")])
    forked = engine.fork(tmp_path / "run", settings, tmp_path / "forked", Watching())
    assert forked.evaluated == 4
    texts = {r["text"] for r in Run.open(tmp_path / "run").records() if r["kind"] == "proposal"}
    first = next(r for r in Run.open(tmp_path / "forked").records() if r["kind"] == "proposal")
    assert first["text"] in texts


def test_verify_finds_a_journal_that_its_search_would_not_write(
    finished: tuple[Path, engine.Summary], tmp_path: Path
) -> None:
    """A run whose frames and digests check, but whose third proposal is not the search's."""
    folder, _ = finished
    run = Run.open(folder)
    files = {name: (folder / name).read_bytes() for name in run.header["files"]}
    with Run.create(tmp_path / "forged", header=run.header, files=files) as forged:
        for record in run.records():
            plain = {key: value for key, value in record.items() if key != "kind"}
            if record["kind"] == "score":
                append_score(forged, plain)
            elif record["kind"] == "proposal":
                changed = {"text": "seq(identity,identity)"} if record["number"] == 2 else {}
                forged.append_proposal({**plain, **changed})
    found = engine.verify(tmp_path / "forged")
    assert ["proposal 2 comes out otherwise" in str(one) for one in found] == [True]


def test_repair_writes_the_checkpoint_anew(finished: tuple[Path, engine.Summary], tmp_path: Path) -> None:
    engine.start(config(search__budget=3), tmp_path / "run", Watching())
    checkpoint = tmp_path / "run" / "checkpoint.msgpack"
    before = checkpoint.read_bytes()
    checkpoint.write_bytes(before[:-1])
    assert engine.verify(tmp_path / "run") != []
    engine.repair(tmp_path / "run")
    assert checkpoint.read_bytes() == before
    assert engine.verify(tmp_path / "run") == []


# An interrupt inside a destructor or a weak reference's callback is reported there, and the run goes on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_leaves_a_run_that_ends_as_it_would_have(tmp_path: Path) -> None:
    """SIGINT by a timer, at random moments of a search of table look-ups, the interpreter's own way."""
    table = words(tmp_path / "table", letters=4)
    whole = words_config(table, 150, 0)
    engine.start(whole, tmp_path / "whole", Watching())
    rng = np.random.default_rng(0)
    interrupted = 0
    for number in range(12):
        folder = tmp_path / f"run{number}"
        signal.setitimer(signal.ITIMER_REAL, 0.01 + 0.2 * float(rng.random()))
        try:
            engine.start(whole, folder, Watching())
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if folder.exists():
            engine.resume(folder, Watching())
            assert equal_journals(Run.open(tmp_path / "whole"), Run.open(folder))
            assert engine.verify(folder) == []
    assert interrupted > 0


@pytest.fixture(autouse=True)
def _alarm_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGALRM, before)


def test_a_score_without_the_wanted_objective_is_a_failure_and_no_end(tmp_path: Path) -> None:
    """A person's function that forgets an objective once: that candidate fails, the run ends and can be replayed."""
    (tmp_path / "forgetful.py").write_text(
        "def score(text, derivation, seed):\n"
        "    return {'a': len(text)} if text.startswith('ab') else {'a': len(text), 'b': text.count('a')}\n"
    )
    table = words(tmp_path / "table", letters=3)
    settings = configuration.load(
        None,
        {
            "grammar": str(table / "words.lark"), "task": "forgetful:score", "seeds": [],
            "search.budget": 40, "search.population": 5, "search.objectives": ["+b"],
        },
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.syspath_prepend(tmp_path)
        summary = engine.start(settings, tmp_path / "run", Watching())
        assert summary.failures["invalid"] > 0
        assert engine.verify(tmp_path / "run") == []


def test_objectives_that_a_task_has_not_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search.objectives: \+smell: digits has"):
        engine.start(config(search__objectives=["+smell"]), tmp_path / "run", Watching())
    with pytest.raises(ConfigError, match=r"final.augment is for images"):
        engine.prepare(config(grammar="mlp", task=str(_vectors(tmp_path)), seeds=[], final__augment=["flip"]))
    assert not (tmp_path / "run").exists()


def _vectors(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'x' if a > b else 'y'}" for a, b in rng.random((60, 2))]
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    return folder / "points.csv"


def test_a_space_that_is_exhausted_ends_the_run_and_says_so(tmp_path: Path) -> None:
    """25 words of two letters, a budget of 100: the run ends with all of them, and its replay agrees."""
    table = words(tmp_path / "table", letters=2)
    watching = Watching()
    summary = engine.start(words_config(table, 100, 0), tmp_path / "run", watching)
    assert summary.evaluated == 25
    assert any("space exhausted" in note for note in watching.notes)
    assert engine.verify(tmp_path / "run") == []
