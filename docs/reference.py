"""Writes docs/cli.md from the commands themselves: python docs/reference.py. A test holds the two together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from evosearch.cli.commands import app

PAGE = Path(__file__).with_name("cli.md")

HEAD = """\
# The command line

    evolve COMMAND [ARGUMENTS] [OPTIONS]

Made from the code by `python docs/reference.py`.

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


def page() -> str:
    """The page as it should be."""
    root: Any = typer.main.get_command(app)
    groups: dict[str, list[str]] = {}
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        texts = [f"{name} {below}" for below in inner] if inner else [name]
        commands = list(inner.values()) if inner else [command]
        section = groups.setdefault(command.rich_help_panel or "Commands", [])
        section += ["\n".join(_command(text, one)) for text, one in zip(texts, commands, strict=True)]
    parts = [HEAD, *(f"## {title}\n\n" + "\n".join(section) for title, section in groups.items())]
    return "\n".join(parts).rstrip() + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    words = [p.metavar or p.name.upper() for p in arguments]
    usage = " ".join([f"evolve {name}", *words, "[OPTIONS]" if options else ""])
    yield f"### evolve {name}\n"
    yield f"{command.help.strip()}\n"
    yield f"    {usage.strip()}\n"
    rows = [(p.metavar or p.name.upper(), p) for p in arguments] + [(_flags(p), p) for p in options]
    if rows:
        yield "| | |\n|---|---|"
        yield from (f"| `{flags}` | {_help(parameter)} |".replace("T|R", "T\\|R") for flags, parameter in rows)
        yield ""


def _flags(option: Any) -> str:
    flags = ", ".join(sorted(option.opts, key=len, reverse=True))
    return flags if option.is_flag else f"{flags} {option.metavar or option.name.upper()}"


def _help(parameter: Any) -> str:
    text = (parameter.help or "").replace("|", "\\|")
    default = parameter.default
    if parameter.show_default is False or default is None or getattr(parameter, "is_flag", False):
        return text
    return f"{text} Default: {parameter.show_default if isinstance(parameter.show_default, str) else default}."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
