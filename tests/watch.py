"""Who watches a run in the tests that look at something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evosearch import engine


class Silent:
    """Is told how a run goes, and says nothing."""

    def started(self, info: Mapping[str, Any]) -> None: ...
    def described(self, lines: Sequence[str]) -> None: ...
    def progress(self, progress: engine.Progress) -> None: ...
    def note(self, text: str) -> None: ...
    def finished(self, summary: engine.Summary) -> None: ...
