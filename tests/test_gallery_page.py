"""docs/gallery.md is what `make gallery` writes, and its searches are measured once."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.bench.gallery import page, searches
from tests.bench.resumable import read
from tests.conftest import ROOT
from tests.spaces import GRAMMARS, SHAPES

DRAWINGS = ROOT / "docs" / "gallery"


def test_the_page_is_what_the_grammars_say() -> None:
    """And its drawings; after a change of a grammar or a seed, `make gallery`."""
    assert page.PAGE.read_text(encoding="utf-8") == page.page(read(searches.FILE))
    assert {path.stem for path in DRAWINGS.glob("*")} == set(SHAPES)
    for name, picture in page.drawings().items():
        assert (DRAWINGS / f"{name}.svg").read_text(encoding="utf-8") == picture
        ET.fromstring(picture)


def test_every_grammar_says_what_it_is_for_and_where_it_is_from() -> None:
    """At most 150 lines; those of evosearch's own say what they are made after, or hold nothing of anybody's."""
    without = set()
    for name in SHAPES:
        text = (GRAMMARS / f"{name}.lark").read_text(encoding="utf-8")
        about, sources = page.header(text)
        assert len(about) > 40, name
        assert len(text.splitlines()) <= 150, name
        if not sources and not any(year in about for year in ("20", "19")):
            without.add(name)
    assert without <= {"mlp", "tiny_cnn"}


def test_both_strategies_are_measured_in_every_grammar_for_images() -> None:
    keys = searches.wanted(["digits"], [0], searches.GRAMMARS, "3m")
    assert len(keys) == 2 * len(searches.GRAMMARS)
    assert {key.arm.split(", ")[0] for key in keys} <= set(SHAPES)
    assert all((GRAMMARS / f"{name}.lark").is_file() for name in searches.GRAMMARS)
