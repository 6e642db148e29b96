"""No code runs because a run's folder holds it, or because only a run's config names it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from evosearch import config as configuration
from evosearch import engine, final, paths
from evosearch.cli import FAILED, USAGE, main
from evosearch.errors import TaskError, UsageError
from evosearch.report.reading import Candidate, read_run
from evosearch.store.run import Run
from evosearch.tasks import load

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, made the working directory; what is put on the import path goes with it."""
    (tmp_path / "evosearch.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVOSEARCH_RUNS", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    return tmp_path


def foreign_run(folder: Path, **settings: Any) -> Path:
    """A run that somebody else made, whose config says `settings`; its files are what its header says."""
    config = configuration.dumps(configuration.Config(**settings))
    header = {"digests": {}, "grammar_file": "einspace.lark", "seed": 0}
    Run.create(folder, header=header, files={"config.toml": config}).close()
    return folder


def trap(file: Path, more: str = "") -> Path:
    """A Python file that leaves a mark beside the project's file where any of it runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"import pathlib\npathlib.Path('ran').touch()\n{more}")
    return file


# --- fork ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["layers", "operators"])
def test_a_fork_runs_no_code_that_only_the_parent_names(
    project: Path, tmp_path_factory: pytest.TempPathFactory, kind: str, capsys: Capture
) -> None:
    """A file anywhere on the machine, which the parent's config names, is refused until the flag says it."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    file = trap(elsewhere / "mutate/code.py")
    run = foreign_run(project / "runs/one", **{kind: (str(file if kind == "layers" else elsewhere),)})
    assert main(["resume", str(run), "--fork", "two"]) == USAGE
    assert f"{kind} of its own; say where they are" in capsys.readouterr().err
    assert not (project / "ran").exists()


def test_a_fork_looks_for_nothing_in_the_parents_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a grammar nor a task that the parent's config names is found in the parent's folder."""
    run = foreign_run(project / "runs/one", grammar="own.lark", task="own.csv")
    for name in ("own.lark", "own.csv"):
        (run / name).write_text("")
    forked: list[configuration.Config] = []

    def fork(parent: Path, config: configuration.Config, *_: object) -> None:
        forked.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "fork", fork)
    main(["resume", str(run), "--fork", "two", "--budget", "7"])
    assert (forked[0].grammar, forked[0].task) == ("own.lark", "own.csv")
    assert (forked[0].name, forked[0].search.budget) == ("two", 7)


def test_a_fork_of_an_edited_run_is_refused(project: Path, capsys: Capture) -> None:
    """A config that is not what the run was started with is no config to fork from."""
    run = foreign_run(project / "runs/one")
    (run / "config.toml").write_text("seed = 3\n")
    assert main(["resume", str(run), "--fork", "two"]) == FAILED
    assert "not the file that the run was started with" in capsys.readouterr().err


# --- layers and operators --------------------------------------------------------------------------------------------


def test_code_in_a_run_is_not_the_projects(project: Path) -> None:
    """Not in the run itself, nor in another one, nor in a trained network's folder, though all lie in the project."""
    run = foreign_run(project / "runs/one")
    other = foreign_run(project / "runs/two")
    trained = project / "runs/trained/three"
    trained.mkdir(parents=True)
    for name in ("config.toml", "metrics.json", "weights.safetensors"):
        (trained / name).write_text("")
    (project / "own.py").write_text("")
    (project / "link.py").symlink_to(run / "deep/own.py")
    for folder in (run / "deep", other, trained):
        folder.mkdir(exist_ok=True)
        (folder / "own.py").write_text("")
        with pytest.raises(UsageError, match=f"no code is taken from there.*--layers {folder}/own.py"):
            paths.own_code("layers", [f"{folder}/own.py"], [], run=run)
    for name in ("link.py", "runs/one/own.py"):
        with pytest.raises(UsageError, match="no code is taken from there"):
            paths.own_code("layers", [name], [])
    assert paths.own_code("layers", [f"{project}/own.py"], [], run=run) == (f"{project}/own.py",)
    assert paths.own_code("layers", [], [run / "deep/own.py"], run=run) == (f"{run}/deep/own.py",)


def test_a_resume_hands_on_where_the_run_lies(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Layers and operators in the run itself are refused as such, whatever else marks its folder."""
    seen: list[Path | None] = []
    own_code = paths.own_code

    def watched(*arguments: Any, run: Path | None = None) -> tuple[str, ...]:
        seen.append(run)
        return own_code(*arguments, run=run)

    monkeypatch.setattr(paths, "own_code", watched)
    run = foreign_run(project / "runs/one", operators=(str(project / "runs/one/operators"),))
    trap(run / "operators/mutate/own.py")
    assert main(["resume", str(run)]) == USAGE
    assert "no code is taken from there" in capsys.readouterr().err
    assert seen == [run, run]
    assert not (project / "ran").exists()


def test_what_a_run_holds_before_it_is_read_counts_too(project: Path) -> None:
    """A folder that is opened as a run refuses its own files, whatever marks it lacks."""
    (project / "odd").mkdir()
    with pytest.raises(UsageError, match="no code is taken from there"):
        paths.own_code("layers", [f"{project}/odd/own.py"], [], run=project / "odd")


def test_a_run_is_no_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project file in a run's folder makes it no project: its operators are not on the search path from inside it."""
    run = foreign_run(project / "runs/one")
    inside = run / "deep"
    for folder in (run, inside):
        trap(folder / "operators/mutate/own.py")
        (folder / "evosearch.toml").write_text("")
        monkeypatch.chdir(folder)
        assert paths.project() == project
        assert not [at for at in paths.folders("operators/mutate") if at.is_relative_to(run)]


def test_export_and_train_take_no_layers_from_the_runs_folder(project: Path) -> None:
    """A bare name in its config means a file in it, and is refused as one."""
    run = foreign_run(project / "runs/one", layers=("own.py",))
    trap(run / "own.py")
    at = final.stored(run)
    assert at is not None
    with pytest.raises(UsageError, match="no code is taken from there"):
        final.configured(at, {})


# --- functions -------------------------------------------------------------------------------------------------------

FITNESS = "def fitness(text, derivation, seed):\n    return 1.0\n"


@pytest.mark.parametrize("module", ["foreign_one", "runs.one.deep.foreign_two"])
def test_a_function_in_a_run_is_never_imported(project: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where one stands in the run's folder, nor through the folders' names from outside."""
    run = foreign_run(project / "runs/one")
    trap(run / "foreign_one.py", FITNESS)
    trap(run / "deep/foreign_two.py", FITNESS)
    if "." not in module:
        monkeypatch.chdir(run)
        monkeypatch.syspath_prepend(str(run))  # as `python -m evosearch` has it
    with pytest.raises(TaskError, match=r"lies in a run's folder, .*runs/one, where no code is run"):
        load(f"{module}:fitness")
    assert module not in sys.modules
    assert not list(project.rglob("ran"))


def test_a_package_in_a_run_is_not_imported_for_its_module(project: Path) -> None:
    """Importing a module runs its packages first: one of them in a run's folder is enough to refuse."""
    run = foreign_run(project / "runs/one")
    trap(run / "__init__.py", FITNESS)
    (project / "foreign_package").symlink_to(run)
    with pytest.raises(TaskError, match="lies in a run's folder"):
        load("foreign_package:fitness")
    assert "foreign_package" not in sys.modules
    assert not (project / "ran").exists()


def test_a_runs_folder_is_not_put_on_the_import_path(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would lend its files to every later import."""
    run = foreign_run(project / "runs/one")
    monkeypatch.chdir(run)
    with pytest.raises(TaskError, match="no module 'foreign_three'"):
        load("foreign_three:fitness")
    assert str(run) not in sys.path
    assert str(project) in sys.path


def test_a_function_of_the_project_is_loaded(project: Path) -> None:
    """In a module, and in one of a package without and with a file of its own."""
    run = foreign_run(project / "runs/one")
    assert run.is_dir()
    for name in ("trust_plain.py", "trust_spaces/inner.py", "trust_package/__init__.py", "trust_package/inner.py"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(FITNESS)
    importlib.invalidate_caches()
    for module in ("trust_plain", "trust_spaces.inner", "trust_package", "trust_package.inner"):
        assert load(f"{module}:fitness").metric == "fitness"
    with pytest.raises(TaskError, match=r"no module 'trust_package\.absent'"):
        load("trust_package.absent:fitness")


def test_what_a_candidate_left_is_read_from_the_runs_folder_alone(project: Path) -> None:
    """A journal may hold any key, and a folder any link: neither shows a file from elsewhere."""
    folder = foreign_run(project / "runs" / "shared")
    (project / "secret").mkdir()
    (project / "secret/log").write_text("a secret")
    reading = read_run(folder)
    key = "0" * 32
    for name in ("../../../secret", f"{project}/secret", "linked"):
        assert reading.log(Candidate(0, name, "x", (), "sample")) == ""
    (folder / "candidates").mkdir()
    (folder / "candidates" / key).symlink_to(project / "secret")
    assert reading.log(Candidate(0, key, "x", (), "sample")) == ""
    (folder / "candidates" / key).unlink()
    (folder / "candidates" / key).mkdir()
    (folder / "candidates" / key / "log").symlink_to(project / "secret/log")
    assert reading.log(Candidate(0, key, "x", (), "sample")) == ""
    (folder / "candidates" / key / "error.txt").write_text("its own")
    assert reading.log(Candidate(0, key, "x", (), "sample")) == "its own"
