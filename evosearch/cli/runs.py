"""Finding a run by what a person calls it, and telling a run from a text."""

from __future__ import annotations

import os
from pathlib import Path

from evosearch.errors import ArchitectureError, ShapeError, UsageError
from evosearch.paths import NAME, is_file, is_folder, offer


def folder_of(run: str) -> Path:
    """The folder of a run: a path as it stands, else a name in runs/ (or $EVOSEARCH_RUNS). Raises UsageError."""
    folder = find_run(run)
    if folder is None:
        raise no_run(run)
    return folder


def find_run(run: str) -> Path | None:
    """The folder of a run, or None where there is no such run."""
    return next((folder for folder in (Path(run), _runs() / run) if is_file(folder / "journal.msgpack")), None)


def no_run(run: str) -> UsageError:
    """The error of a run that is not there, with the names of those that are."""
    if is_folder(Path(run)):
        return UsageError(f"{run}: not a run's folder: it holds no journal.msgpack; `evolve list` shows the runs")
    known = sorted(path.parent.name for path in _runs().glob("*/journal.msgpack"))
    cure = offer(run, known) if known else "`evolve run` makes one"
    return UsageError(f"no run {run!r} here or in {_runs()}; {cure}")


def no_text(what: str, grammar: str | None, error: ArchitectureError) -> UsageError:
    """The error of words that are no file, no run and no text: what the parser says, or, of a mere name, what is there.

    grammar: the one asked for; who names one means a text.
    """
    if isinstance(error, ShapeError) or not NAME.fullmatch(what):
        return error
    if Path(what).suffix == ".arch":
        return UsageError(f"{what}: no such file; name an .arch file that is there, or give the text itself")
    return UsageError(f"{what}: no architecture text, no file and no run; {no_run(what) if grammar is None else error}")


def _runs() -> Path:
    return Path(os.environ.get("EVOSEARCH_RUNS", "runs"))
