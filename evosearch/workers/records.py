"""What is kept of a failed candidate: `candidates/<key>/error.txt`, and `log` where it printed or raised something."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.score import Score

LONGEST_LOG = 64 * 1024  # bytes, from the end


def keep(candidates: Path | None, score: Score, log: str) -> None:
    """Write a failure's reason and log. Scores that are ok or stopped leave nothing."""
    if candidates is None or score.status in ("ok", "stopped"):
        return
    folder = candidates / score.key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "error.txt").write_text(f"{score.status}: {score.error}\n", encoding="utf-8")
    if log.strip():
        tail = log.encode("utf-8", "replace")[-LONGEST_LOG:]
        (folder / "log").write_bytes(tail)
