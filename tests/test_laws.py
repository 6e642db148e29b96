"""What people's files and machines do: each law by one thing that somebody met, through the command line.

Nothing here is imported from evosearch, so that any version can be asked: docs/reliability.md says what one gave that
did not keep the laws yet, and where the laws as such are tested.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

GRAMMAR = '// input: none\nstart: "a" | "b" | "c" | both\nboth: "(" start "," start ")"\n'
LENGTH = "def fitness(text, derivation, seed):\n    return float(len(text))\n"
RUN = ("run", "--task", "fit:fitness", "--grammar", "lang.lark", "--name", "r", "--budget", "12", "-q")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evosearch.toml").write_text("")
    Path("lang.lark").write_text(GRAMMAR)
    Path("fit.py").write_text(LENGTH)


def evolve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return python("-m", "evosearch", *arguments, **environment)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "EVOSEARCH_CACHE": str(Path("cache").resolve()), **environment}
    return subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, text=True, check=False)


def ended(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def asked(code: str) -> Any:
    """What an expression over `task = load(...)` is, in JSON."""
    return json.loads(ended(python("-c", f"import json\nfrom evosearch.tasks import load\nprint(json.dumps({code}))")))


def test_1_what_is_written_is_read() -> None:
    """A network that was printed, in a file with a byte-order mark and the line ends of Windows."""
    text = json.loads(ended(evolve("sample", "lang.lark", "-n", "1", "--json")))[0]["text"]
    Path("a.arch").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    assert ended(evolve("fmt", "a.arch", "--grammar", "lang.lark")).strip() == text


def test_2_every_float_is_a_fitness() -> None:
    """The largest doubles of either sign: a run that took them is resumed, told of and reported."""
    largest = "return (1 if seed % 2 else -1) * 1.7976931348623157e308"
    Path("fit.py").write_text(LENGTH.replace("return float(len(text))", largest))
    ended(evolve(*RUN))
    for command in ("resume r --budget 40 -q", "report r", "status r", "verify r"):
        ended(evolve(*command.split()))


def test_3_text_from_outside_is_escaped() -> None:
    """An error with what os.listdir gives for a name that is no UTF-8."""
    Path("fit.py").write_text(LENGTH.replace("return", "if text == 'b': raise OSError('caf\\udce9')\n    return"))
    ended(evolve(*RUN))
    assert json.loads(ended(evolve("status", "r", "--json")))["evaluated"] == 12


def test_4_numbers_keep_their_meaning() -> None:
    """1_10 is a word, and charges in coulomb are no constant."""
    rows = [f"{(number % 7 - 3) * 1.6e-19},{['1_10', '11_0', '2_20'][number % 3]}" for number in range(60)]
    Path("a.csv").write_text("\n".join(["charge,ward", *rows]))
    code = "(task := load('a.csv')) and [sorted(map(str, task.labels)), float(task.normalise(task.train.x).std())]"
    labels, deviation = asked(code)
    assert labels == ["11_0", "1_10", "2_20"]
    assert deviation == pytest.approx(1, abs=0.1)


def test_5_columns_have_names() -> None:
    """The test file's columns stand in another order."""
    Path("t-train.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 3},{'yn'[n % 2]}\n" for n in range(60)))
    Path("t-test.csv").write_text("b,a,y\n" + "".join(f"{n % 3},{n},{'yn'[n % 2]}\n" for n in range(40, 60)))
    assert asked("load('t-train.csv').test_split().x.tolist()") == [[n, n % 3] for n in range(40, 60)]


def test_6_what_is_hidden_is_no_data() -> None:
    """A notebook's checkpoints, and a folder without images."""
    image = pytest.importorskip("PIL.Image")
    for number in range(20):
        for folder in ("cats", "dogs", "cats/.ipynb_checkpoints"):
            Path("pets", folder).mkdir(parents=True, exist_ok=True)
            image.new("L", (4, 4), number).save(f"pets/{folder}/{number}.png")
    Path("pets/notes").mkdir()
    Path("pets/notes/readme.txt").write_text("twenty of each")
    code = "(t := load('pets')) and [len(t.train) + len(t.validation) + len(t.test_split()), list(t.labels)]"
    assert asked(code) == [40, ["cats", "dogs"]]


def test_7_a_candidate_is_contained() -> None:
    """It ends its process, and no other."""
    Path("fit.py").write_text(LENGTH.replace("return", "if text == 'b': import os; os._exit(0)\n    return"))
    ended(evolve(*RUN))
    assert json.loads(ended(evolve("status", "r", "--json")))["evaluated"] == 12


def test_8_digests_see_what_is_executed() -> None:
    """A run whose function changed behind its package's __init__ is not gone on with, and is told which file."""
    Path("pkg").mkdir()
    Path("pkg/__init__.py").write_text("from pkg.inner import fitness\n")
    Path("pkg/inner.py").write_text(LENGTH)
    ended(evolve(*RUN[:2], "pkg:fitness", *RUN[3:]))
    Path("pkg/inner.py").write_text(LENGTH.replace("float", "-float"))
    again = evolve("resume", "r", "--budget", "20", "-q")
    assert again.returncode == 1, again.stdout
    assert "pkg/inner.py changed" in again.stderr


def test_9_any_machine() -> None:
    """Standard output and error are closed, as a service starts it: the run ends, and its folder checks."""
    command = f"{sys.executable} -m evosearch {' '.join(RUN)} >&- 2>&-"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "EVOSEARCH_CACHE": str(Path("cache").resolve())}
    assert subprocess.run(command, shell=True, env=variables, check=False).returncode == 0  # noqa: S602
    ended(evolve("verify", "r"))


def test_10_own_code_that_is_wrong_is_named() -> None:
    """An operator that gives text: its file, its line, what it gave and what is wanted."""
    Path("operators/mutate").mkdir(parents=True)
    source = 'def mine(parent, space, rng):\n    """Mine."""\n    return "text"\n'
    Path("operators/mutate/mine.py").write_text(source)
    done = evolve(*RUN[:-3], "--budget", "100", "-q", "--set", 'search.mutations=["mine"]')
    assert done.returncode == 2, done.stderr
    assert "operators/mutate/mine.py:1, mine: it gave 'text'; a mutate operator gives a Derivation" in done.stderr


def test_11_an_import_from_larks_library_needs_what_it_uses() -> None:
    """A terminal of its file of Python's words, which declares others that no grammar of ours may."""
    text = '// input: none\nstart: "v" N\n%import python.HEX_NUMBER -> N\n%ignore " "\n'
    Path("numbers.lark").write_text(text)
    ended(evolve("check", "numbers.lark"))
