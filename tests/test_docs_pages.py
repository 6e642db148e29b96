"""What the pages of docs/ show is what comes: every block of them is run, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docpages import Reader, exact

DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", ["grammars", "tasks"])
def test_what_the_guides_show_is_what_comes_to_the_letter(name: str, tmp_path: Path) -> None:
    Reader(DOCS / f"{name}.md", tmp_path, alike=exact).read()
