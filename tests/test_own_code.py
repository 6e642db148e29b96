"""Own code that is wrong is named: file, line, function, what it gave and what is wanted; never an internal error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evosearch import plugins
from evosearch.cli import DONE, FAILED, USAGE, main
from evosearch.errors import OperatorError
from tests.own import project

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
    (
        "mutate",
        'return space.parse("d")',
        "mutate operator 'mine' raised ArchitectureError: line 1, column 1: ",
        "body",
    ),
    ("crossover", "return space.parse(5 * a)", "crossover operator 'mine' raised TypeError: ", "body"),
    (
        "select",
        "raise __import__('evosearch').errors.RunError('no')",
        "select operator 'mine' raised RunError: no",
        "body",
    ),
    ("initialise", "yield space.parse('?')", "initialise operator 'mine' raised ArchitectureError: ", "body"),
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


def test_a_run_whose_operator_was_mended_goes_on_as_a_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resume refuses it, and says so: what was evaluated is where the fork begins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "evosearch.toml").write_text("")
    (tmp_path / "lang.lark").write_text('// input: none\nstart: "a" | "b" | both\nboth: "(" start "," start ")"\n')
    (tmp_path / "mended_fit.py").write_text("def fitness(text, derivation, seed):\n    return float(len(text))\n")
    file = tmp_path / "operators" / "mutate" / "mine.py"
    file.parent.mkdir(parents=True)
    wrong = 'def mine(parent, space, rng):\n    """Mine."""\n    return space.parse("(a,a")\n'
    file.write_text(wrong)
    command = "run --task mended_fit:fitness --grammar lang.lark --budget 30 --name r -q --set search.population=5"
    assert main([*command.split(), "--set", "workers.pool=inline", "--set", 'search.mutations=["mine"]']) == USAGE
    (told,) = capsys.readouterr().err.splitlines()
    assert f"{file}:3, in mine)" in told
    file.write_text(wrong.replace('parse("(a,a")', "draw(rng)"))
    assert main(["resume", "runs/r"]) == FAILED
    cure = "evolve resume runs/r --fork NAME"
    said = capsys.readouterr().err
    assert "mutate/mine changed" in said
    assert cure in said
    assert main([*cure.replace("NAME", "mended").split()[1:], "-q"]) == DONE
    keys = [
        [line.split(",")[1] for line in (tmp_path / "runs" / name / "evaluations.csv").read_text().splitlines()[1:]]
        for name in ("r", "mended")
    ]
    assert keys[1][0] in keys[0]


ZERO, NO = ("ZeroDivisionError: division by zero", "1 / 0"), ("ArchitectureError: no", "raise ArchitectureError('no')")
RAISING = [
    ("strategy/alternating", "candidates(self, history, rng)", *ZERO),
    ("strategy/alternating", "candidates(self, history, rng)", *NO),
    ("strategy/alternating", "fold(self, evaluated, rng)", *NO),
    ("evaluator/counted", "prepare(self, folder)", *ZERO),
    ("stop/hopeless", "brief(self, curves)", *NO),
    ("kind/ordered", "head(self, task)", *ZERO),
    ("head/plain", "flops(self, x)", *NO),
    ("head/plain", "emit(self, node, x, build)", *ZERO),
]


@pytest.mark.parametrize(("name", "method", "said", "body"), RAISING)
def test_a_class_of_ones_own_that_raises_is_named(
    name: str,
    method: str,
    said: str,
    body: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever it raises, evosearch's own errors too: whose it is, file and line; never an internal error."""
    folder = project(tmp_path)
    monkeypatch.chdir(folder)
    kind, _, stem = name.partition("/")
    file = folder / "operators" / f"{name}.py"
    source = f"from evosearch.errors import ArchitectureError\n{file.read_text()}"
    before, after = source.split(f"    def {method}:\n")
    file.write_text(f"{before}    def {method}:\n        {body}\n{after}")
    more = ["--set", "head=plain"] if kind == "head" else []
    main(["run", "run.toml", "-q", "--name", "r", "--budget", "4", *more])
    told = capsys.readouterr().err + "".join(path.read_text() for path in folder.rglob("error.txt"))
    assert f"{kind} '{stem}' raised {said} ({file}:{before.count(chr(10)) + 2}, in " in told
    assert "internal error" not in told


LAYERS = """\
from dataclasses import dataclass
from evosearch.layers import Leaf, register

@register("mine")
@dataclass(frozen=True)
class Mine(Leaf):
    def shape(self, x):
        return x

    def module(self, x):
        from torch import nn
        return nn.Conv2d(x[0], x[0], 3, padding=1)
"""
LYING = [
    ("shape(self, x):\n        return x", "return list(x)", "Mine.shape: it gave [1, 8, 8] at 1x8x8; it gives a tuple"),
    ("shape(self, x):\n        return x", "return None", "Mine.shape: it gave None at 1x8x8"),
    ("shape(self, x):\n        return x", "return (0, 8, 8)", "Mine.shape: it gave (0, 8, 8) at 1x8x8"),
    ("shape(self, x):\n        return x", "return x[5]", "Mine.shape: IndexError: tuple index out of range"),
    ("shape(self, x):\n        return x", "return x.size", "where it cannot stand, it raises ShapeError"),
]
STATED = [
    ("flops", "raise __import__('evosearch').errors.ArchitectureError('no')", "Mine.flops: ArchitectureError: no ("),
    ("flops", "return None", "Mine.flops: it gave None at 1x8x8; it gives a whole number, 0 or more"),
    ("params", "return -1", "Mine.params: it gave -1 at 1x8x8"),
    ("saved", "return 1 / 0", "Mine.saved: ZeroDivisionError: division by zero"),
]


def lie(project: Path, source: str, *more: str) -> int:
    """A run over a grammar of one own layer, on small images."""
    (project / "evosearch.toml").write_text("")
    (project / "lang.lark").write_text(
        '// input: image\nstart: "m" -> mine | "s" "(" start "," start ")" -> sequential\n'
    )
    (project / "own.py").write_text(source)
    command = "run --task digits --grammar lang.lark --layers own.py --budget 2 --name r -q --workers 1"
    quick = "--set recipe.epochs=1 --set final.epochs=1 --set workers.pool=inline"
    return main([*command.split(), *quick.split(), *more])


@pytest.mark.parametrize(("method", "body", "says"), [*LYING, *STATED], ids=[one[2] for one in [*LYING, *STATED]])
def test_a_layer_that_states_what_no_layer_states_is_named(
    method: str,
    body: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By its file, its line, its function, what it gave and what is wanted, before anything is written."""
    monkeypatch.chdir(tmp_path)
    name = method.partition("(")[0]
    if name == "shape":
        source, line = LAYERS.replace("return x\n", f"{body}\n"), 7
    else:
        source, line = f"{LAYERS}\n    def {name}(self, x):\n        {body}\n", 14
    assert lie(tmp_path, source) == USAGE
    (told,) = capsys.readouterr().err.splitlines()
    assert says in told
    assert f"{tmp_path / 'own.py'}:{line}: " in told
    assert not (tmp_path / "runs").exists()


SCALED = """\
    def emit(self, node, x, build):
        scale = build.module("nn.Linear(1, 1)", "scale")
        return build.line(scale + "({}.unsqueeze(-1)).squeeze(-1)", x, shape=node.output)
"""


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            LAYERS.replace("padding=1", "stride=2, padding=1"),
            "Mine.shape: it states 1x8x8 at 1x8x8, and its network gives 1x4x4; make the two agree",
        ),
        (
            LAYERS.replace("return nn.Conv2d", "nn.Conv2d"),
            "Mine.module: it gave None at 1x8x8; it gives a torch module",
        ),
        (
            LAYERS.partition("    def module")[0] + "    def emit(self, node, x, build):\n        return 5\n",
            "Mine.emit: it gave 5; it gives the variable that build.line gave",
        ),
        (
            LAYERS.partition("    def module")[0]
            + '    def emit(self, node, x, build):\n        return build.line("{}[:, :, ::2]", x, shape=node.output)\n',
            "Mine.shape: it states 1x8x8 at 1x8x8, and its network gives 1x4x8",
        ),
        (
            f"{LAYERS}\n    def params(self, x):\n        return 1507\n",
            "Mine.params: it states 1,507 parameters at 1x8x8, and its network has 10; make the two agree, as ",
        ),
        (
            f"{LAYERS.partition('    def module')[0]}{SCALED}\n    def parms(self, x):\n        return 2\n",
            "Mine.params: the class has none, which states 0 parameters at 1x8x8, and its network has 2",
        ),
    ],
    ids=["stride", "no module", "no variable", "emitted", "parameters", "misspelt"],
)
def test_a_layer_whose_network_is_another_is_named(
    source: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that would run all the same: what is told of its cost is not what it is."""
    monkeypatch.chdir(tmp_path)
    lie(tmp_path, source)
    told = capsys.readouterr().err + "".join(path.read_text() for path in tmp_path.rglob("error.txt"))
    assert says in told
    assert f"{tmp_path / 'own.py'}:" in told
    assert "internal error" not in told


def test_what_methods_of_a_class_raise_to_each_other_is_theirs_to_catch() -> None:
    class Own:
        """Own."""

        def look(self) -> str:
            return dict[str, str]()["x"]

        def choose(self) -> str:
            try:
                return self.look()
            except KeyError:
                return "usual"

        def each(self) -> Iterator[str]:
            yield self.choose()
            yield self.look()

    plugins._watch(Own, "policy", "own")
    assert Own().choose() == "usual"
    each = Own().each()
    assert next(each) == "usual"
    for wrong in (Own().look, lambda: next(each)):
        with pytest.raises(OperatorError, match="policy 'own' raised KeyError: 'x' "):
            wrong()
