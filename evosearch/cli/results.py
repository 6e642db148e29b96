"""The commands that read what came of a run: best, show."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evosearch.cli import DONE, output
from evosearch.cli.grammars import InputOption, JsonOption, LayersOption
from evosearch.cli.search import RUN_ARGUMENT
from evosearch.report.text import count

if TYPE_CHECKING:
    from evosearch.architecture import Architecture

PANEL = "Results"


def register(app: typer.Typer) -> None:
    for command in (best, show):
        app.command(rich_help_panel=PANEL)(command)


def best(run: Annotated[str, RUN_ARGUMENT], as_json: JsonOption = False) -> int:
    """The best network of a run: its text, what it scored, where its files lie."""
    from evosearch.cli.runs import folder_of
    from evosearch.report.reading import read_run

    found = read_run(folder_of(run)).best()
    if as_json:
        output.as_json(found)
        return DONE
    output.facts(
        [
            ("key", found["key"]),
            ("text", found["text"]),
            ("validation", f"{found['fitness']:.4f}"),
            *((f"test {name}", f"{value:.4f}") for name, value in found["test"].items()),
            *((f"baseline {name}", f"{value:.4f}") for name, value in found["baseline"].items()),
            ("parameters", f"{found['params']:,}"),
            ("FLOPs", f"{found['flops']:,}"),
            ("files", ", ".join(found["files"])),
        ]
    )
    return DONE


def show(
    what: Annotated[
        str, typer.Argument(metavar="ARCHITECTURE|RUN", help="A text, an .arch file, or a run.", show_default=False)
    ],
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="Of a run's candidate; the best where left out.")
    ] = None,
    grammar: Annotated[
        str | None, typer.Option(help="Name or path of the grammar.", show_default="einspace, or the run's")
    ] = None,
    input: InputOption = None,
    layers: LayersOption = None,
    as_json: JsonOption = False,
) -> int:
    """Draw a network as a tree: each layer with its shapes, parameters and FLOPs."""
    from evosearch.report.tree import rows

    architecture = _architecture(what, key, grammar, input, layers or ())
    found = rows(architecture)
    if as_json:
        cost = architecture.cost
        output.as_json(
            {
                "text": architecture.text,
                "key": architecture.key,
                "input": list(architecture.input),
                "output": list(architecture.output),
                "params": cost.params,
                "flops": cost.flops,
                "activations": cost.activations,
                "nodes": found,
            }
        )
        return DONE
    output.table(
        ("layer", "output", "parameters", "FLOPs"),
        [
            (
                row["drawn"],
                row["shape"],
                count(row["params"]) if row["params"] else "",
                count(row["flops"]) if row["flops"] else "",
            )
            for row in found
        ],
        right=(2, 3),
    )
    output.say()
    output.say(
        f"{architecture.key}  {count(architecture.cost.params)} parameters, {count(architecture.cost.flops)} FLOPs"
    )
    return DONE


def _architecture(
    what: str, key: str | None, grammar: str | None, input: str | None, layers: Iterable[Path]
) -> Architecture:
    """The network that a person names: a candidate of a run, a file, or the text itself."""
    from evosearch.cli.runs import folder_of
    from evosearch.cli.spaces import load_grammar, open_space
    from evosearch.errors import RunError, UsageError

    shape = input
    if Path(what).is_file():
        text = Path(what).read_text(encoding="utf-8")
    elif key is not None or "(" not in what:
        try:
            folder = folder_of(what)
        except RunError as error:
            if key is not None:
                raise
            raise UsageError(f"{what}: no architecture text, no file and no run; {error}") from None
        from evosearch.report.reading import read_run

        run = read_run(folder)
        text = run.candidate(key).text if key is not None else run.best()["text"]
        grammar = grammar or str(run.grammar_file)
        shape = input or run.input
    else:
        text = what
    space = open_space(load_grammar(grammar or "einspace"), shape, layers)
    return space.read(space.parse(text))
