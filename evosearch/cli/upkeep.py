"""The commands for upkeep."""

from __future__ import annotations

import typer

PANEL = "Upkeep"


def register(app: typer.Typer) -> None:
    pass
