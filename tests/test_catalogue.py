"""`evolve layers` says what the classes are: each name that grammars may use, and what it does at a shape."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from evosearch import grammar, network
from evosearch.architecture import Space
from evosearch.cli import DONE, USAGE, main
from evosearch.layers import Leaf, Shape, vocabulary
from evosearch.layers.catalogue import Entry, Trial, catalogue, entry
from evosearch.layers.library import NAMES
from evosearch.layers.shapes import mode

ENTRIES = {one.name: one for one in catalogue()}
SAID = [
    (one, use)
    for one in ENTRIES.values()
    if one.kind == "layer"
    for use in one.uses.values()
    if not any("(" in argument for argument in use.arguments)  # a cell of words, which test_gallery builds
]


def test_every_word_is_listed_and_stands_somewhere() -> None:
    """A layer that no tried argument lets stand would be listed without a use: then the values to try lack one."""
    assert set(ENTRIES) == set(NAMES)
    assert [one.name for one in ENTRIES.values() if one.kind != "word" and not one.uses] == []
    assert [one.summary for one in ENTRIES.values() if one.summary.count("(") != one.summary.count(")")] == []
    assert [one.name for one in ENTRIES.values() if not one.summary] == []


@pytest.mark.parametrize(("one", "use"), SAID, ids=[f"{one.name}-{mode(use.input)}" for one, use in SAID])
def test_what_it_says_is_what_a_network_does(one: Entry, use: Trial) -> None:
    """Written in a grammar with the very arguments, built by torch: the output shape and the parameters."""
    call = f'"{one.name}" "(" ' + ' "," '.join(f"A{i}" for i in range(len(use.arguments))) + ' ")"'
    terminals = "".join(f'A{i}: "{argument}"\n' for i, argument in enumerate(use.arguments))
    rule = call if use.arguments else f'"{one.name}"'
    language = grammar.loads(f"// input: {mode(use.input)}\nstart: {rule} -> {one.name}\n{terminals}")
    space = Space(language, vocabulary(language), use.input)
    text = f"{one.name}({','.join(use.arguments)})" if use.arguments else one.name
    architecture = space.read(space.parse(text))
    module = network.build(architecture).eval()
    assert tuple(module(torch.zeros(2, *use.input)).shape[1:]) == use.output
    assert sum(parameter.numel() for parameter in module.parameters()) == use.params


def test_arguments_and_parts_are_told() -> None:
    assert ENTRIES["conv"].call() == "conv(width, kernel, stride)"
    assert ENTRIES["branching"].call() == "branching(split, merge; 2 parts)"
    assert ENTRIES["chain"].call() == "chain(any number of parts)"
    assert ENTRIES["gelu"].call() == "gelu"
    assert ENTRIES["branching"].uses["image"].arguments == ("clone(2)", "add")
    assert set(ENTRIES["conv"].uses) == {"image"}
    assert ENTRIES["linear"].uses["vector"] == Trial(("16",), (16,), (16,), 272)


def test_a_layer_of_ones_own_is_listed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from evosearch.layers import Leaf, register\n"
        '@register("halve")\n@dataclass(frozen=True)\n'
        'class Halve(Leaf):\n    """(D,) -> (D / 2,). Of my own."""\n'
        "    def shape(self, x):\n        return (x[0] // 2, *x[1:])\n"
        "    def params(self, x):\n        return 0\n"
    )
    assert main(["layers", "halve", "--layers", str(file), "--json"]) == DONE
    [found] = json.loads(capsys.readouterr().out)
    assert found["uses"]["vector"]["output"] == [8]
    assert main(["layers", "halve", "--layers", str(file)]) == DONE
    assert "vector  halve: 16 -> 8" in capsys.readouterr().out


def test_the_command_lists_all_and_knows_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers"]) == DONE
    out = capsys.readouterr().out
    assert "linear(width)" in out
    assert "Combinators" in out
    assert main(["layers", "lineer"]) == USAGE
    assert "did you mean linear" in capsys.readouterr().err


def test_a_layer_that_stands_nowhere_has_no_use() -> None:
    @dataclass(frozen=True)
    class Odd(Leaf):
        def shape(self, x: Shape) -> Shape:
            raise ValueError

    assert entry("odd", Odd).uses == {}
