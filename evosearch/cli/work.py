"""The command of those who have a shared folder and many machines: work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from evosearch.cli import DONE, INTERRUPTED, Terminated, output
from evosearch.cli.help import Command
from evosearch.cli.search import PANEL, RUN_ARGUMENT, option


def register(app: typer.Typer) -> None:
    app.command(cls=Command, rich_help_panel=PANEL)(work)


def work(
    run: Annotated[str, RUN_ARGUMENT],
    workers: Annotated[int | None, option("N", None, "Candidates at a time; 0: one for each core.", min=0)] = None,
    device: Annotated[str | None, option("NAME", None, "cpu, cuda, cuda:1.", default="the run's")] = None,
    task: Annotated[str | None, option("TASK", None, "Where the run's data lies here.", default="where it lay")] = None,
    layers: Annotated[list[Path] | None, option("FILE.py", None, "The run's own layers; again for more.")] = None,
    operators: Annotated[list[Path] | None, option("FOLDER", None, "The run's own operators; again for more.")] = None,
) -> int:
    """Evaluate candidates of a run that other machines work on too.

    Any number may work on a folder that they share, and may end at any time; one of them drives the search. Ends when
    the run is finished.
    """
    from evosearch import engine
    from evosearch.cli.runs import folder_of

    folder = folder_of(run)
    changes = engine.Changes(
        workers=workers,
        device=device,
        layers=tuple(str(path) for path in layers or ()),
        operators=tuple(str(path) for path in operators or ()),
        task=task,
    )
    try:
        done = engine.work(folder, changes, lambda line: print(f"evolve: {line}", file=sys.stderr, flush=True))
    except KeyboardInterrupt as stop:
        return stop.exit_code if isinstance(stop, Terminated) else INTERRUPTED
    output.say(f"{folder}: finished; {done} evaluated here")
    return DONE
