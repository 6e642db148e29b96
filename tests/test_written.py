"""What evosearch writes, evosearch reads, as it stands and as editors, shells and other systems hand it on."""

from __future__ import annotations

import codecs
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evosearch import config as configuration
from evosearch import grammar as language
from evosearch import paths
from evosearch.cli import USAGE, main
from evosearch.errors import ArchitectureError, ConfigError
from evosearch.grammar import layout
from evosearch.grammar.core import Grammar
from evosearch.space import open_space
from tests.conftest import ROOT

Capture = pytest.CaptureFixture[str]

# As a file is handed on, by what did it.
FORMS: dict[str, Callable[[str], bytes]] = {
    "as written": lambda text: text.encode(),
    "without its last newline": lambda text: text.removesuffix("\n").encode(),
    "from Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "with a byte-order mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "from Windows, with a mark": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
    "as PowerShell redirects": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "with blank lines behind": lambda text: (text + "\n\n").encode(),
}
BUNDLED = sorted(path.stem for path in (ROOT / "grammars").glob("*.lark"))
# Languages in which white space is ignored, is not, means something, ends a sentence, or two sentences differ by it.
LANGUAGES = {
    "ignored": 'start: "add" "(" start "," start ")" | N\nN: "2" | "37"\n%import common.WS\n%ignore WS\n',
    "blanks alone": 'start: "add" "(" start "," start ")" | N\nN: "2" | "37"\n%ignore " "\n',
    "nothing ignored": 'start: "add(" start "," start ")" | N\nN: "2" | "37"\n',
    "lines": 'start: line+\nline: NAME "=" NAME NL\nNAME: "x" | "y"\nNL: "\\n"\n',
    "a line more or less": 'start: NAME | NAME NL\nNAME: "x" | "y"\nNL: "\\n"\n',
    "words": 'start: NAME | NAME start\nNAME: "x" | "y"\n%import common.WS\n%ignore WS\n',
    "letters of no ASCII": 'start: "größe" "(" N ")" | "\\u2192" N\nN: "2" | "é"\n',
}


def sentences(grammar: Grammar, count: int = 20) -> list[str]:
    space = open_space(grammar)
    return [space.render(space.draw(np.random.default_rng(seed))) for seed in range(count)]


def reads_back(grammar: Grammar, text: str, file: Path) -> None:
    derivation = language.parse(grammar, text)
    for written in {text, layout(grammar, text, 40)}:
        for form, turned in FORMS.items():
            if (
                form in ("without its last newline", "with blank lines behind")
                and grammar.name == "a line more or less"
            ):
                continue  # there it says another sentence
            file.write_bytes(turned(written + "\n"))
            assert language.parse(grammar, paths.read_arch(file)) is derivation, (form, written)


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_sentence_is_read_from_any_file_that_holds_it(name: str, tmp_path: Path) -> None:
    grammar = language.loads(f"// input: none\n{LANGUAGES[name]}", name)
    for text in sentences(grammar):
        reads_back(grammar, text, tmp_path / "a.arch")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_sentence_of_each_grammar_is_read_from_any_file_that_holds_it(name: str, tmp_path: Path) -> None:
    grammar = language.load(name)
    for text in sentences(grammar, 3):
        reads_back(grammar, text, tmp_path / "a.arch")


def test_a_newline_is_never_blamed() -> None:
    """What is told is wrong about the sentence, where it is wrong in the text, and not that a newline ends the file."""
    grammar = language.loads(f"// input: none\n{LANGUAGES['nothing ignored']}", "lang")
    for text in ("add(2,3", "add(2,3\n", "\ufeffadd(2,3\r\n", "add(2,37"):
        with pytest.raises(ArchitectureError) as raised:
            language.parse(grammar, text)
        assert "line 1" in str(raised.value)
        assert r"\n" not in str(raised.value)
        assert r"\r" not in str(raised.value)


FITNESS = "def fitness(text, derivation, seed):\n    return float(len(text))\n"
WORDS = '// input: none\nstart: "a" | "b" | both\nboth: "(" start "," start ")"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("words.lark").write_text(WORDS)
    Path("written_fit.py").write_text(FITNESS)
    Path("seed.arch").write_text("(a,b)\n")
    Path("mine.toml").write_text(
        'task = "written_fit:fitness"\ngrammar = "words.lark"\nseeds = ["seed.arch"]\n'
        'name = "r"\n[search]\nbudget = 6\npopulation = 4\n[workers]\npool = "inline"\n'
    )
    return tmp_path


@pytest.mark.parametrize("form", FORMS)
def test_files_of_any_editor_run(form: str, project: Path, capsys: Capture) -> None:
    """Configuration, grammar and seed, each as something else writes text."""
    for file in ("mine.toml", "seed.arch", "words.lark"):
        if not (file == "words.lark" and form == "as PowerShell redirects"):  # what stock Lark does not read either
            path = project / file
            path.write_bytes(FORMS[form](path.read_text()))
    assert main(["run", "mine.toml", "--quiet"]) == 0, capsys.readouterr().err
    assert main(["fmt", "seed.arch", "--grammar", "words.lark"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "(a,b)"
    assert main(["resume", "r", "--budget", "8", "--quiet"]) == 0, capsys.readouterr().err
    assert main(["verify", "r"]) == 0


def test_configurations_that_evosearch_writes_are_configurations(project: Path, capsys: Capture) -> None:
    """Of a run, of a fork, and what --dry-run prints; seeds that lie in the run's folder are found there."""
    assert main(["run", "mine.toml", "--quiet"]) == 0
    assert main(["resume", "r", "--fork", "f", "--quiet"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    for written in ("runs/r/config.toml", "runs/f/config.toml"):
        assert main(["run", written, "--name", f"again-{Path(written).parent.name}", "--quiet"]) == 0
        assert configuration.load(project / written).search.budget == 6
    assert configuration.load(project / "runs/f/config.toml").seeds
    assert "taken" not in capsys.readouterr().err
    assert main(["run", "mine.toml", "--dry-run"]) == 0
    Path("printed.toml").write_text(capsys.readouterr().out)
    asked, printed = configuration.load(Path("mine.toml")), configuration.load(Path("printed.toml"))
    assert printed == asked


def test_a_network_as_printed_is_taken_where_a_network_is(project: Path, capsys: Capture) -> None:
    """`best` and `sample` write sentences; `run --start`, `fmt` and `show` take them, as text and from files."""
    assert main(["run", "mine.toml", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["best", "r", "--json"]) == 0
    text = json.loads(capsys.readouterr().out)["text"]
    assert main(["run", "mine.toml", "--name", "s", "--start", text, "--quiet"]) == 0
    capsys.readouterr()
    assert main(["resume", "s", "--budget", "8", "--quiet"]) == 0
    shutil.rmtree(project / "runs/r")
    assert main(["report", "s"]) == 0
    assert main(["resume", "s", "--fork", "t", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["sample", "words.lark", "--json"]) == 0
    for one in json.loads(capsys.readouterr().out):
        assert main(["fmt", one["text"], "--grammar", "words.lark"]) == 0
        assert main(["run", "mine.toml", "--dry-run", "--start", one["text"]]) == 0


def test_a_start_that_is_neither_is_told_by_what_it_looks_like(project: Path, capsys: Capture) -> None:
    assert main(["run", "mine.toml", "--start", "sed"]) == USAGE
    assert "no seed named 'sed'" in capsys.readouterr().err
    assert main(["run", "mine.toml", "--start", "(a,c)"]) == USAGE
    assert "--start: line 1, column 4" in capsys.readouterr().err
    Path("other").mkdir()
    Path("other/seed.arch").write_text("a\n")
    assert main(["run", "mine.toml", "--start", "seed.arch", "--start", "other/seed.arch"]) == USAGE
    assert "another seed is called seed too" in capsys.readouterr().err


def test_what_lies_beside_a_configuration_is_found(
    project: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operators, grammars and seeds, wherever the command is given; not what lies in a run's folder."""
    there = tmp_path_factory.mktemp("there")
    for folder in ("operators/mutate", "grammars/seeds"):
        (there / folder).mkdir(parents=True)
    (there / "operators/mutate/again.py").write_text(
        'def again(parent, space, rng):\n    """A sample."""\n    return space.draw(rng)\n'
    )
    shutil.move(project / "words.lark", there / "grammars/mine_words.lark")
    shutil.move(project / "seed.arch", there / "grammars/seeds/mine_seed.arch")
    text = (project / "mine.toml").read_text().replace("words.lark", "mine_words").replace("seed.arch", "mine_seed")
    (there / "c.toml").write_text(text.replace("[search]\n", '[search]\nmutations = ["again"]\n'))
    assert main(["run", str(there / "c.toml"), "--quiet"]) == 0, capsys.readouterr().err
    assert main(["resume", "r", "--budget", "8", "--quiet", "--operators", str(there / "operators")]) == 0
    (project / "runs/r/operators/mutate").mkdir(parents=True)
    shutil.copy(there / "operators/mutate/again.py", project / "runs/r/operators/mutate/evil.py")
    assert all("runs/r" not in one for one in configuration.load(project / "runs/r/config.toml").operators)


def test_a_configuration_that_is_no_text_is_told(project: Path) -> None:
    Path("mine.toml").write_bytes(codecs.BOM_UTF16_LE + b"x")
    with pytest.raises(ConfigError, match="UTF-8"):
        configuration.load(Path("mine.toml"))
