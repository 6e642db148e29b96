"""What was expected of candidates beside what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.report.foresight import foreseen, stretches
from evosearch.report.page.markup import figure, folded, paragraph, table
from evosearch.report.page.svg import Scale, axes, escape, path, picture, place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.report.foresight import Stretch
    from evosearch.report.page.facts import Report

NAMES = {"surrogate": "surrogate", "params": "parameters", "flops": "FLOPs"}


def knew(report: Report) -> str:
    """The section; empty where nothing was expected of anything."""
    known = foreseen(report.run)
    count = len(known.numbers)
    if not count:
        return ""
    whole, parts = stretches(known)
    if whole is None:
        return paragraph(f"Of {count} candidates something was expected: too few to say whether it came true.")
    search = report.run.config["search"]
    words = (
        f"Of {whole.count:,} that succeeded the surrogate <code>{escape(search.get('surrogate', ''))}</code> said "
        f"before their evaluation what to expect; none of them had been learned from. Kendall's tau of that with "
        f"what came is <strong>{_tau(whole.surrogate)}</strong>"
    )
    sizes = [f"{_tau(tau)} of {NAMES[name]}" for name, tau in whole.sizes.items()]
    words += f", beside {' and '.join(sizes)} alone. " if sizes else ". "
    words += (
        f"Each was chosen among {search.get('screen', 1)} drafts, mostly as the best of them, so they are more alike "
        f"than the drafts were, and harder to tell apart."
    )
    names = ("evaluations", "candidates", *(f"{NAMES[name]}, tau" for name in ("surrogate", *whole.sizes)))
    rows = [
        (f"{one.first} to {one.last}", f"{one.count}", *(_tau(tau) for tau in (one.surrogate, *one.sizes.values())))
        for one in [*parts, whole]
    ]
    numbers = table("Kendall's tau with what candidates came to", names, rows, id="knew-table")
    if len(parts) < 2:
        return paragraph(words) + numbers
    charts = "".join(
        f'<div class="{kind}">{_chart(parts, width, height)}</div>'
        for kind, width, height in (("wide", 1000, 300), ("narrow", 400, 240))
    )
    said = "Solid: the surrogate's predictions; dashed: the number of parameters. 1 is the very order, 0 is chance."
    return paragraph(words) + figure(charts, said, folded("As a table", numbers))


def _chart(parts: Sequence[Stretch], width: int, height: int) -> str:
    lines = {"best": [(one.last + 1, one.surrogate) for one in parts]}
    if any("params" in one.sizes for one in parts):
        lines["chance"] = [(one.last + 1, one.sizes.get("params")) for one in parts]
    heights = [tau for line in lines.values() for _, tau in line if tau is not None]
    x = Scale("linear", parts[0].first, parts[-1].last + 1, 58, width - 66)
    y = Scale("linear", min(0.0, *heights), 1.0, height - 48, 26)
    marks = [axes(x, y, "evaluations, in the order proposed", "Kendall's tau with what came")]
    for kind, line in lines.items():
        points = [(x(at), y(tau)) for at, tau in line if tau is not None]
        if points:
            marks.append(f'<path class="{kind}" d="{path(points)}"/>')
    end = next((tau for _, tau in reversed(lines["best"]) if tau is not None), None)
    if end is not None:
        marks.append(f'<text class="mark" x="{place(x.end + 6)}" y="{place(y(end))}" dy=".32em">{_tau(end)}</text>')
    text = f"Kendall's tau of the surrogate over time, {_tau(parts[0].surrogate)} at first, {_tau(end)} at the end"
    return picture(width, height, "".join(marks), name="knew", text=f"{text}. The table below holds the numbers.")


def _tau(tau: float | None) -> str:
    return "–" if tau is None else f"{tau:.2f}"
