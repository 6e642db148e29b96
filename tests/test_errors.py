"""Every error that the command line can give is one line, with its exit code; and none is without a row in a table."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from evosearch.cli import USAGE, main
from tests.conftest import ROOT
from tests.mistakes import MISTAKES, VERIFIED, Mistake
from tests.raises import Site, reached, sites

Capture = pytest.CaptureFixture[str]

COMMANDS = functools.cache(typer.main.get_command)  # building the tree takes longer than most commands
GRAMMARS = sorted((ROOT / "tests/grammar_mistakes").glob("*.lark"))


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typer.main, "get_command", COMMANDS)
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
                    patch.setitem(__import__("sys").modules, module, there)
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
    return f"{mistake.arguments[:50]}: {mistake.says[0][:40]}"


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
SEEN: dict[str, set[Site]] = {}  # which places each case reached, of those that this process has run


def test_no_two_cases_have_one_name() -> None:
    assert len(CASES) == len(MISTAKES) + len(VERIFIED) + len(GRAMMARS)


@pytest.mark.parametrize("name", CASES)
def test_an_error_is_one_line_with_its_exit_code(
    name: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what and where and what to do, nothing else is printed, and nothing is half-written."""
    with reached() as found:
        CASES[name](tmp_path, capsys, monkeypatch)
    SEEN[name] = found


# --- places that no command reaches, each with the reason ------------------------------------------------------------

# By file, function and the beginning of what is raised; "" stands for anything.
OUT_OF_REACH: dict[str, list[tuple[str, str, str]]] = {}


def exempt(site: Site) -> str:
    """The reason why no case need reach a place; empty where there is none."""
    for reason, places in OUT_OF_REACH.items():
        for file, function, raises in places:
            if site.file == file and site.function.startswith(function) and site.raises.startswith(raises):
                return reason
    return ""


def test_no_error_is_without_a_case(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `raise` of an error that a person can cause is reached by a case, or has its reason not to be."""
    for number, (name, case) in enumerate(CASES.items()):
        if name not in SEEN:  # another process ran it, or none yet
            with reached() as found, monkeypatch.context() as patch:
                (tmp_path / str(number)).mkdir()
                case(tmp_path / str(number), capsys, patch)
            SEEN[name] = found
    found = set().union(*SEEN.values())
    every = set(sites().values())
    assert sorted(str(site) for site in every - found if not exempt(site)) == []
    assert sorted(str(site) for site in found if exempt(site)) == []  # what is reached needs no reason
    for places in OUT_OF_REACH.values():
        for file, function, raises in places:
            assert any(
                site.file == file and site.function.startswith(function) and site.raises.startswith(raises)
                for site in every
            ), f"no such place any more: {file}: {function}: {raises}"
