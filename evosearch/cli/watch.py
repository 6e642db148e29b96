"""The command of those who look on: watch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evosearch.cli import DONE, INTERRUPTED, Terminated, output
from evosearch.cli.grammars import LayersOption
from evosearch.cli.help import Command
from evosearch.cli.report import PANEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOCAL = "127.0.0.1"


def register(app: typer.Typer) -> None:
    app.command(cls=Command, rich_help_panel=PANEL)(watch)


def watch(
    what: Annotated[
        str, typer.Argument(metavar="RUN|FOLDER", help="A run, or a folder of runs.", envvar="EVOSEARCH_RUNS")
    ] = "runs",
    port: Annotated[int, typer.Option(metavar="N", help="To listen on; 0: a free one.", min=0, max=65535)] = 0,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; for others than this machine it asks twice.")
    ] = LOCAL,
    layers: LayersOption = None,
) -> int:
    """Show runs in a browser while they go on.

    The report, with each score as it comes. Prints the address, which has a token in it: who does not know it sees
    nothing. Reads the runs and writes nothing; ends with Ctrl-C. A run may end, be resumed or be begun anew meanwhile,
    and new runs in a folder are shown too.
    """
    from evosearch.errors import UsageError
    from evosearch.report.server import Server

    find, title, only = _found(what)
    if host not in (LOCAL, "localhost", "::1"):
        _ask_twice(host)
    try:
        server = Server(find, title, host, port, tuple(layers or ()))
    except OSError as error:
        raise UsageError(f"--host {host} --port {port}: {error.strerror or error}; choose another") from None
    with server:
        output.say(server.url(only))
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt as stop:
            return stop.exit_code if isinstance(stop, Terminated) else INTERRUPTED
    return DONE


def _found(what: str) -> tuple[Callable[[], Mapping[str, Path]], str, str]:
    """How to find the runs, what they are called together, and the name where it is one run. Raises UsageError."""
    from evosearch.cli.runs import find_run, no_run

    if (folder := find_run(what)) is not None:
        name = folder.resolve().name
        return (lambda: {name: folder}), name, name
    if not Path(what).is_dir():
        raise no_run(what)
    return (lambda: _runs_in(Path(what))), f"Runs in {what}", ""


def _runs_in(folder: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/journal.msgpack"))}


def _ask_twice(host: str) -> None:
    """Have a person at a terminal say that others may look. Raises UsageError where there is none, Abort for a no."""
    from evosearch.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            f"--host {host}: others than this machine could read the runs, and nobody is there to be asked; "
            f"say it in a terminal, or lead the port there: ssh -L 8000:{LOCAL}:PORT"
        )
    output.say(f"Whoever reaches {host} and has the address can read these runs. What is sent is not encrypted.")
    typer.confirm(f"Listen on {host}?", abort=True)
    typer.confirm("Is everybody who can reach it allowed to read them?", abort=True)
