"""Help pages: plain text, commands and options under the headings they were registered with.

Typer's own pages draw boxes with rich, whose import alone takes as long as everything else that `evolve --help` does.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


def _options(command: Any, ctx: Any, formatter: Any) -> None:
    """Arguments first, then each heading's options, then those without a heading."""
    headings: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            headings.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
    last = headings.pop("Options", None)
    for heading, records in [*headings.items(), *([("Options", last)] if last else [])]:
        with formatter.section(heading):
            formatter.write_dl(records)


class Command(TyperCommand):
    def format_options(self, ctx: Any, formatter: Any) -> None:
        _options(self, ctx, formatter)


class CommandGroup(TyperGroup):
    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        _options(self, ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        headings: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            headings.setdefault(heading, []).append((name, command.get_short_help_str(limit=70)))
        for heading, records in headings.items():
            with formatter.section(heading):
                formatter.write_dl(records)
