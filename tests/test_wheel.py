"""The wheel, built and installed as a user would have it: into an empty environment, with no checkout beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.wheel

SEARCH = "run --budget 6 --epochs 1 --max-params 20000 --device cpu --set search.population=3 --set final.epochs=1"


def run(*command: str | Path, cwd: Path, **more: str) -> str:
    """Run a command outside the checkout and return what it printed; its errors are the test's."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source distribution, as `python -m build` does."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, ROOT, cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    run(
        folder / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        ROOT / "constraints.txt",
        wheel,
        cwd=folder,
    )
    return folder / "bin"


def test_the_wheel_holds_what_users_edit(wheel: Path) -> None:
    """Every tracked grammar, seed and operator lies under evosearch/_bundled, and nothing lies at the top level."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = run("git", "ls-files", "grammars", "operators", cwd=ROOT).split()
    assert tracked
    assert {f"evosearch/_bundled/{name}" for name in tracked} <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"evosearch"}
    assert "evosearch/py.typed" in names
    assert not [name for name in names if "__pycache__" in name]


def test_it_runs_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    """Grammars are found by name, a search runs, and the best network is saved; no module of the checkout is used."""
    where = run(installed / "python", "-c", "import evosearch; print(evosearch.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    run(installed / "evolve", "check", "einspace", cwd=tmp_path)
    out = run(installed / "evolve", *SEARCH.split(), cwd=tmp_path, EVOSEARCH_CACHE=str(tmp_path / "cache"))
    assert "test accuracy" in out
    best = tmp_path / "runs/einspace-digits/best"
    assert {"architecture.arch", "weights.safetensors", "model.py", "metrics.json"} <= {p.name for p in best.iterdir()}


def test_no_top_level_names_are_taken(installed: Path, tmp_path: Path) -> None:
    """Neither `operators` nor `tests` nor `grammars` can be imported from an installed evosearch."""
    code = "import importlib.util as u; print(*(n for n in ('operators', 'tests', 'grammars') if u.find_spec(n)))"
    assert run(installed / "python", "-c", code, cwd=tmp_path).strip() == ""
