"""evolve fmt: one way to write a text, which means the same and is as wide as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evosearch import grammar
from evosearch.cli import main
from evosearch.errors import ArchitectureError
from evosearch.grammar import layout
from tests.spaces import GRAMMARS, SHAPES, language_of, space

SEEDS = sorted((GRAMMARS / "seeds").glob("*.arch"))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.stem)
def test_seeds_keep_their_meaning_and_fit_the_width(seed: Path) -> None:
    language, text = space(language_of(seed.stem)).grammar, seed.read_text()
    written = layout(language, text, 80)
    assert grammar.parse(language, written) is grammar.parse(language, text)
    assert layout(language, written, 80) == written
    assert max(len(line.strip()) for line in written.splitlines()) <= 80


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_samples_keep_their_meaning(name: str) -> None:
    there, rng = space(name), np.random.default_rng(0)
    for _ in range(20):
        derivation = there.draw(rng)
        assert there.parse(layout(there.grammar, there.render(derivation), 40)) is derivation


def test_what_fits_stays_on_its_line() -> None:
    language = space("einspace").grammar
    assert layout(language, "seq( norm,\n leakyrelu )") == "seq(norm,leakyrelu)"
    assert layout(language, "seq(seq(norm,softmax),leakyrelu)", 25) == "seq(\n  seq(norm,softmax),\n  leakyrelu\n)"


def test_where_white_space_means_something_a_sentence_stays_on_one_line() -> None:
    language = grammar.loads('// input: none\nstart: "(" A "," A ")"\nA: "aaaaaaaaaaaaaaaaaaaa" | "b"\n')
    text = "(aaaaaaaaaaaaaaaaaaaa,aaaaaaaaaaaaaaaaaaaa)"
    assert layout(language, text, 20) == text


def test_a_text_nested_thousands_deep_is_laid_out() -> None:
    language, text = space("einspace").grammar, "seq(" * 2_000 + "norm" + ",norm)" * 2_000
    assert grammar.parse(language, layout(language, text)) is grammar.parse(language, text)


def test_a_wrong_text_is_an_error() -> None:
    with pytest.raises(ArchitectureError):
        layout(space("einspace").grammar, "seq(norm")


def test_files_are_written_all_or_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.arch", tmp_path / "bad.arch"
    good.write_text("seq( norm , norm )")
    bad.write_text("seq(norm,")
    assert main(["fmt", "--write", str(good), str(bad)]) == 2
    assert good.read_text() == "seq( norm , norm )"
    assert "bad.arch" in capsys.readouterr().err
    assert main(["fmt", "--write", str(good)]) == 0
    assert good.read_text() == "seq(norm,norm)\n"
