"""docs/howto/cluster.md: each of its commands, on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docpages import Reader

pytestmark = pytest.mark.cluster


def test_what_the_page_shows_is_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("ray", "submitit", "distributed"):
        pytest.importorskip(library)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Reader(ROOT / "docs/howto/cluster.md", tmp_path, quick=False).read()
