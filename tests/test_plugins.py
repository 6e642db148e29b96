"""A strategy, an evaluator, a stop rule, a measure, a task kind, a head and a log are each one new file."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

import evosearch
from evosearch import config as configuration
from evosearch import engine, plugins, tasks
from evosearch.cli import main
from evosearch.engine.replay import recorded
from evosearch.errors import RunChanged, UsageError
from evosearch.store.run import Run
from evosearch.tasks import Task
from evosearch.tasks.kinds import named
from tests.conftest import ROOT
from tests.golden.make_project import PROJECT
from tests.journals import equal_journals
from tests.own import project
from tests.watch import Silent


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(params=["", "plain"], ids=["head of the kind", "head that is named"], scope="module")
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a head, empty for that of the kind; and a project with a finished run of it, as a person runs it."""
    folder = project(tmp_path_factory.mktemp("finished") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("EVOSEARCH_CACHE", str(tmp_path_factory.mktemp("ledger")))
        assert main(["run", "run.toml", "--runs", ".", "--name", "run", "--set", f"head={request.param}"]) == 0
    return request.param, folder


@pytest.fixture
def head(finished: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a head; the working directory is the project with a finished run of it."""
    monkeypatch.chdir(finished[1])
    return finished[0]


def test_a_search_uses_one_plug_in_of_each_kind(head: str) -> None:
    """Found in the project, named in the configuration, told apart in the header; no line of evosearch has one."""
    run = Run.open(Path("run"))
    own = {name for name, version in run.header["operators"].items() if not version.startswith("version")}
    assert own == {
        *({"head/plain"} if head else ()), "evaluator/counted", "kind/ordered", "measure/tensors", "mutate/anew",
        "select/any_one", "stop/hopeless", "strategy/alternating",
    }  # fmt: skip
    records = list(run.records())
    scores = [record for record in records if record["kind"] == "score"]
    assert len(scores) == 8
    assert all(record["objectives"]["tensors"] >= 1 for record in scores if record["status"] == "ok")
    assert {record["operator"] for record in records if record["kind"] == "proposal"} == {"anew", "sample"}
    assert (run.folder / "evaluated.txt").read_text().count("\n") == 8
    assert (run.folder / "scores.txt").read_text().count("\n") == 8
    assert ("bias=False" if head else "torch.tanh") in (run.folder / "best" / "model.py").read_text()
    assert engine.verify(run.folder) == []
    known = {f"{kind}/{name}" for kind, name, path in plugins.find().files() if not plugins.is_bundled(path)}
    assert own | {"head/plain", "log/plain_text"} == known  # all that the project has
    assert main(["report", "run", "--layers", "scaled.py"]) == 0


def test_its_network_is_loaded_asked_and_written(head: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By whoever stands in the project, code and all; the head is the one that was trained."""
    x = np.load("data.npz")["x"]
    np.save("new.npy", x)
    network = evosearch.load("run")
    task = tasks.load("data.npz", recorded(Run.open(Path("run"))).data, named(plugins.find().own("kind"), "ordered"))
    assert isinstance(task, Task)
    with torch.no_grad():
        out = network(torch.from_numpy(task.normalise(x))).numpy()
    test = json.loads(Path("run/best/metrics.json").read_text())["test"]["accuracy"]
    parts = task.test_split()
    with torch.no_grad():
        judged = task.judge(parts.y, network(torch.from_numpy(task.normalise(parts.x))).numpy())
    assert judged == pytest.approx(test)
    assert main(["predict", "run", "new.npy", "--output", "said.csv"]) == 0
    with Path("said.csv").open(newline="") as file:
        assert [int(row["prediction"]) for row in csv.DictReader(file)] == out.argmax(1).tolist()
    for name in ("network.pt2", "network.py"):
        assert main(["export", "run", "--output", name]) == 0, name
    few = torch.from_numpy(task.normalise(x[:4]))
    assert torch.equal(torch.export.load("network.pt2").module()(few), network(few))
    capsys.readouterr()
    assert main(["show", "run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["key"] == json.loads(Path("run/best/metrics.json").read_text())["key"]
    assert shown["params"] == sum(weight.numel() for weight in network.parameters())


def test_a_network_whose_code_is_another_is_not_loaded(here: Path) -> None:
    """Changed, defined where nobody else finds it, gone: each said in one line."""
    file = Path("operators/kind/ordered.py")
    code = file.read_text()
    inside = code.replace(
        "        return Squeezed(task.outputs)",
        "        class Hidden(Squeezed): pass\n        return Hidden(task.outputs)",
    )
    for text, says in (
        (code, "ordered.py: changed since .* was made; put back what it was"),
        (inside, "ordered.py: it does not define the run's head, Hidden, where it is loaded; import it"),
    ):
        file.write_text(text)
        shutil.rmtree("run", ignore_errors=True)
        engine.start(configuration.load(Path("run.toml"), {"search.budget": 2}), Path("run"), Silent())
        if text is code:
            file.write_text(code + "# another word\n")
        with pytest.raises(RunChanged, match=says):
            evosearch.load("run")
    file.unlink()
    with pytest.raises(UsageError, match="its kind 'ordered' is code of your own; say where it is: --operators"):
        evosearch.load("run")


@pytest.mark.slow
def test_the_whole_way_by_the_command_line(tmp_path: Path) -> None:
    """Checked, run, killed and resumed, read, reported, exported, asked and trained again: each in a fresh process."""
    here = project(tmp_path / "project")
    np.save(here / "new.npy", np.load(here / "data.npz")["x"][:5])
    env = {**os.environ, "PYTHONPATH": str(ROOT), "EVOSEARCH_CACHE": str(tmp_path / "ledger")}

    def evolve(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "evosearch", *arguments], cwd=here, env=env, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    evolve("check", "space.lark", "--input", "6", "--layers", "scaled.py", "--operators", "operators", "-n", "50")
    evolve("run", "run.toml", "--name", "whole")
    env["EVOSEARCH_CACHE"] = str(tmp_path / "another ledger")
    with subprocess.Popen(
        [sys.executable, "-m", "evosearch", "run", "run.toml", "--name", "cut"], cwd=here, env=env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        scores = here / "runs/cut/scores.txt"
        while process.poll() is None and not (scores.exists() and scores.read_text().count("\n") >= 3):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    evolve("resume", "cut")
    assert equal_journals(Run.open(here / "runs/cut"), Run.open(here / "runs/whole"))
    key = json.loads(evolve("best", "cut", "--json"))["key"]
    for command in (
        ("status", "cut"), ("list",), ("verify", "cut"), ("repair", "cut"), ("show", "cut"), ("why", "cut", key),
        ("lineage", "cut", key), ("pareto", "cut"), ("report", "cut", "--layers", "scaled.py"),
        ("compare", "cut", "whole"), ("predict", "cut", "new.npy"), ("resume", "cut", "--budget", "10"),
        ("resume", "cut", "--fork", "again"), ("train", "cut", "--seeds", "1", "--output", "trained"),
        ("export", "trained", "--output", "trained.pt2"), ("export", "cut", "--output", "network.py"),
    ):  # fmt: skip
        evolve(*command)
    code = "import evosearch; print(evosearch.load('runs/cut').training)"
    done = subprocess.run([sys.executable, "-c", code], cwd=here, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr


def test_it_is_interrupted_and_ends_as_the_one_that_was_not(here: Path) -> None:
    """The strategy's state, the stop rule's brief and all else come back."""
    settings = configuration.load(Path("run.toml"))
    engine.start(settings, Path("whole"), Silent())

    class Left(Exception):
        pass

    class Leaving(Silent):
        def progress(self, progress: engine.Progress) -> None:
            if progress.evaluated >= 4:
                raise Left

    with pytest.raises(Left):
        engine.start(settings, Path("run"), Leaving())
    engine.resume(Path("run"), Silent())
    assert equal_journals(Run.open(Path("run")), Run.open(Path("whole")))


# -- what a run does not use may come and go ------------------------------------------------------------------------


def unused(folder: Path) -> None:
    """Plug-ins that no run of here uses, one that does not even load."""
    for kind in ("select", "strategy", "measure"):
        (folder / "operators" / kind).mkdir(parents=True, exist_ok=True)
        (folder / "operators" / kind / "new.py").write_text("import no_such_module\n")


@pytest.mark.parametrize("name", ["table", "unfinished-table", "function", "unfinished-operator"])
def test_a_file_that_a_run_does_not_use_leaves_it_resumable(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of an early commit, and one of this version; where it was started beside such files, they may go."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder)
    monkeypatch.chdir(folder)
    unused(folder)
    engine.resume(folder / name, Silent())
    config = configuration.recorded((folder / name / "config.toml").read_text())
    engine.start(config, folder / "new", Silent())
    shutil.rmtree(folder / "operators")
    budget = config.search.budget + 3
    assert engine.resume(folder / "new", Silent(), budget=budget).evaluated == budget
    assert engine.verify(folder / name) == []


def test_an_operator_that_a_run_uses_must_be_what_it_was(here: Path) -> None:
    """Changed, gone or new: named in one line. Bundled ones count by their version."""
    engine.start(configuration.load(Path("run.toml")), Path("run"), Silent())
    file = Path("operators/select/any_one.py")
    was = file.read_text()
    file.write_text(was + "# another word\n")
    with pytest.raises(RunChanged, match=r"the operators changed: select/any_one changed since the run was started"):
        engine.resume(Path("run"), Silent(), budget=9)
    file.write_text(was)
    assert engine.resume(Path("run"), Silent(), budget=9).evaluated == 9


def test_a_mutation_more_is_used_by_a_run_that_names_none(here: Path) -> None:
    engine.start(configuration.load(Path("run.toml"), {"search.mutations": []}), Path("run"), Silent())
    shutil.copy("operators/mutate/anew.py", "operators/mutate/again.py")
    Path("operators/mutate/again.py").write_text(Path("operators/mutate/again.py").read_text().replace("anew", "again"))
    with pytest.raises(RunChanged, match="mutate/again is new"):
        engine.resume(Path("run"), Silent(), budget=9)


ADDED = {  # by file: after which line, and the new key
    "evosearch/search/settings.py": ("    budget: Positive = 500\n", "tomorrow"),
    "evosearch/evaluation/recipe.py": ("    batch: Annotated[int, Ge(2)] = 256\n", "tomorrow"),
    "evosearch/tasks/base.py": ('    target: str = ""\n', "tomorrow"),
}


def test_a_setting_with_a_default_leaves_old_runs_resumable(tmp_path: Path) -> None:
    """The next version has three keys more, whose defaults do something: old runs go on as if there were none."""
    for part in ("evosearch", "operators", "grammars", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, (before, key) in ADDED.items():
        text = (tmp_path / name).read_text()
        assert text.count(before) == 1
        text = text.replace(before, f"{before}    {key}: float = field(default=0.5, metadata=NEUTRAL)\n")
        header = "from dataclasses import field\n\nNEUTRAL = {'neutral': 0.0}\n"
        text = text.replace("from __future__ import annotations\n", "from __future__ import annotations\n\n" + header)
        (tmp_path / name).write_text(text)
    script = """
import sys
import tomllib
from pathlib import Path
from evosearch import config, engine
from evosearch.engine.replay import UNCHANGED, resumed_config, search_of, setup_of
from evosearch.store.run import Run
from tests.watch import Silent
assert config.load(None).search.tomorrow == config.load(None).recipe.tomorrow == 0.5
engine.resume(Path(sys.argv[1]), Silent())
assert engine.verify(Path(sys.argv[1])) == []
for name in sys.argv[2:]:  # what a resume compares, without the trainings after it
    run = Run.open(Path(name))
    search_of(run, setup_of(run, resumed_config(run, UNCHANGED)))
old = config.recorded(Path("unfinished-digits/config.toml").read_text())
assert old.search.tomorrow == old.recipe.tomorrow == old.final.tomorrow == old.data.tomorrow == 0.0
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "unfinished-table", "unfinished-digits", "unfinished-operator"],
        cwd=tmp_path / "tests" / "golden" / "project", env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_key_that_came_since_has_a_neutral_value() -> None:
    """Keys that the golden runs' configuration lacks: a run without them could not go on as it was."""
    old = tomllib.loads((PROJECT / "digits" / "config.toml").read_text())
    for name, info in configuration.Config.model_fields.items():
        extra = info.json_schema_extra
        assert name in old or (isinstance(extra, dict) and "neutral" in extra), name
        if name in configuration.tables() and name in old:
            for field in dataclasses.fields(info.annotation):  # type: ignore[arg-type]
                known = field.name in old[name] or (name, field.name) in configuration.FROM_SEED
                assert known or "neutral" in field.metadata, f"{name}.{field.name}"


def test_a_configuration_that_differs_is_told_key_by_key() -> None:
    text = (PROJECT / "digits" / "config.toml").read_text()
    config = configuration.recorded(text)
    assert configuration.differences(text, config) == []
    other = config.model_copy(update={"search": dataclasses.replace(config.search, window=7, budget=99), "name": "x"})
    assert configuration.differences(text, other) == ["search.window: 50 then, 7 now"]
