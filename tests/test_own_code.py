"""Own code that is wrong is named: file, line, function, what it gave and what is wanted; never an internal error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evosearch.cli import USAGE, main

HEAD = """from pathlib import Path

def other():
    from evosearch import grammar
    return grammar.parse(grammar.load(Path("other.lark")), "x")

"""
SIGNATURES = {
    "mutate": "parent, space, rng",
    "crossover": "a, b, space, rng",
    "select": "population, k, rng",
    "initialise": "space, seeds, rng",
}
LINES = {"def": 7, "body": 9}  # of the function and of its body, behind HEAD
WRONG = [
    ("mutate", 'raise KeyError("no such name")', "mutate operator 'mine' raised KeyError: 'no such name' (", "body"),
    ("mutate", 'return "a text"', "it gave 'a text'; a mutate operator gives a Derivation, or None", "def"),
    ("mutate", "return 5", "it gave 5; a mutate operator gives a Derivation, or None", "def"),
    ("mutate", "return other()", "a mutate operator gives a derivation of lang, from its start rule 'start'", "def"),
    ("crossover", "return [a]", "a crossover operator gives a Derivation, or None", "def"),
    ("crossover", "return a.nothing", "crossover operator 'mine' raised AttributeError: ", "body"),
    ("select", 'return ["x"] * k', "a select operator gives a list of ", "def"),
    ("select", "return []", "it gave []; a select operator gives a list of ", "def"),
    ("select", "return population[0]", "a select operator gives a list of ", "def"),
    ("select", "return 1 / 0", "select operator 'mine' raised ZeroDivisionError: division by zero (", "body"),
    ("initialise", 'return iter(["text"])', "it gave 'text'; an initialise operator gives a Derivation", "def"),
    ("initialise", "return None", "initialise operator 'mine' raised TypeError: ", ""),
    ("initialise", "yield 1 / 0", "initialise operator 'mine' raised ZeroDivisionError: division by zero (", "body"),
    ("initialise", "yield other()", "an initialise operator gives a derivation of lang", "def"),
]
USED = {
    "mutate": ["--set", 'search.mutations=["mine"]'],
    "crossover": ["--set", "search.crossover=1.0", "--set", 'search.crossovers=["mine"]'],
    "select": ["--set", "search.select=mine"],
    "initialise": ["--set", "search.initialise=mine"],
}


@pytest.mark.parametrize(("kind", "body", "says", "at"), WRONG, ids=[f"{kind}: {body}" for kind, body, _, _ in WRONG])
def test_an_operator_that_is_wrong_is_named(
    kind: str,
    body: str,
    says: str,
    at: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "evosearch.toml").write_text("")
    (tmp_path / "lang.lark").write_text(
        '// input: none\nstart: "a" | "b" | "c" | both\nboth: "(" start "," start ")"\n'
    )
    (tmp_path / "other.lark").write_text('// input: none\nstart: "x" | "y"\n')
    (tmp_path / "own_fit.py").write_text("def fitness(text, derivation, seed):\n    return float(len(text))\n")
    file = tmp_path / "operators" / kind / "mine.py"
    file.parent.mkdir(parents=True)
    file.write_text(f'{HEAD}def mine({SIGNATURES[kind]}):\n    """Mine."""\n    {body}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    command = "run --task own_fit:fitness --grammar lang.lark --budget 200 --name r -q --set workers.pool=inline"
    assert main([*command.split(), *USED[kind]]) == USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    if at:
        assert f"{file}:{LINES[at]}, " in line
    assert "mine" in line
