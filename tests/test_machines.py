"""Any machine: each hostile environment runs a search in processes of its own, or is refused in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from evosearch.store.run import Run
from evosearch.store.verify import verify
from tests.conftest import ROOT

GRAMMAR = '// input: none\nstart: "a" | "b" | both\nboth: "(" start "," start ")"\n'
FITNESS = "def fitness(text, derivation, seed):\n    return float(len(text))\n"
RUN = ("run", "--task", "fit:fitness", "--grammar", "lang.lark", "--budget", "12", "--workers", "2", "-q")
NETWORK = ("run", "--task", "digits", "--grammar", "tiny_cnn", "--budget", "2", "--workers", "1", "-q", "--max-flops",
           "1000000", "--set", "recipe.epochs=1", "--set", "final.epochs=1")  # fmt: skip


def project(folder: Path | bytes) -> Path:
    where = Path(os.fsdecode(folder))
    where.mkdir(parents=True, exist_ok=True)
    (where / "evosearch.toml").write_text("")
    (where / "lang.lark").write_text(GRAMMAR)
    (where / "fit.py").write_text(FITNESS)
    return where


def evolve(
    where: Path, *arguments: str, without: tuple[str, ...] = (), site: str = "", **environment: Any
) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own. site: code that runs in it, and in its workers, before anything else."""
    return started(where, "-m", "evosearch", *arguments, without=without, site=site, **environment)


def started(
    where: Path, *arguments: str, without: tuple[str, ...] = (), site: str = "", **environment: Any
) -> subprocess.CompletedProcess[bytes]:
    """Python in a process of its own, done; see `evolve`."""
    variables = {name: value for name, value in os.environ.items() if name not in (*without, "EVOSEARCH_CACHE")}
    path = [str(ROOT)]
    if site:
        (where / "site").mkdir(exist_ok=True)
        (where / "site" / "sitecustomize.py").write_text(textwrap.dedent(site))
        path.insert(0, str(where / "site"))
    variables |= {"PYTHONPATH": os.pathsep.join(path), **environment}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=where, env=variables, capture_output=True, check=False)


def sound(done: subprocess.CompletedProcess[bytes], run: Path, evaluated: int = 12) -> None:
    """The run went to its end, without a word of a fault, and its folder checks."""
    assert done.returncode == 0, done.stderr
    assert b"internal error" not in done.stderr
    assert b"Traceback" not in done.stderr
    assert verify(run) == []
    assert sum(record["kind"] == "score" for record in Run.open(run).records()) == evaluated


@pytest.mark.slow
def test_no_home_and_a_user_that_nobody_knows(tmp_path: Path) -> None:
    """As in a container that runs under a number: nothing shared, which is said, and the run goes on."""
    here = project(tmp_path)
    unknown = """
        import pwd

        def nobody(uid):
            raise KeyError(f"getpwuid(): uid not found: {uid}")

        pwd.getpwuid = nobody
        """
    gone = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME")
    sound(evolve(here, *RUN, "--name", "r", without=gone, site=unknown), here / "runs/r")
    trained = evolve(here, *NETWORK, "--name", "n", without=gone, site=unknown)
    sound(trained, here / "runs/n", 2)
    assert b"EVOSEARCH_CACHE names another place" in trained.stderr
    listed = evolve(here, "cache", "ls", without=gone, site=unknown)
    assert (listed.returncode, listed.stderr.count(b"\n")) == (1, 1)


@pytest.mark.slow
def test_a_home_and_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """Not even by root: a file lies where the folder should be."""
    here = project(tmp_path)
    (tmp_path / "home").write_text("a file")
    done = evolve(here, *NETWORK, "--name", "n", HOME=str(tmp_path / "home"), XDG_CACHE_HOME=str(tmp_path / "home/c"))
    sound(done, here / "runs/n", 2)
    assert b"scores of this run are not shared with others" in done.stderr


@pytest.mark.slow
def test_a_package_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """No place for compiled code: neither beside the package nor in the home."""
    here = project(tmp_path / "here")
    for name in ("evosearch", "grammars", "operators"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "copy")
    for folder in ("evosearch", "evosearch/store"):
        (tmp_path / "copy" / folder / "__pycache__").write_text("a file")
    done = evolve(
        here, *NETWORK, "--name", "n",
        PYTHONPATH=str(tmp_path / "copy"), HOME="/nonexistent", EVOSEARCH_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    sound(done, here / "runs/n", 2)


@pytest.mark.parametrize("closed", [">&-", "2>&-", pytest.param(">&- 2>&-", marks=pytest.mark.slow), "<&- >&- 2>&-"])
def test_streams_that_are_closed(tmp_path: Path, closed: str) -> None:
    """As a service starts it: no file gets the number of one, so that nothing that is printed lands in a run."""
    here = project(tmp_path)
    (here / "fit.py").write_text("import os\n" + FITNESS.replace("return", 'os.write(1, b"x"); print("y"); return'))
    command = " ".join([sys.executable, "-m", "evosearch", *RUN, "--name", "r", closed])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVOSEARCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, shell=True, cwd=here, env=environment, capture_output=True, check=False)  # noqa: S602
    sound(done, here / "runs/r")
    inline = command.replace("--name r", "--name s --set workers.pool=inline --workers 0")
    subprocess.run(inline, shell=True, cwd=here, env=environment, capture_output=True, check=True)  # noqa: S602
    assert verify(here / "runs/s") == []


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        pytest.param({"LC_ALL": "POSIX"}, marks=pytest.mark.slow),
        {"PYTHONIOENCODING": "ascii:strict"},
    ],
    ids=["C", "POSIX", "ascii"],
)
def test_a_locale_that_is_not_utf_8(tmp_path: Path, environment: dict[str, Any]) -> None:
    """Names with letters of no ASCII: of the run, of its files, in the texts of its grammar."""
    here = project(tmp_path / "größe")
    (here / "lang.lark").write_text(GRAMMAR.replace('"a"', '"ä"'), encoding="utf-8")
    sound(evolve(here, *RUN, "--name", "straße", **environment), here / "runs/straße")
    told = evolve(here, "status", "straße", "--json", **environment)
    assert json.loads(told.stdout)["evaluated"] == 12
    commands = ("status", "best", "report", "resume")
    each = "import sys; from evosearch.cli import main; sys.exit(any([main([c, sys.argv[1]]) for c in sys.argv[2:]]))"
    done = started(here, "-c", each, "straße", *commands, **environment)  # one process takes less than four
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_path_of_any_bytes(tmp_path: Path) -> None:
    """Of the project, the grammar, the run, its data: started, looked at, resumed."""
    here = project(os.fsencode(tmp_path) + b"/caf\xe9 \xff\\udce9")
    (here / "lang.lark").rename(here / os.fsdecode(b"l\xe4ng.lark"))
    name = os.fsdecode(b"r\xfcn")
    run = [*RUN, "--name", name]
    run[run.index("lang.lark")] = os.fsdecode(b"l\xe4ng.lark")
    sound(evolve(here, *run), here / "runs" / name)
    resumed = evolve(here, "resume", name, "--budget", "14", "-q")
    sound(resumed, here / "runs" / name, 14)
    for command in ("status", "best", "report", "verify", "list"):
        done = evolve(here, command, *([name] if command != "list" else []))
        assert done.returncode == 0, (command, done.stderr)
        done.stdout.decode("utf-8")
    told = json.loads(evolve(here, "status", name, "--json").stdout)
    assert os.fsencode(Path(told["folder"]).name) == b"r\xfcn"


@pytest.mark.slow
def test_no_shared_memory(tmp_path: Path) -> None:
    """Where there is no /dev/shm, the system makes no semaphores."""
    none = """
        import _multiprocessing

        class SemLock:
            def __init__(self, *arguments, **named):
                raise FileNotFoundError(2, "No such file or directory", "/dev/shm")

            @staticmethod
            def _rebuild(*arguments):
                raise FileNotFoundError(2, "No such file or directory", "/dev/shm")

        _multiprocessing.SemLock = SemLock
        """
    here = project(tmp_path)
    sound(evolve(here, *RUN, "--name", "r", site=none), here / "runs/r")
    sound(evolve(here, *NETWORK, "--name", "n", site=none, EVOSEARCH_CACHE=str(tmp_path / "c")), here / "runs/n", 2)


def test_a_folder_of_temporary_files_that_is_not_there(tmp_path: Path) -> None:
    here = project(tmp_path)
    done = evolve(here, *RUN, "--name", "r", TMPDIR=str(tmp_path / "nowhere"))
    sound(done, here / "runs/r")


@pytest.mark.slow
def test_four_that_start_at_once_have_a_folder_each(tmp_path: Path) -> None:
    """A number is added where a name is taken; a name that was asked for is not changed."""
    here = project(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVOSEARCH_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "evosearch", *RUN]
    started = [subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.PIPE) for _ in range(4)]
    assert [(run.communicate()[1], run.returncode)[1] for run in started] == [0] * 4
    assert {path.name for path in (here / "runs").iterdir()} == {f"lang-fitness{n}" for n in ("", "-2", "-3", "-4")}
    again = evolve(here, *RUN, "--name", "lang-fitness")
    assert (again.returncode, again.stderr.count(b"\n")) == (2, 1)


@pytest.mark.slow
def test_a_project_that_was_moved_goes_on_where_it_is_told_its_data_lies(tmp_path: Path) -> None:
    """And is refused data that are others."""
    here = project(tmp_path / "one")
    rows = "".join(f"{number % 7},{number % 5},{'yn'[number % 7 > 3]}\n" for number in range(80))
    (here / "data.csv").write_text(f"a,b,c\n{rows}")
    short = ("--workers", "1", "--set", "recipe.epochs=1", "--set", "final.epochs=1", "-q", "--name", "r")
    done = evolve(here, "run", "--task", "data.csv", "--grammar", "mlp", "--budget", "2", *short)
    sound(done, here / "runs/r", 2)
    there = here.rename(tmp_path / "two")
    lost = evolve(there, "resume", "r", "--budget", "3", "-q")
    assert (lost.returncode, lost.stderr.count(b"\n")) == (2, 1)
    assert b"resume it with --task" in lost.stderr
    (there / "other.csv").write_text(f"a,b,c\n{rows}1,1,y\n")
    other = evolve(there, "resume", "r", "--budget", "3", "-q", "--task", "other.csv")
    assert b"the task changed" in other.stderr
    sound(evolve(there, "resume", "r", "--budget", "3", "-q", "--task", "data.csv"), there / "runs/r", 3)
