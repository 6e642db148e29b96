"""The table of commands: each group's file adds its own."""

from __future__ import annotations

import copy
import functools
from typing import Annotated, Any

import typer

from evosearch.cli import (
    ablate,
    bench,
    compress,
    export,
    grammars,
    layers,
    report,
    results,
    search,
    serve,
    upkeep,
    watch,
    work,
)
from evosearch.cli.help import CommandGroup

EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 interrupted. RUN is a folder, or a name in runs/."

app = typer.Typer(
    name="evolve",
    help="Write a grammar, get a trained network.",
    epilog=EPILOG,
    no_args_is_help=True,
    cls=CommandGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (search, serve, work, results, report, watch, export, compress, grammars, layers, upkeep, bench, ablate):
    group.register(app)


@functools.lru_cache
def tree(name: str = "") -> Any:
    """The commands as typer runs them: the named one alone where there is one of that name, since all take 40 ms."""
    part = copy.copy(app)
    part.registered_commands = [one for one in app.registered_commands if name == (one.name or _function(one))]
    part.registered_groups = [one for one in app.registered_groups if name == one.name]
    return typer.main.get_command(part if part.registered_commands or part.registered_groups else app)


def _function(command: Any) -> str:
    return str(command.callback.__name__)


def _version(asked: bool) -> None:
    if asked:
        from evosearch import __version__

        print(f"evolve {__version__}")
        raise typer.Exit


@app.callback()
def evolve(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass
