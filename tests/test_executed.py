"""A score is known only for the code that gave it: digests see what is executed, wherever it lies in the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from evosearch.cli import DONE, FAILED, main
from evosearch.errors import TaskError

GRAMMAR = '// input: none\nstart: "a" | "b" | both\nboth: "(" start "," start ")"\n'
FILES = {
    "evosearch.toml": "",
    "lang.lark": GRAMMAR,
    "pkg/__init__.py": "from .impl import fitness\n",
    "pkg/impl.py": """
import importlib
from pkg import tables
from . import deeper as renamed
import pkg_apart.far
late = importlib.import_module("pkg_dynamic")

def fitness(text, derivation, seed):
    from pkg.inside import lengthen
    return float(tables.OF["x"] * lengthen(text) + renamed.NOTHING + pkg_apart.far.NOTHING + late.NOTHING)
""",
    "pkg/tables.py": "OF = {'x': 1}\n",
    "pkg/deeper/__init__.py": "from pkg.deeper.last import NOTHING\n",
    "pkg/deeper/last.py": "NOTHING = 0\n",
    "pkg/inside.py": "def lengthen(text):\n    return len(text)\n",
    "pkg/unused.py": "HERE = 1\n",
    "pkg_apart/far.py": "NOTHING = 0\n",
    "pkg_dynamic.py": "NOTHING = 0\n",
}
EXECUTED = [name for name in FILES if name.startswith("pkg") and name != "pkg/unused.py"]

RUN = ["run", "--task", "pkg:fitness", "--grammar", "lang.lark", "--budget", "10", "-q", "--workers", "1"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVOSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules and import paths as a new process has them, put back after."""
    import sys

    for name in [name for name in sys.modules if name.startswith("pkg")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", list(sys.path))


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] in ("pkg", "pkg_apart", "pkg_dynamic")]:
        del sys.modules[name]


def test_a_run_whose_function_s_code_changed_says_which_file(
    project: Path, fresh: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imported by its package, by itself, in the function, by name at run time: each file counts, and no other."""
    assert (
        main(
            [
                "run",
                "--task",
                "pkg:fitness",
                "--grammar",
                "lang.lark",
                "--budget",
                "10",
                "--name",
                "r",
                "-q",
                "--workers",
                "1",
            ]
        )
        == DONE
    )
    for name in EXECUTED:
        forget(monkeypatch)
        before = (project / name).read_text()
        (project / name).write_text(f"{before}# another\n")
        capsys.readouterr()
        assert main(["resume", "r", "--budget", "12", "-q", "--workers", "1"]) == FAILED, name
        assert f"{name} changed since the run was started" in capsys.readouterr().err
        (project / name).write_text(before)
    forget(monkeypatch)
    (project / "pkg/unused.py").write_text("HERE = 2\n")
    assert main(["resume", "r", "--budget", "12", "-q", "--workers", "1"]) == DONE
    forget(monkeypatch)


def test_a_run_of_before_is_compared_as_it_was(project: Path, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its header has no list of files: what its digests cover is what is asked for."""
    from evosearch.engine.setup import Setup
    from evosearch.store.run import Run

    created = Run.create

    def without(folder: Path, *, header: dict[str, object], **rest: object) -> Run:
        return created(folder, header={k: v for k, v in header.items() if k != "code"}, **rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Run, "create", without)
        assert (
            main(
                [
                    "run",
                    "--task",
                    "pkg:fitness",
                    "--grammar",
                    "lang.lark",
                    "--budget",
                    "10",
                    "--name",
                    "r",
                    "-q",
                    "--workers",
                    "1",
                ]
            )
            == DONE
        )
    assert "code" not in Run.open(project / "runs/r").header
    assert hasattr(Setup, "code")
    forget(monkeypatch)
    (project / "pkg/tables.py").write_text("OF = {'x': 1}  # another\n")
    assert main(["resume", "r", "--budget", "12", "-q", "--workers", "1"]) == DONE
    forget(monkeypatch)


def test_an_operator_s_helper_belongs_to_it(
    project: Path, fresh: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (project / "operators" / "mutate").mkdir(parents=True)
    (project / "pkg_help.py").write_text("from evosearch.variation import one_of\nFIRST = 0\n")
    (project / "operators" / "mutate" / "mine.py").write_text(
        'import pkg_help\n\ndef mine(parent, space, rng):\n    """Draw anew."""\n    return space.draw(rng)\n'
    )
    monkeypatch.setattr(sys, "path", [str(project), *sys.path])
    assert main([*RUN, "--name", "r"]) == DONE
    sys.modules.pop("pkg_help")
    (project / "pkg_help.py").write_text("FIRST = 1\n")
    for name in [name for name in sys.modules if name.startswith("_evosearch")]:
        del sys.modules[name]
    capsys.readouterr()
    assert main(["resume", "r", "--budget", "12", "-q", "--workers", "1"]) == FAILED
    assert "mutate/mine changed" in capsys.readouterr().err
    sys.modules.pop("pkg_help", None)
    forget(monkeypatch)


def test_a_layer_s_helper_belongs_to_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the layers' code, by which a resume compares and a ledger knows scores; the layer's own digest stays."""
    import sys

    from evosearch import grammar as language
    from evosearch.layers.vocabulary import load_layers, vocabulary

    (project / "layer_help.py").write_text("import layer_far\n")
    (project / "layer_far.py").write_text("FACTOR = 1\n")
    (project / "own.py").write_text(
        "from dataclasses import dataclass\nimport layer_help\nfrom evosearch.layers.base import Leaf, register\n\n"
        '@register("mine")\n@dataclass(frozen=True)\nclass Mine(Leaf):\n    def shape(self, x):\n        return x\n'
    )
    monkeypatch.setattr(sys, "path", [str(project), *sys.path])
    grammar = language.loads('// input: vector\nstart: "m" -> mine\n', "mine")
    before = vocabulary(grammar, load_layers(project / "own.py"))
    assert set(before.code) == {"layer_help.py", "layer_far.py"}
    (project / "layer_far.py").write_text("FACTOR = 2\n")
    after = vocabulary(grammar, load_layers(project / "own.py"))
    assert [name for name in after.code if after.code[name] != before.code[name]] == ["layer_far.py"]
    assert after.digest == before.digest
    for name in ("layer_help", "layer_far"):
        sys.modules.pop(name)


def test_a_persons_module_never_stands_in_for_pythons_own(
    project: Path, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their queue.py lies beside their function, which is found before what is installed, as a script's would be."""
    import sys
    from importlib.machinery import PathFinder

    from evosearch.tasks.function import imported

    for name in ("queue.py", "wsgiref.py", "pytest.py"):
        (project / name).write_text("raise SystemExit('mine')\n")
    imported("pkg:fitness")
    found = {name: PathFinder.find_spec(name, sys.path) for name in ("queue", "wsgiref", "pytest")}
    own = [name for name, spec in found.items() if spec and Path(str(spec.origin)).is_relative_to(project)]
    assert own == ["pytest"]
    (project / "test").mkdir()
    (project / "test/fitness.py").write_text("raise SystemExit('mine')\n")
    for name in ("queue", "wsgiref", "test.fitness"):
        with pytest.raises(TaskError, match="a module of Python's, which stands before"):
            imported(f"{name}:fit")
