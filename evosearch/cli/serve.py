"""The command of those who are programs: serve."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from evosearch.cli import FAILED, INTERRUPTED, Terminated, output
from evosearch.cli.help import Command
from evosearch.cli.search import PANEL, RunsOption, new_folder, option

if TYPE_CHECKING:
    from evosearch.study import Study


def register(app: typer.Typer) -> None:
    app.command(cls=Command, rich_help_panel=PANEL)(serve)


def serve(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="A run's configuration; or a run, to go on with.", show_default=False),
    ],
    input: Annotated[
        str | None,
        option(
            "SHAPE", None, "Others evaluate: networks at this input shape, as 3x32x32; none: sentences without one."
        ),
    ] = None,
    name: Annotated[str | None, option("NAME", None, "Of the run's folder.", default="GRAMMAR-served")] = None,
    runs: RunsOption = Path("runs"),
    layers: Annotated[list[Path] | None, option("FILE.py", None, "Layers of your own; again for more.")] = None,
    operators: Annotated[list[Path] | None, option("FOLDER", None, "Operators of your own; again for more.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config: --set search.population=50."),
    ] = None,
) -> int:
    """Let another program drive the search, by lines of JSON.

    A request stands on each line of stdin, its answer on stdout. {"op": "ask"} gives a candidate, {"op": "propose",
    "text": "..."} takes one of yours, {"op": "tell", "number": 0, "value": 0.5} says what came of it, {"op":
    "evaluate", "numbers": [0]} has the run's task score it, {"op": "status"} says how far it is. Ends with stdin; the
    run is resumed like any other. See docs/howto/serve.md.
    """
    from evosearch.errors import EvosearchError
    from evosearch.serving import fault
    from evosearch.serving import serve as answer

    with output.for_json_alone():
        try:
            with _study(config, input, name, runs, layers or (), operators or (), settings or ()) as study:
                return answer(study, iter(sys.stdin.buffer.readline, b""), output.json_line)
        except EvosearchError as error:
            output.json_line(fault(error))
            return error.exit_code
        except KeyboardInterrupt as stop:
            return stop.exit_code if isinstance(stop, Terminated) else INTERRUPTED
        except BrokenPipeError:
            output.warn("stdout was closed before stdin was; what was told is kept")
            return FAILED
        except Exception as error:  # ends nothing: who reads JSON alone is told, and `main` gets it as it is
            output.json_line({"error": {"kind": "internal", "message": f"{type(error).__name__}: {error}"}})
            raise


def _study(
    what: str,
    input: str | None,
    name: str | None,
    runs: Path,
    layers: Sequence[Path],
    operators: Sequence[Path],
    settings: Sequence[str],
) -> Study:
    """The study of a run that is there, or a new one by a configuration. Raises EvosearchError."""
    from evosearch import config as configuration
    from evosearch.cli.runs import find_run, no_run
    from evosearch.cli.spaces import parse_shape
    from evosearch.errors import UsageError
    from evosearch.study import Study

    own = {"layers": [str(path) for path in layers], "operators": [str(path) for path in operators]}
    if (folder := find_run(what)) is not None:
        if input is not None or name is not None or settings:
            raise UsageError(f"{folder} is a run: it goes on as it was begun, without --input, --name and --set")
        return Study.resume(folder, **own)
    if not Path(what).is_file():
        raise no_run(what)
    overrides = {key: value for key, value in own.items() if value}
    overrides |= dict(configuration.parse_setting(setting) for setting in settings)
    read = configuration.load(Path(what), overrides)
    named = read.model_copy(update={"name": name or read.name or f"{Path(read.grammar).stem}-served"})
    shape: Sequence[int] | Literal["none"] | None = None
    if input is not None:
        shape = "none" if input == "none" else parse_shape(input)
    return Study(what, folder=new_folder(runs, named, name), input=shape, **overrides)
