"""`evolve check --operators`: what keeps its contract passes, and what breaks it is refused by name."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from evosearch import check, plugins
from evosearch.cli import main
from evosearch.layers.node import Node
from evosearch.plugins import is_bundled
from tests.own import FILES, project
from tests.spaces import SHAPES, space

COMMAND = ["check", "space.lark", "--layers", "scaled.py", "--operators", "operators", "--samples", "20"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def test_a_plug_in_of_each_kind_keeps_its_contract(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a person runs it: a line for each, and no other."""
    assert main(COMMAND) == 0
    kept = [line for line in capsys.readouterr().out.splitlines() if line.endswith(": keeps its contract")]
    names = {f"{Path(name).parent.name} {Path(name).stem}" for name in FILES if name.startswith("operators/")}
    assert {line.partition(":")[0] for line in kept} == names | {"layer twice_linear"}


# By kind and name: what of the file is changed to what, and what is said of that.
UNSEEDED = "space.draw(__import__('numpy').random.default_rng())"
OTHER_KEY = "return super().__call__(job)._replace(score=__import__('evosearch.score').score.Score('x', 'crashed'))"
KNOWN = """relative = True

    def known(self):
        made = type(self)()
        made.add, made.brief = (lambda curve: None), (lambda: [0.0, 0.0])
        return made"""
WRONG = {
    "params": ("", "(x[-1] + 1) * x[-1] +", "x[-1] * x[-1] +", "it states parameters"),
    "flops": ("", "return 2 * x[-1] * x[-1] +", "return x[-1] * x[-1] +", "it states FLOPs"),
    "shape": ("", "return (*x[:-1], self.width)", "return (*x[:-1], self.width + 1)", "the output shape"),
    "saved": ("", "return 2 * x[-1]\n", "return 9 * x[-1]\n", "scalars saved for backward, and torch saves"),
    "mutate": ("mutate/anew", "space.draw(rng)", UNSEEDED, "gave two results for the same rng"),
    "select": ("select/any_one", "for _ in range(k)", "for _ in range(k + 1)", "return a list of so many"),
    "unpack": (
        "strategy/alternating", 'self.folded = data["folded"]', "self.folded = 0", "goes on otherwise from what `pack`",
    ),
    "random": ("strategy/alternating", "space.draw(rng)", UNSEEDED, "proposed otherwise the second time"),
    "evaluator": ("evaluator/counted", "return super().__call__(job)", OTHER_KEY, "it was asked about"),
    "measured": (
        "evaluator/counted", "    folder = None", "    folder = None\n    measures = {}", "which its `measures`",
    ),
    "stop": ("stop/hopeless", "if brief is None or min", "if brief is None or 2 < min", "better than all others"),
    "known": ("stop/hopeless", "relative = True", KNOWN, "another brief of its `known`"),
    "measure": ("measure/tensors", '"tensors", -1', '"tensors", 0', "has the sign 0"),
    "name": ("measure/tensors", 'unit, timed = "tensors"', 'unit, timed = "tensor"', "name it as its file"),
    "kind": (
        "kind/ordered", "return ((out.softmax(1)", "return 0.0 * out.sum() if len(y) else ((out.softmax(1)",
        "has a loss that the outputs do not move",
    ),
    "head of a kind": (
        "kind/ordered", "return (x[-1] + 1) * self.outputs", "return x[-1] * self.outputs", "it states parameters",
    ),
    "head": ("head/plain", "return 2 * x[-1]", "return x[-1]", "it states FLOPs"),
    "log": ("log/plain_text", "one.proposal['number']", "one.proposal['no']", "raised KeyError: 'no'"),
    "method": ("log/plain_text", "def close(self)", "def end(self)", "PlainText has no close"),
    "class": ("stop/hopeless", "class Hopeless", "class Rule", "no class named 'Hopeless'"),
    "runs": ("", 'build.line(f"{module}({{}})"', 'build.line(f"{module}({{}}[0, 0])"', "its network does not run: "),
    "global": (
        "measure/tensors", "return float(", "return 0 * __import__('random').random() + float(", "drew from a global",
    ),
    "docstring": ("measure/tensors", '"""Tensors of trainable weights."""', "", "has no docstring"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_broken_contract_is_refused_by_name(case: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file or layer is named with what it broke."""
    plug_in, right, wrong, message = WRONG[case]
    kind, _, name = plug_in.partition("/")
    file = here / "operators" / kind / f"{name}.py" if plug_in else here / "scaled.py"
    text = file.read_text()
    assert right in text
    file.write_text(text.replace(right, wrong))
    for folder in (here / "operators").iterdir():
        if folder.name != kind:  # so that the rest need not be tried again
            shutil.rmtree(folder)
    assert main([*COMMAND, "--json"]) == 1
    broken = [one for one in json.loads(capsys.readouterr().out)["plugins"] if one["error"]]
    assert [(one["kind"], one["name"]) for one in broken] == [(kind or "layer", name or "twice_linear")]
    assert message in broken[0]["error"]
    assert "\n" not in broken[0]["error"]


# What one kernel keeps of a recurrence for the backward pass differs by library and is no sum of tensors.
FUSED = ("LSTM", "GRU")


# Networks of cells: one layer holds them whole, and only small images let them be small enough to be tried.
CELLS = {"nasbench201": (3, 16, 16), "darts": (3, 8, 8), "nasnet": (3, 8, 8)}


def _fused(node: Node) -> bool:
    return type(node.layer).__name__ in FUSED or any(map(_fused, node.parts))


@pytest.mark.parametrize("name", SHAPES)
def test_bundled_layers_keep_their_contract(name: str) -> None:
    """Each at some of the places where samples have it: the check is no stricter than evosearch is with itself."""
    there, rng = space(name, CELLS.get(name)), np.random.default_rng(0)
    seen: dict[type, int] = {}
    for _ in range(60):
        stack = [there.read(there.draw(rng)).root]
        while stack:
            node = stack.pop()
            stack += node.parts
            if _fused(node):
                continue
            if seen.get(type(node.layer), 0) < 2 and check.SMALL.exceeded(node.cost) is None:
                seen[type(node.layer)] = seen.get(type(node.layer), 0) + 1
                check.check_node(node, type(node.layer).__name__)
    assert len(seen) > (0 if name in CELLS else 2)


@pytest.mark.slow
def test_bundled_plug_ins_keep_their_contract() -> None:
    """Operators and strategies, with which whoever writes one compares theirs."""
    found = plugins.find()
    for kind, name, path in found.files():
        if name == "gbdt" and find_spec("lightgbm") is None:
            continue  # an extra
        if is_bundled(path):
            check.check_plugin(found, found.get(kind, name), space("tiny_cnn", (1, 12, 12)))
