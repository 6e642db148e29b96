"""The command that lists what a grammar may say: layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evosearch.cli import DONE, output
from evosearch.cli.grammars import PANEL, JsonOption, LayersOption
from evosearch.cli.help import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.catalogue import Entry, Trial

INDENT = 4  # of a word's uses


def register(app: typer.Typer) -> None:
    app.command(cls=Command, rich_help_panel=PANEL)(layers)


def layers(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them.", show_default="all")] = None,
    layers: LayersOption = None,
    as_json: JsonOption = False,
) -> int:
    """List what a grammar may say: layers, combinators and words.

    Combinators take parts, words are arguments of both. Each with its arguments, the input modes that it stands in, and
    with its parameters at a usual shape. A grammar says a name as an alternative's alias, `-> NAME`.
    """
    from evosearch.errors import UsageError
    from evosearch.layers import load_layers
    from evosearch.layers.catalogue import catalogue, entry
    from evosearch.layers.library import NAMES
    from evosearch.paths import offer

    own: dict[str, type] = {}
    for path in layers or ():
        own |= load_layers(path)
    if name is None:
        found = catalogue(own)
    elif name in own or name in NAMES:
        found = [entry(name, own[name] if name in own else NAMES[name])]
    else:
        known = sorted({*own, *NAMES})
        raise UsageError(f"no layer named {name!r}; {offer(name, known, '`evolve layers` lists them')}")
    if as_json:
        output.as_json([_data(one) for one in found])
    elif name is not None:
        _one(found[0])
    else:
        _all(found)
    return DONE


def _all(found: Sequence[Entry]) -> None:
    for kind, title in (("layer", "Layers"), ("combinator", "Combinators, of parts"), ("word", "Words, arguments")):
        output.say(f"{title}\n")
        rows = [(one.call(), " ".join(one.uses), one.summary) for one in found if one.kind == kind]
        output.table(("name", "modes", ""), rows)
        output.say()


def _one(entry: Entry) -> None:
    output.say(f"{entry.call()}   {entry.kind}\n")
    if entry.about:
        output.say(f"{entry.about}\n")
    output.facts([(name, what) for name, what in entry.arguments])
    if entry.arguments and entry.uses:
        output.say()
    output.facts([(mode, described(entry, use)) for mode, use in entry.uses.items()])


def described(entry: Entry, use: Trial) -> str:
    """`linear(16): 64x16 -> 64x16, 272 parameters`."""
    from evosearch.layers.shapes import show

    call = f"{entry.name}({', '.join(use.arguments)})" if use.arguments else entry.name
    size = f", {use.params:,} parameters" if use.params else ""
    return f"{call}: {show(use.input)} -> {show(use.output)}{size}"


def _data(entry: Entry) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(entry), "arguments": [{"name": name, "is": what} for name, what in entry.arguments]}
