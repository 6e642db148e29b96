"""The commands for grammars: check, sample, fmt, learn."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evosearch.cli import DONE, FAILED, USAGE, output
from evosearch.cli.help import Command
from evosearch.report.text import clean, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.architecture import Architecture, Space
    from evosearch.check import Checked

PANEL = "Grammars"

GrammarArgument = Annotated[
    str, typer.Argument(metavar="GRAMMAR", help="A .lark file, or its name in grammars/.", show_default=False)
]
InputOption = Annotated[
    str | None,
    typer.Option("--input", metavar="SHAPE", help="3x32x32, 64x192 or 64.", show_default="by the grammar's mode"),
]
LayersOption = Annotated[list[Path] | None, typer.Option(metavar="FILE.py", help="Layers of your own; again for more.")]
OperatorsOption = Annotated[
    list[Path] | None, typer.Option(metavar="FOLDER", help="Plug-ins of your own; again for more.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


def register(app: typer.Typer) -> None:
    for command in (check, sample, fmt, learn):
        app.command(cls=Command, rich_help_panel=PANEL)(command)


def check(
    grammar: GrammarArgument,
    input: InputOption = None,
    layers: LayersOption = None,
    operators: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Plug-ins of your own: does each keep its contract? Again for more."),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", "-n", min=0, help="How many to draw.")] = 1000,
    as_json: JsonOption = False,
) -> int:
    """Check a grammar file, and say what it generates.

    A mistake in the file is shown with its line and a caret. The figures of the weights alone are exact, and come at
    once; those of samples come from drawing at the input shape.
    """
    from evosearch.cli.spaces import load_grammar, open_space
    from evosearch.errors import GrammarError
    from evosearch.grammar.check import sampled, weigh

    try:
        space = open_space(load_grammar(grammar), input, layers or ())
        report = weigh(space.grammar, space)
    except GrammarError as error:
        if as_json:
            problem = {"file": error.file, "line": error.line, "column": error.column, "message": error.message}
            output.as_json({"error": problem})
            return USAGE
        print(f"evolve: {clean(str(error))}", file=sys.stderr)
        if error.caret:
            print(clean(error.caret), file=sys.stderr)
        return USAGE
    if not as_json:
        output.say(output.fitted(report.beginning(), 4))
    report = sampled(report, space.grammar, space, samples)
    checked = [] if not (layers or operators) else _contracts(space, operators or ())
    if as_json:
        own = {"plugins": [dataclasses.asdict(one) for one in checked]} if layers or operators else {}
        output.as_json(report.to_json() | own)
    else:
        output.say(output.fitted(report.rest(), 4))
        if checked:
            output.say()
        for one in checked:
            output.say(f"{one.kind} {one.name}: {clean(one.error) or 'keeps its contract'}")
    return FAILED if any(one.error for one in checked) else DONE


def _contracts(space: Space, folders: Sequence[Path]) -> list[Checked]:
    """The layers of a person's own in a space, and the plug-ins in the folders and the project, each tried."""
    from evosearch import plugins
    from evosearch.check import check_layers, check_plugins

    return [*check_layers(space), *(check_plugins(plugins.find(folders), space) if folders else ())]


def sample(
    grammar: GrammarArgument,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the randomness.")] = 0,
    input: InputOption = None,
    layers: LayersOption = None,
    max_params: Annotated[
        int | None, typer.Option(min=0, help="Most trainable parameters.", show_default=False)
    ] = None,
    max_nodes: Annotated[int | None, typer.Option(min=1, help="Most nodes of a sample.", show_default=False)] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw them there side by side, too.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Draw sentences from a grammar, each with its size and output shape."""
    import numpy as np

    from evosearch.architecture import MAX_DRAWS
    from evosearch.cli.spaces import load_grammar, open_space
    from evosearch.errors import SpaceExhausted, UsageError
    from evosearch.layers.base import show as show_shape

    space = open_space(load_grammar(grammar), input, layers or (), max_params=max_params, max_nodes=max_nodes)
    if svg is not None:
        output.check_target("--svg", svg, suffix=".svg")
        if space.input is None:
            raise UsageError(f"--svg: the sentences of {grammar} are no networks; leave it out to see them printed")
    rng = np.random.default_rng(seed)
    drawn: list[dict[str, Any]] = []
    networks: list[Architecture] = []
    tries = 0
    while len(drawn) < number:
        derivation = space.draw(rng)
        if space.input is None:
            drawn.append({"text": space.render(derivation)})
            continue
        architecture = space.read(derivation)
        limit = space.within(architecture)
        if limit is not None:
            tries += 1
            if tries >= MAX_DRAWS:
                raise SpaceExhausted(f"{MAX_DRAWS} samples were over the limit {limit}; raise it or leave it out")
            continue
        tries = 0
        networks.append(architecture)
        cost = architecture.cost
        drawn.append(
            {
                "text": architecture.text,
                "key": architecture.key,
                "input": list(architecture.input),
                "output": list(architecture.output),
                "params": cost.params,
                "flops": cost.flops,
                "nodes": derivation.size,
            }
        )
    if svg is not None:
        from evosearch.report.page.drawing import contact_sheet
        from evosearch.store.disk import hand_over

        hand_over(svg, contact_sheet(networks))
    if as_json:
        output.as_json(drawn)
        return DONE
    for one in drawn:
        if "key" in one:
            size = f"{count(one['params'])} parameters, {count(one['flops'])} FLOPs"
            output.say(f"# {one['key'][:8]}  {show_shape(one['input'])} -> {show_shape(one['output'])}, {size}")
        output.say(one["text"])
    return DONE


def fmt(
    texts: Annotated[list[str], typer.Argument(metavar="ARCHITECTURE...", help="Texts, or .arch files.")],
    grammar: Annotated[str, typer.Option(help="Name or path of the grammar.")] = "einspace",
    write: Annotated[bool, typer.Option("--write", "-w", help="Write it into the files.")] = False,
    width: Annotated[int, typer.Option(min=20, help="Columns of a line.")] = 100,
) -> int:
    """Write architecture texts in the one way.

    On a line where it fits, else a part a line.
    """
    from evosearch.cli.spaces import load_grammar
    from evosearch.errors import ArchitectureError, UsageError
    from evosearch.grammar import layout
    from evosearch.paths import read_arch
    from evosearch.store.disk import hand_over

    language = load_grammar(grammar)
    done: list[tuple[Path | None, str]] = []
    for text in texts:
        file = Path(text) if text.endswith(".arch") else None
        if write and file is None:
            raise UsageError(f"--write: {text} is no .arch file; leave --write out to see it printed")
        try:
            done.append((file, layout(language, read_arch(file) if file else text, width) + "\n"))
        except ArchitectureError as error:
            raise ArchitectureError(f"{file}: {error}" if file else str(error)) from None
    for file, formatted in done:  # all are read before the first is written
        if not write:
            output.say(formatted.rstrip("\n"))
        elif file is not None and file.read_bytes() != formatted.encode():
            hand_over(file, formatted)
            output.say(f"wrote {file}")
    return DONE


def learn(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's folder, or its name in runs/.", show_default=False)
    ],
    output_file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.lark", help="Where to write it.", show_default=False)
    ],
    best: Annotated[float, typer.Option(min=0.001, max=1, help="Share of the candidates that is learned from.")] = 0.1,
    concentration: Annotated[
        float, typer.Option(min=0, help="Choices that the grammar's own weights count for.")
    ] = 5.0,
    mix: Annotated[float, typer.Option(min=0, max=1, help="Share of the grammar's own weights in the result.")] = 0.05,
    prune: Annotated[
        int, typer.Option(min=0, metavar="N", help="Alternatives at the most that do harm, which get p=0.")
    ] = 0,
    as_json: JsonOption = False,
) -> int:
    """Write a run's grammar with the weights of its best candidates.

    An ordinary grammar file with the probabilities that they give, and a comment on each line that changed: search in
    it, or change it further. With --prune, what lowered the rank of the candidates that had it, as boosted trees tell
    it, is read but never drawn.
    """
    from evosearch import learned
    from evosearch.cli.runs import folder_of

    output.check_target("--output", output_file, suffix=".lark", new_folder=True)
    written = learned.write(folder_of(run), output_file, best=best, concentration=concentration, mix=mix, prune=prune)
    choices, found = written.learned.choices.all, written.learned
    if as_json:
        output.as_json(
            {
                "file": str(written.path),
                "candidates": written.candidates,
                "best": written.best,
                "changed": [
                    {
                        "name": choices[index].name,
                        "options": list(choices[index].options),
                        "before": list(choices[index].prior),
                        "after": list(found.probabilities[index]),
                        "chosen": [found.counts.get((index, at), 0) for at in range(len(choices[index].options))],
                    }
                    for index in found.changed()
                ],
            }
        )
        return DONE
    rows = [
        (choices[index].name if at == 0 else "", option, f"{before:.4g}", f"{after:.4g}", f"{after - before:+.3f}")
        for index in found.changed()
        for at, (option, before, after) in enumerate(
            zip(choices[index].options, choices[index].prior, found.probabilities[index], strict=True)
        )
    ]
    output.table(("choice", "option", "before", "learned", "change"), rows, right=(2, 3, 4))
    output.say(f"wrote {written.path}, from the best {written.best:,} of {written.candidates:,} candidates")
    return DONE
