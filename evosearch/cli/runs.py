"""Finding a run by what a person calls it."""

from __future__ import annotations

import os
from pathlib import Path

from evosearch.errors import RunError
from evosearch.paths import offer


def folder_of(run: str) -> Path:
    """The folder of a run: a path as it stands, else a name in runs/ (or $EVOSEARCH_RUNS). Raises RunError."""
    at = Path(run)
    runs = Path(os.environ.get("EVOSEARCH_RUNS", "runs"))
    for folder in (at, runs / run):
        if (folder / "journal.msgpack").is_file():
            return folder
    if at.is_dir():
        raise RunError(f"{run}: not a run's folder: it holds no journal.msgpack; `evolve list` shows the runs")
    known = sorted(path.parent.name for path in runs.glob("*/journal.msgpack"))
    raise RunError(f"no run {run!r} here or in {runs}; {offer(run, known) if known else '`evolve run` makes one'}")
