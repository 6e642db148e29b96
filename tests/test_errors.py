"""Every error that the command line can give is one line, with its exit code; and none is without a row in a table."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evosearch.cli import USAGE, main
from tests.conftest import ROOT
from tests.mistakes import MISTAKES, VERIFIED, Mistake
from tests.raises import Site, reached, sites

Capture = pytest.CaptureFixture[str]

GRAMMARS = sorted((ROOT / "tests/grammar_mistakes").glob("*.lark"))


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOSEARCH_RUNS", raising=False)


def arguments(text: str) -> list[str]:
    """The words of a command; quotes that stand inside one belong to TOML."""
    return text.split(" ")


def told(mistake: Mistake, folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the mistake in an empty project, and look at the answer."""
    (folder / "evosearch.toml").write_text("")
    monkeypatch.chdir(folder)
    if mistake.prepare:
        mistake.prepare(folder)
    before = listing(folder)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        for name, value in (mistake.patches or {}).items():
            if name == "sys.modules":
                for module, there in value.items():
                    patch.setitem(sys.modules, module, there)
            elif name.isupper():
                patch.setenv(name, value)
            else:
                patch.setattr(name, value)
        code = main(arguments(mistake.arguments))
    captured = capsys.readouterr()
    assert code == mistake.code, captured.err
    assert captured.out == ""
    *above, line = captured.err.splitlines()
    if mistake.carets:
        line, above = captured.err.splitlines()[0], []
    assert line.startswith("evolve: "), captured.err
    assert mistake.notes or not above, captured.err
    assert "internal error" not in captured.err
    assert "Traceback" not in captured.err
    for words in mistake.says:
        if words.startswith("re:"):
            assert re.search(words[3:], line), line
        else:
            assert words in line, line
    assert mistake.leaves or listing(folder) == before


def name_of(mistake: Mistake) -> str:
    return f"{mistake.arguments[:200]}: {' '.join(mistake.says)}"


def spotted(mistake: Mistake, folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` names the file, on stdout: to find it is what it was asked for."""
    monkeypatch.chdir(folder)
    assert mistake.prepare
    mistake.prepare(folder)
    capsys.readouterr()
    assert main(arguments(mistake.arguments)) == mistake.code
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1, captured.out
    for words in mistake.says:
        assert words in captured.out


def shown(path: Path, folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """`evolve check` of a wrong grammar: the message that stands beside it, place, source and caret; exit code 2."""
    monkeypatch.chdir(path.parent)
    capsys.readouterr()
    assert main(["check", path.name]) == USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"evolve: {path.with_suffix('.txt').read_text(encoding='utf-8')}"


CASES: dict[str, Callable[[Path, Capture, pytest.MonkeyPatch], None]] = {
    **{name_of(mistake): functools.partial(told, mistake) for mistake in MISTAKES},
    **{name_of(mistake): functools.partial(spotted, mistake) for mistake in VERIFIED},
    **{f"grammar: {path.stem}": functools.partial(shown, path) for path in GRAMMARS},
}


def test_no_two_cases_have_one_name() -> None:
    assert len(CASES) == len(MISTAKES) + len(VERIFIED) + len(GRAMMARS)


@pytest.fixture
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share: which places each case reached."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "errors-seen"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_an_error_is_one_line_with_its_exit_code(
    number: int, seen: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what and where and what to do, nothing else is printed, and nothing is half-written."""
    run(number, seen, tmp_path, capsys, monkeypatch)


def run(number: int, seen: Path, folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a case and write down what it reached."""
    with reached() as found:
        list(CASES.values())[number](folder, capsys, monkeypatch)
    beside = seen / f"{number}.{os.getpid()}"
    beside.write_text("".join(f"{site}\n" for site in found))
    beside.rename(seen / str(number))


# --- places that no command reaches, each with the reason ------------------------------------------------------------

# By file, function and the beginning of what is raised.
OUT_OF_REACH: dict[str, list[tuple[str, str, str]]] = {
    "a library's caller alone can do this; the commands refuse it before, in words of their own": [
        ("search/adaptive.py", "make", "ConfigError"),
        ("architecture.py", "Space.__init__", 'LayerError(f"{grammar.name} is read without layers'),
        ("architecture.py", "_no_layers", "LayerError"),
        ("formats/__init__.py", "export", 'ExportError(f"no format'),
        ("network.py", "_headed", "UsageError"),
        ("results.py", "files", "RunError"),
        ("results.py", "load", "RunError"),
        ("results.py", "load", "StorageError"),
        ("store/run.py", "Run._append", "RunCorrupt"),
        ("store/run.py", "Run._writable", "RunError"),
        ("store/run.py", "Run.open", 'RunError(f"{folder}: not a run folder'),
        ("store/run.py", "Run.open", 'RunError(f"{folder}: there is no such run'),
        ("search/search.py", "Search.signed", "TaskError"),
        ("tasks/base.py", "Split.__post_init__", "TaskError"),
        ("tasks/base.py", "make_task", 'TaskError(f"{name}: an example has shape'),
        ("evaluation/evaluators/__init__.py", "Spec.build", "TaskError"),
        ("plugins.py", "load", 'OperatorError(f"{path}: the folder'),
        ("plugins.py", "_module", 'OperatorError(f"{path}: not a Python file'),
    ],
    "a study in a program; tests/test_study.py": [
        ("given.py", "_array", "TaskError"),
        ("given.py", "_cell", "TaskError"),
        ("given.py", "_require_in_order", "TaskError"),
        ("given.py", "_series", "TaskError"),
        ("given.py", "_stacked", "TaskError"),
        ("study.py", "Study.best", "RunError"),
        ("study.py", "Study.resume", "UsageError"),
        ("given.py", "_save", "TaskError"),
        ("given.py", "_save_table", "TaskError"),
        ("given.py", "_told.elsewhere", "TaskError"),
        ("given.py", "spec", "TaskError"),
        ("inference.py", "Predictor.asked", "TaskError"),
        ("study.py", "Study.predict_proba", "UsageError"),
        ("study.py", "Study.__init__", "UsageError"),
        ("study.py", "Study.optimize", "UsageError"),
        ("study.py", "Study._go_on", "UsageError"),
        ("study.py", "Trial.network", "UsageError"),
    ],
    "answers of `evolve serve`, lines of JSON on stdout; tests/test_serving.py": [
        ("cli/serve.py", "_study", "UsageError"),
        ("cli/serve.py", "_study", "no_run"),
        ("engine/session.py", "Session._refuse_unknown", "UsageError"),
        ("search/search.py", "Search.propose", "CandidateRefused"),
        ("search/search.py", "Search._has_room", "SpaceExhausted"),
        ("serving.py", "Dialogue._trial", "UsageError"),
        ("serving.py", "_read", "UsageError"),
        ("study.py", "Study.evaluate", "UsageError"),
    ],
    "clients of tracking services, which not every machine has; tests/test_logs.py": [
        ("logs/mlflow.py", "require", 'UsageError( f"--log mlflow would'),
        ("logs/wandb.py", "require", 'UsageError(f"--log wandb:'),
    ],
    "what `evolve check` finds of a plug-in is printed beside its name; tests/test_check.py": [
        ("check.py", "_against_torch", "OperatorError"),
        ("check.py", "_compare", "LayerError"),
        ("check.py", "_require", "_broken"),
        ("check.py", "check_plugin", "_broken"),
    ],
    "a signal ends the process; tests/test_contained.py": [("cli/__init__.py", "_ending_in_order.end", "Terminated")],
    "the contract of operators is checked by the tests of who writes one; tests/test_operators.py": [
        ("operators.py", "_check_child", "_broken"),
        ("operators.py", "_offspring", "_broken"),
        ("operators.py", "conform", "_broken"),
    ],
    "a strategy of one's own is needed for it; tests/test_strategy.py": [
        ("search/conformance.py", "conform", "OperatorError"),
        ("search/conformance.py", "conform.require", "OperatorError"),
        ("search/search.py", "Search._propose", 'SpaceExhausted(f"strategy'),
        ("search/strategy.py", "settings", 'ConfigError(f"strategy.{key}: {message}'),
        ("search/strategy.py", "settings", "OperatorError"),
    ],
    "a surrogate of one's own is needed for it, and scores that it learned from; tests/test_screening.py": [
        ("search/screening.py", "fitted.predicted", "OperatorError"),
    ],
    "a disk that refuses, which tests/chaos, test_runs.py, test_cache.py and test_logs.py put in": [
        ("final.py", "_text", "refusal"),
        ("store/framing.py", "frame_at", "corrupt"),
        ("grammar/files.py", "read_text", 'mistake("unreadable-file"'),
        ("logs/follow.py", "Following._read", "refusal"),
        ("report/reading.py", "_Records.__init__", "refusal"),
        ("results.py", "model_in", "StorageError"),
        ("logs/follow.py", "Following.verify", "refusal"),
        ("store/run.py", "Run._write_step", "StorageError"),
        ("store/run.py", "Run._require_there", "StorageError"),
        ("store/disk.py", "hand_over", "refusal"),
        ("store/disk.py", "content", "refusal"),
        ("store/run.py", "read_checkpoint", "refusal"),
        ("store/run.py", "reading", "refusal"),
        ("store/lock.py", "take", "refusal"),
        ("workers/records.py", "keep", "refusal"),
    ],
    "weights that were taken out of a run's folder are that candidate's failure; tests/test_inherit.py": [
        ("evaluation/lineage.py", "read", "RunError"),
    ],
    "a strategy of a person's own, in a run whose settling is hurried; tests/test_inherit.py": [
        ("engine/lineage.py", "Lineages._add", "OperatorError"),
    ],
    "a search of minutes leads there; tests/test_inherit.py": [("engine/compression.py", "smallest", "RunError")],
    "a head of one's own is needed for it; tests/test_plugins.py": [
        ("results.py", "own_plugins", "RunChanged"),
        ("results.py", "own_plugins", "UsageError"),
        ("space.py", "_recorded_head", "RunChanged"),
    ],
    "a search that ends before its target leads there; tests/test_refinement.py": [
        ("engine/session.py", "Session._finalists", "RunError"),
    ],
    "a run that came to the end of its time leads there; tests/test_timing.py": [
        ("engine/ended.py", "told_again", "UsageError"),
    ],
    "two processes at one moment; tests/test_runs.py": [("store/run.py", "_refuse_existing", "RunExists")],
    "a worker process that cannot start takes seconds to be given up; tests/test_workers.py": [
        ("workers/processes.py", "ProcessPool.wait", "self._failed"),
        ("workers/processes.py", "ProcessPool.wait", "result"),
        ("workers/processes.py", "_Watcher._bury", "WorkerError"),
        ("workers/processes.py", "_Watcher._hear", "WorkerError"),
        ("workers/processes.py", "_Watcher._start", "WorkerError"),
    ],
    "an executor whose workers fail; tests/test_executors.py": [
        ("workers/executor.py", "ExecutorPool._after", "WorkerError"),
        ("workers/executor.py", "ExecutorPool._score", "WorkerError"),
        ("workers/executor.py", "slots", "ConfigError"),
        ("workers/executor.py", "ExecutorPool._send", "WorkerError"),
        ("workers/parcel.py", "opened", "WorkerError"),
        ("workers/parcel.py", "put", "WorkerError"),
    ],
    "what an export cannot say needs a layer made for it, and a trained network of it; tests/test_export.py": [
        ("formats/__init__.py", "_attempt", "ExportError"),
        ("network.py", "_refuse_owned", "ExportError"),
        ("formats/onnx.py", "Onnx.write", "ExportError"),
        ("formats/__init__.py", "_require", "_Differs"),
    ],
    "own layers and classes that each make a project of their own; tests/test_own_code.py, tests/test_network.py": [
        ("layers/builder.py", "Builder.help", "LayerError"),
        ("layers/builder.py", "Builder.module", "LayerError"),
        ("network.py", "require_true", 'LayerError( f"{name}.params'),
        ("plugins.py", "_telling", "raised"),
    ],
    "libraries that the project does not install, stood in for by tests/test_tasks.py": [
        ("tasks/hubs.py", "_column", "TaskError"),
        ("tasks/hubs.py", "_hugging_face", "TaskError"),
        ("tasks/hubs.py", "_torchvision", "TaskError"),
    ],
    "what a model is asked, in a process without evosearch; tests/test_tasks.py": [
        ("tasks/encode.py", "_by_column", "RowError"),
    ],
    "a driver that gives up, of a worker on a shared folder; tests/test_work.py": [
        ("engine/working.py", "_Drive._ended", "RunError"),
    ],
    "a cluster that is not there, of a library that the project does not install; tests/cluster": [
        ("workers/executors/ray.py", "Ray.__init__", 'ConfigError("workers.executor: no Ray cluster'),
    ],
    "what a task does with one candidate becomes that candidate's score; tests/test_tasks_table.py": [
        ("tasks/function.py", "FunctionTask.evaluate", "self._wrong"),
        ("tasks/table.py", "TableTask.at", "TaskError"),
        ("tasks/table.py", "cell", "TaskError"),
        ("evaluation/hardware.py", "LayerTable.latency", "ConfigError"),
        ("evaluation/teachers.py", "teacher_of", "ConfigError"),
    ],
    "a machine with a GPU is needed for it; tests/test_hardware.py": [
        ("evaluation/hardware.py", "_nvml", "ConfigError"),
    ],
    "nothing known to us leads here: kept so that what Lark or Python do otherwise one day is told in one line": [
        ("grammar/compilation.py", "_compile", 'refused(source, "its rules or terminals are nested too deep")'),
        ("grammar/reading.py", "_ask_lark", 'refused(read.source, "its rules or terminals are nested too deep")'),
        (
            "grammar/terminals.py",
            "regexp_parts",
            'mistake("bad-regex", node.place, text=node.raw, reason="it is empty")',
        ),
        ("search/evolution.py", "Evolution.__init__", 'ConfigError("no mutation'),
        ("tasks/cells.py", "_parsed", "TaskError"),
        ("tasks/function.py", "imported", 'TaskError(f"no module {error.name!r}'),
    ],
}


def exempt(site: Site) -> str:
    """The reason why no case need reach a place; empty where there is none."""
    return next((reason for reason, places in OUT_OF_REACH.items() if any(_is(site, one) for one in places)), "")


def _is(site: Site, place: tuple[str, str, str]) -> bool:
    file, function, raises = place
    return (site.file, site.function) == (file, function) and site.raises.startswith(raises)


def test_no_error_is_without_a_case(
    seen: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every `raise` of an error that a person can cause is reached by a case, or has its reason not to be."""
    for number in range(len(CASES)):
        if not (seen / str(number)).exists():  # run alone, or before its turn
            (tmp_path / str(number)).mkdir()
            with monkeypatch.context() as patch:
                run(number, seen, tmp_path / str(number), capsys, patch)
    found = {line for number in range(len(CASES)) for line in (seen / str(number)).read_text().splitlines()}
    # A rule that does not hold at a shape is how the sampler finds its way; test_layers.py has a table of them.
    every = {site for site in sites().values() if not site.raises.startswith("ShapeError")}
    assert sorted(str(site) for site in every if str(site) not in found and not exempt(site)) == []
    assert sorted(str(site) for site in every if str(site) in found and exempt(site)) == []  # needs no reason
    for places in OUT_OF_REACH.values():
        for place in places:
            assert any(_is(site, place) for site in every), f"no such place any more: {place}"
