"""The commands that write pages: report, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evosearch.cli import DONE, output
from evosearch.cli.grammars import JsonOption, LayersOption
from evosearch.cli.help import Command
from evosearch.cli.search import RUN_ARGUMENT

if TYPE_CHECKING:
    from evosearch.report.compare import Comparison, Method

PANEL = "Results"


def register(app: typer.Typer) -> None:
    for command in (report, compare):
        app.command(cls=Command, rich_help_panel=PANEL)(command)


def report(
    run: Annotated[str, RUN_ARGUMENT],
    to: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Where (report.html in the run's folder).", show_default=False),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="RUN", help="A random search to compare with.", show_default=False)
    ] = None,
    layers: LayersOption = None,
) -> int:
    """Write what a run did as one page that opens without a network."""
    from evosearch.cli.runs import folder_of
    from evosearch.report.html import write_report

    if to is not None:
        output.check_target("--output", to, suffix=".html", new_folder=True)

    beside = folder_of(baseline) if baseline is not None else None
    output.say(str(write_report(folder_of(run), to, baseline=beside, layers=tuple(layers or ()))))
    return DONE


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two runs or more.", show_default=False)],
    to: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where the page goes.")] = Path("compare.html"),
    as_json: JsonOption = False,
) -> int:
    """Compare runs: a table, and a page.

    Runs of one configuration but different seeds are one method; of several with one seed the longest counts. Prints
    the relative improvement over random networks and, where methods have several runs, a rank test. --json prints the
    numbers and writes no page.
    """
    output.check_target("--output", to, suffix=".html", new_folder=True)
    from evosearch.cli.runs import folder_of
    from evosearch.report.compare import compare as read
    from evosearch.report.page.comparison import write_comparison

    found = read([folder_of(run) for run in runs])
    if as_json:
        output.as_json(found.as_data())
        return DONE
    output.table(
        ("method", "runs", f"best {found.metric}", "deviation", "RI"),
        [_row(found, method) for method in found.methods],
        right=(1, 2, 3, 4),
    )
    for test in found.tests:
        output.say(f"{test.a} and {test.b}: p = {test.p_corrected:.3g} (rank test, U = {test.u:g})")
    for note in found.notes:
        output.say(note)
    output.say()
    output.say(str(write_comparison(found, to)))
    return DONE


def _row(found: Comparison, method: Method) -> tuple[str, ...]:
    from evosearch.report.compare import spread

    best, gained = spread(found.bests(method)), spread(found.improvements(method))
    mean, deviation, improvement = best["mean"], best["deviation"], gained["mean"]
    return (
        method.name,
        str(len(method.runs)),
        "" if mean is None else f"{mean:.4f}",
        "" if deviation is None else f"{deviation:.4f}",
        "" if improvement is None else f"{improvement:+.1f} %",
    )
