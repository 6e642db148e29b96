"""The command that takes a search apart: ablate."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from evosearch.cli import DONE, output
from evosearch.cli.grammars import JsonOption
from evosearch.cli.help import Command

PANEL = "Upkeep"


def register(app: typer.Typer) -> None:
    app.command(cls=Command, rich_help_panel=PANEL)(ablate)


def ablate(
    to: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the runs lie.", show_default=False)
    ],
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG.toml", help="A run's configuration.", show_default=False)
    ] = None,
    grammar: Annotated[
        str | None, typer.Option(metavar="GRAMMAR", help="Name or path of the grammar.", show_default=False)
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="TASK", help="As of evolve run.", show_default=False)] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Candidates of each run.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of each candidate's training.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each, with seeds 0 to N - 1.")] = 5,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config: --set search.screen=20."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """What a search owes to its parts: the same without each.

    Of the same budget each, and a test: the search as it is, without its learner (a uniform policy, the grammar's own
    weights), without screening, without crossover, and at random, each with every seed; what the search has not is left
    out. Every run is a folder below FOLDER, and ablation.csv there has a row for each. Said again, the command goes on
    where it was. p is that of a permutation test over pairs of one seed, corrected for the number of arms (Holm).
    """
    from evosearch import ablation
    from evosearch import config as configuration
    from evosearch.report import figures
    from evosearch.report.live import QuietView
    from evosearch.report.reading import read_run

    flags = {"grammar": grammar, "task": task, "search.budget": budget, "recipe.epochs": epochs}
    overrides: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    overrides.update(configuration.parse_setting(setting) for setting in settings or ())
    rows = []
    for row in ablation.ablate(to, config, overrides, seeds, QuietView(sys.stderr)):
        rows.append(row)
        print(f"{row.arm}, seed {row.seed}: {row.best:.4f} after {row.evaluations}", file=sys.stderr)
    if rows and rows[0].evaluations <= (first := read_run(to / f"{ablation.WHOLE}-0").config["search"]["population"]):
        output.say(
            f"{rows[0].evaluations} candidates are no more than the first population of {first}, which all draw alike: "
            "say a larger --budget"
        )
    objective = figures.objectives(read_run(to / f"{ablation.WHOLE}-0"))[0]
    found = ablation.effects(rows, objective.sign)
    if as_json:
        output.as_json([asdict(one) for one in found])
        return DONE
    output.table(
        ("search", "runs", objective.name, "test", "worse by", "±", "p"),
        [
            (
                one.arm,
                str(one.runs),
                f"{one.best:.4f}",
                "" if one.test is None else f"{one.test:.4f}",
                "" if one.arm == ablation.WHOLE else f"{one.difference:+.4f}",
                "" if one.error is None else f"{one.error:.4f}",
                "" if one.p_corrected is None else f"{one.p_corrected:.3g}",
            )
            for one in found
        ],
        right=(1, 2, 3, 4, 5, 6),
    )
    least = max(one.least_p for one in found[1:]) if len(found) > 1 else 0.0
    if least > 0.05:
        output.say(f"{seeds} seeds cannot give a p below {least:.3g}: say more --seeds, what is there is kept")
    return DONE
