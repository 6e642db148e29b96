"""Writes docs/cli.md, docs/config.md and docs/layers.md from the code: `make reference`. A test holds them together."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from evosearch import config as configuration
from evosearch.cli.commands import app
from evosearch.cli.layers import described
from evosearch.layers.catalogue import Entry, catalogue

DOCS = Path(__file__).parent

COMMANDS = """\
# The command line

    evolve COMMAND [ARGUMENTS] [OPTIONS]

**Exit codes**

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed: a run that cannot go on, a disk that refuses, a space without new candidates; `verify` found something |
| 2 | wrong usage or input: a flag, a config, a grammar, an architecture, a task, a file that is not there |
| 130 | interrupted (Ctrl-C); what was evaluated is kept, and `evolve resume` goes on |

An error is one line on stderr, `evolve: what, where, what to do`. `EVOSEARCH_DEBUG=1` shows where an internal one
arose.

**Output** goes to stdout. `run` and `resume` draw one live panel on a terminal and print plain lines elsewhere; with
`--json`, stdout holds the result alone. `NO_COLOR` is respected. Commands that read take `--json` too.

**RUN** is a run's folder, or its name in `runs/` (or in `$EVOSEARCH_RUNS`). **GRAMMAR** is a `.lark` file, or a name on
the search path: the project's `grammars/`, then those that come with evosearch. **KEY** is the first digits of a
candidate's key.

**Environment**: `EVOSEARCH_RUNS` where runs lie, `EVOSEARCH_CACHE` the folder of the ledger of scores.
"""


def commands() -> str:
    """docs/cli.md as it should be."""
    root: Any = typer.main.get_command(app)
    groups: dict[str, list[str]] = {}
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        texts = [f"{name} {below}" for below in inner] if inner else [name]
        commands = list(inner.values()) if inner else [command]
        section = groups.setdefault(command.rich_help_panel or "Commands", [])
        section += ["\n".join(_command(text, one)) for text, one in zip(texts, commands, strict=True)]
    parts = [COMMANDS, *(f"## {title}\n\n" + "\n".join(section) for title, section in groups.items())]
    return "\n".join(parts).rstrip() + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    words = [p.metavar or p.name.upper() for p in arguments]
    words = [word if p.required else f"[{word}]" for word, p in zip(words, arguments, strict=True)]
    usage = " ".join([f"evolve {name}", *words, "[OPTIONS]" if options else ""])
    yield f"### evolve {name}\n"
    yield f"{command.help.strip()}\n"
    yield f"    {usage.strip()}\n"
    rows = [(p.metavar or p.name.upper(), p) for p in arguments] + [(_flags(p), p) for p in options]
    if rows:
        yield "| | |\n|---|---|"
        yield from (f"| `{_cell(flags)}` | {_cell(_help(parameter))} |" for flags, parameter in rows)
        yield ""


def _cell(text: str) -> str:
    """A table's cell: a bar in it would end it."""
    return text.replace("|", "\\|")


def _flags(option: Any) -> str:
    flags = ", ".join(sorted(option.opts, key=len, reverse=True))
    return flags if option.is_flag else f"{flags} {option.metavar or option.name.upper()}"


def _help(parameter: Any) -> str:
    text = parameter.help or ""
    default = parameter.default
    if parameter.show_default is False or default is None or getattr(parameter, "is_flag", False):
        return text
    return f"{text} Default: {parameter.show_default if isinstance(parameter.show_default, str) else default}."


SETTINGS = """\
# The configuration

`evolve run CONFIG.toml` reads a TOML file; flags and `--set KEY=VALUE` win over it. `evolve run --dry-run` prints every
key with the value that a run would have, and that output is a config that means the same. An unknown key is an error.
Paths in a file are relative to the file. `"none"` lifts a limit.
"""


def settings() -> str:
    """docs/config.md as it should be: each table's defaults, and what its owner says of its keys."""
    defaults = configuration.dumps(configuration.load(None))
    top, *tables = re.split(r"^\[(\w+)\]\n", defaults, flags=re.MULTILINE)
    parts = [SETTINGS, _settings("The top level", configuration.Config, top)]
    for name, body in zip(tables[::2], tables[1::2], strict=True):
        owner: Any = configuration.Config.model_fields[name].annotation
        parts.append(_settings(f"[{name}]", owner, body, ABOUT.get(name, "")))
    return "\n".join(parts)


ABOUT = {
    "strategy": "What the file of the strategy says, `operators/strategy/NAME.py`; of those bundled local, netadapt, "
    "predictor and walk have some.\n",
    "final": "The keys of [recipe]. What is not said here is as in [recipe], with four times the epochs. With a time, "
    "`epochs` is where the\nfinal training begins to look: three and nine times as many are tried, or a third, while "
    "that is better on held-out data.\n",
}


def _settings(title: str, owner: Any, body: str, about: str = "") -> str:
    doc = about or f"{inspect.getdoc(owner)}\n"
    lines = doc.splitlines() if owner is configuration.Config else [x for x in doc.splitlines() if x[:5] != "seed:"]
    toml = f"\n```toml\n{body.strip()}\n```\n" if body.strip() else ""
    return f"## {title}\n\n{_listed(lines)}{toml}"


def _listed(lines: list[str]) -> str:
    """A docstring's `name: what it is` lines as a list, continuations joined."""
    found: list[str] = []
    for line in lines:
        entry = re.match(r"^([a-z_]+(?:, [a-z_]+)*): (.*)$", line)
        if entry:
            found.append(f"- `{'`, `'.join(entry[1].split(', '))}`: {entry[2]}")
        elif line.startswith(" ") and found:
            found[-1] += f" {line.strip()}"
        else:
            found.append(line)
    return "\n".join(found) + "\n"


LAYERS = """\
# The layers

What a grammar may say, as `evolve layers` lists it. A grammar says a name as an alternative's alias, `-> linear`;
numbers at the end of an alias that is no name itself are arguments, `-> max_pool2`. Layers of your own come
[from a file](howto/layer.md).

What a layer does is shown at one input shape of each mode that it stands in: `16x32x32` for images, `64x16` for
sequences, `16` for vectors, with the first arguments that it takes there.
"""


def layers() -> str:
    """docs/layers.md as it should be."""
    parts = [LAYERS]
    for kind, title in (("layer", "Layers"), ("combinator", "Combinators"), ("word", "Words")):
        parts.append(f"## {title}\n\n{KINDS[kind]}\n")
        parts += [_layer(entry) for entry in catalogue() if entry.kind == kind]
    return "\n".join(parts)


KINDS = {
    "layer": "One tensor in, one out.",
    "combinator": "They hold parts, which are sentences themselves.",
    "word": "Arguments of combinators: how an input is split, branches are merged, a tensor is rearranged.",
}


def _layer(entry: Entry) -> str:
    about = "\n\n".join(" ".join(block.split()) for block in entry.about.split("\n\n")) if entry.about else ""
    lines = [f"- `{name}`: {what}" for name, what in entry.arguments]
    lines += [f"- {mode}: `{described(entry, use)}`" for mode, use in entry.uses.items()]
    blocks = [f"### {entry.name}", f"`{entry.call()}`", _escaped(about), "\n".join(lines)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _escaped(text: str) -> str:
    """A docstring's text as Markdown takes it to the letter."""
    return re.sub(r"([*_<\[\]])", r"\\\1", text)


PAGES: dict[str, Callable[[], str]] = {"cli.md": commands, "config.md": settings, "layers.md": layers}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
