"""report.html: what a run did, on one page that needs no network.

Everything on it is read from the run's journal, checkpoint, config and best/. No code of the folder is run: its grammar
is parsed as text, and own layers are taken from files that the caller names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evosearch.report import figures
from evosearch.report.figures import measured, number
from evosearch.report.page import earnings, foresight, listing, progress, stopping, winner
from evosearch.report.page.candidates import packed
from evosearch.report.page.facts import Report
from evosearch.report.page.markup import card, document, link, section, write
from evosearch.report.page.svg import escape, exact
from evosearch.report.reading import read_run
from evosearch.report.text import count, duration, near

REPORT_FILE = "report.html"
DRAWINGS = 12  # architectures of the fronts that are drawn beside the winner
DRAWING_SIZE = 400_000  # characters of all of them together


def write_report(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    baseline: str | Path | None = None,
    layers: Sequence[str | Path] = (),
) -> Path:
    """Write a run's report and return where: `report.html` in its folder, or `output`.

    baseline: a run of random search on the same task, to compare with. layers: files of own layers that the run's
    grammar uses, for the drawings. Takes no lock and may be called while the run goes on.

    Raises RunError where there is no run, RunCorrupt where its journal does not check, UsageError where the baseline is
    no random search or has another task, StorageError where the page cannot be written.
    """
    report = Report(read_run(Path(folder)), read_run(Path(baseline)) if baseline is not None else None, tuple(layers))
    return write(Path(output) if output is not None else Path(folder) / REPORT_FILE, html(report))


# What the page has, in this order: its place, its title, and what makes it; empty where there is nothing to say.
SECTIONS: tuple[tuple[str, str, Callable[[Report], str]], ...] = (
    ("progress", "Progress", progress.progress),
    ("trade-offs", "Trade-offs", progress.trade_offs),
    ("winner", "The winner", winner.architecture),
    ("descent", "Descent", winner.descent),
    ("earned", "What earned", earnings.earned),
    ("knew", "Who knew?", foresight.knew),
    ("stopping", "Stopping early", stopping.stopped),
    ("losses", "Failures and duplicates", earnings.losses),
    ("all", "All candidates", listing.candidates),
    ("again", "Run it again", listing.again),
)
TITLES = {name: heading for name, heading, _ in SECTIONS}


def html(report: Report) -> str:
    made = {name: make(report) for name, _, make in SECTIONS}
    whole = body(title(report), made, templates(report), footer(report))
    return document(heading(report), whole, data(report))


def heading(report: Report) -> str:
    """What a browser calls the page."""
    return f"{report.name}: {report.subject}"


def body(head: str, made: Mapping[str, str], drawings: str, foot: str, beside: str = "") -> str:
    """The page's body, of its parts. beside: what stands beside the links to the sections."""
    shown = {name: content for name, content in made.items() if content}
    return (
        f'<a class="skip" href="#main">Skip to the content</a><header id="summary">{head}</header>'
        f'<nav aria-label="Sections"><div id="links">{links(shown)}</div>{beside}</nav><main id="main">'
        f"{''.join(section(name, TITLES[name], content) for name, content in shown.items())}</main>"
        f'<footer>{foot}</footer>{DIALOG}<div id="drawings" hidden>{drawings}</div>'
    )


def links(names: Iterable[str]) -> str:
    """A list that leads to sections."""
    entries = "".join(f'<li><a href="#{name}">{TITLES[name]}</a></li>' for name in names)
    return f"<ul>{entries}</ul>"


def data(report: Report) -> dict[str, Any]:
    return {
        "metric": report.metric,
        "sign": report.sign,
        "run": str(near(report.run.folder)),
        **packed(report.run, report.shown, report.favourites),
    }


def title(report: Report) -> str:
    run, settings = report.run, report.run.config["search"]
    what = {"aging": "aging evolution", "nsga2": "NSGA-II", "random": "random search"}
    strategy = what.get(settings["strategy"], str(settings["strategy"]))
    many = f"of {run.budget:,} candidates"
    if run.endless:
        many = f"for {run.time}" if run.time else "of as many candidates as are asked for"
    line = f"{report.subject}: {strategy} {many}, seed {run.config['seed']}, {run.phase()}"
    heading = f'<h1>{escape(report.name)}</h1><p class="soft">{escape(line)}</p>'
    return f'{heading}<dl class="cards">{"".join(cards(report))}</dl>'


def cards(report: Report) -> Iterator[str]:
    run = report.run
    test, beside = run.metrics.get("test"), run.metrics.get("baseline")
    for name, value in test.items() if isinstance(test, Mapping) else ():
        against = number(beside.get(name)) if isinstance(beside, Mapping) else None
        named = escape(run.metrics.get("baseline_name") or "a linear model")
        text = f"{named}: {exact(against)}" if against is not None else "trained again, tested once"
        members = run.metrics.get("members")
        if isinstance(members, list):
            single = run.metrics.get("single")
            alone = number(single["test"].get(name)) if isinstance(single, Mapping) else None
            text = f"{len(members)} networks together, the best alone {exact(alone)}; {text}"
        yield card(f"Test {escape(name)}", exact(number(value)), text, "card first")
    if report.winner is not None:
        value = measured(report.winner, report.metric)
        found = f"{link(report.winner.number)}, the winner"
        if (error := run.standard_error(report.winner)) is not None:
            found = f"± {exact(error)}; {found}"
        if (again := run.trained_again()) is not None:
            found = f"{found}; trained again {exact(again)}"
        if random := figures.at_random(run):
            found = f"{found}; {escape(random)}"
        yield card(f"{escape(report.metric).capitalize()} in the search", exact(value), found)
        params, flops = measured(report.winner, "params"), measured(report.winner, "flops")
        if params:
            yield card("Parameters", count(params), f"{count(flops or 0)} FLOPs an example")
    spent = figures.seconds_spent(run)
    of = "" if run.endless else f"of {run.budget:,}"
    worked = f"{duration(spent)} of work" if spent else ""
    yield card("Evaluated", f"{run.evaluated:,}", "; ".join(filter(None, (of, worked))))
    if len(rungs := run.rungs()) > 1:
        shares = ", ".join(f"{count:,} of {share:.3g}" for share, count in rungs.items())
        yield card(
            "Rungs", f"{sum(share * count for share, count in rungs.items()):.1f}", f"whole evaluations: {shares}"
        )
    children, passed = figures.passed_on(run)
    if passed:
        yield card("Weights passed on", f"{children:,}", passed)
    failed = sum(run.failures().values())
    yield card("Failed", f"{failed:,}", "by kind below" if failed else "none did")
    if report.state:
        yield card("Duplicates saved", f"{figures.tally(report.state, 'duplicates'):,}", report.time_saved())


def templates(report: Report) -> str:
    """Drawings of the winner and of the fronts, which a candidate's details show."""
    wanted = [one for front in report.fronts.values() for one in reversed(front)]
    wanted = ([report.winner] if report.winner else []) + wanted
    if report.run.header.get("input") is None or isinstance(report.space, str):
        return ""
    found: dict[int, str] = {}
    for one in wanted:
        if len(found) > DRAWINGS or sum(map(len, found.values())) > DRAWING_SIZE:
            break
        if one.number not in found:
            found[one.number] = report.drawing(one)
    return "".join(f'<template id="d{born}">{svg}</template>' for born, svg in found.items() if svg)


def footer(report: Report) -> str:
    from evosearch import __version__

    source = escape(near(report.run.folder))
    return f"Written by evosearch {escape(__version__)} from the journal of {source}. It loads nothing from anywhere."


DIALOG = (
    '<dialog id="candidate" aria-labelledby="candidate-title"><div class="dialog-head">'
    '<h2 id="candidate-title">Candidate</h2><button type="button" id="candidate-close">Close</button></div>'
    '<div class="dialog-body" id="candidate-body" tabindex="0" role="region" aria-label="Details of the candidate">'
    '</div></dialog><div id="tip" aria-hidden="true"></div>'
)
