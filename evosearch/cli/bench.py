"""The command that compares searches: bench."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from evosearch.cli import DONE, output
from evosearch.cli.grammars import JsonOption
from evosearch.cli.help import Command

PANEL = "Upkeep"


def register(app: typer.Typer) -> None:
    app.command(cls=Command, rich_help_panel=PANEL)(bench)


def bench(
    task: Annotated[
        str,
        typer.Argument(metavar="TASK", help="table:FILE.csv, or package.module:function.", show_default=False),
    ],
    grammar: Annotated[str, typer.Option(metavar="GRAMMAR", help="Name or path of the grammar.", show_default=False)],
    strategies: Annotated[str, typer.Option(metavar="NAMES", help="Searches to compare, by commas.")] = "aging",
    policies: Annotated[
        str, typer.Option(metavar="NAMES", help="Mutation policies to compare, by commas.")
    ] = "q,uniform",
    screens: Annotated[
        str, typer.Option(metavar="NUMBERS", help="Drafts for each proposal to compare, by commas; 1: no screening.")
    ] = "1",
    rungs: Annotated[
        str,
        typer.Option(metavar="SHARES", help="Each search with these rungs, too, as in 0.11,0.33.", show_default=False),
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each, with seeds 0 to N - 1.")] = 20,
    budgets: Annotated[
        str, typer.Option(metavar="NUMBERS", help="Evaluations after which figures are taken.")
    ] = "50,100,200,500",
    seconds: Annotated[
        str,
        typer.Option(
            metavar="NUMBERS", help="In place of evaluations: seconds, by the table's cost column.", show_default=False
        ),
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of [search], as in --set search.window=20."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, metavar="N", help="Processes; 0: one for each core.")] = 0,
    csv: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the table there.")] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the figures there.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Compare searches on a recorded benchmark, over many seeds.

    Random search always takes part, and where candidates are networks, so do the walks by FLOPs and by parameters.
    RI is the relative improvement over random search, in per cent; ± is half the width of the mean's 95 % interval;
    found is the share of seeds that had the best fitness of all by then, to best the evaluations that took in the
    median; - stands where a seed has nothing yet. With --seconds all this is by a clock that goes by what the table
    says each evaluation took, one after another; a share of one, as --rungs asks for it, takes what its own column
    says, else that share.
    """
    from evosearch import bench as benchmark
    from evosearch import config as configuration
    from evosearch.errors import UsageError
    from evosearch.store.disk import hand_over

    for flag, file in (("--csv", csv), ("--svg", svg)):
        if file is not None:
            output.check_target(flag, file, suffix=flag.replace("--", "."))
    overrides: dict[str, Any] = dict(configuration.parse_setting(setting) for setting in settings or ())
    if other := [key for key in overrides if key.partition(".")[0] != "search"]:
        raise UsageError(f"--set {other[0]}: a comparison is of the keys of [search], as in --set search.window=20")
    search = configuration.load(None, overrides).search
    sized = benchmark.sized(grammar)
    drafts = _numbers("screens", screens)
    shares = [(), _shares(rungs)] if rungs else []
    competing = benchmark.entrants(_names(strategies), _names(policies), search, drafts, sized, shares)
    steps = _numbers("seconds", seconds) if seconds else _numbers("budgets", budgets)
    unit = "seconds" if seconds else "evaluations"

    def progress(name: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: {done}/{total}\x1b[K", end="\n" if done == total else "", file=sys.stderr, flush=True)

    results = benchmark.compare(
        benchmark.Arena(task, grammar), competing, range(seeds), steps, jobs, progress, bool(seconds)
    )
    rows = benchmark.table(results, steps)
    if csv is not None:
        benchmark.write_csv(rows, csv)
    if svg is not None:
        hand_over(svg, benchmark.svg(rows, f"{grammar}, {seeds} seeds", unit=unit))
    if as_json:
        output.as_json(rows)
        return DONE
    output.table(
        ("search", unit, "mean", "±", "deviation", "RI %", "found %", "to best"),
        [
            (
                row["entrant"],
                str(row["budget"]),
                *(_shown(row[name], ".4f") for name in ("mean", "ci95", "deviation")),
                _shown(row["ri"], "+.2f"),
                f"{100 * row['found']:.0f}",
                _shown(row["to_best"], ".0f"),
            )
            for row in rows
        ],
        right=(1, 2, 3, 4, 5, 6, 7),
    )
    return DONE


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _shares(text: str) -> tuple[float, ...]:
    from evosearch.errors import UsageError

    try:
        return tuple(float(share) for share in _names(text))
    except ValueError:
        raise UsageError(f"--rungs {text}: say shares of an evaluation by commas, as in 0.11,0.33") from None


def _numbers(option: str, text: str) -> list[int]:
    from evosearch.errors import UsageError

    if not all(name.isdecimal() and int(name) > 0 for name in _names(text)):
        raise UsageError(f"--{option} {text}: say whole numbers by commas, as in 50,100,200")
    return [int(name) for name in _names(text)]
