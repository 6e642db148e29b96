"""The page of `evolve compare`: several runs by method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evosearch.evaluation.measures import unit
from evosearch.report import figures
from evosearch.report.compare import spread, tested
from evosearch.report.figures import measured
from evosearch.report.page.markup import document, figure, folded, paragraph, section, table, write
from evosearch.report.page.svg import Scale, axes, escape, exact, fitting, path, picture, place, staircase
from evosearch.report.text import count, duration, near

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evosearch.report.compare import Comparison, Method
    from evosearch.report.reading import RunReading

COLOURS = 5
SIZES = (("wide", 1000, 380), ("narrow", 400, 300))

Line = list[tuple[int, float]]


def write_comparison(comparison: Comparison, output: str | Path) -> Path:
    """Write the page. Raises StorageError."""
    return write(Path(output), html(comparison))


def html(comparison: Comparison) -> str:
    runs = comparison.runs
    task = runs[0].header.get("task", runs[0].config["task"])
    line = (
        f"{len(runs)} runs of {len(comparison.methods)} methods on {task}, "
        f"after {comparison.evaluations:,} evaluations each"
    )
    sections = (
        ("result", "Result", result(comparison)),
        ("progress", "Progress", progress(comparison)),
        ("trade-offs", "Trade-offs", trade_offs(comparison)),
        ("runs", "The runs", each_run(comparison)),
    )
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in sections)
    body = (
        f'<a class="skip" href="#main">Skip to the content</a><header><h1>Comparison</h1>'
        f'<p class="soft">{escape(line)}</p></header><nav aria-label="Sections"><ul>{links}</ul></nav><main id="main">'
        f"{''.join(section(*entry) for entry in sections)}</main>"
        f"<footer>Written by evosearch. It loads nothing from anywhere.</footer>"
    )
    return document(f"Comparison: {line}", body, {"rows": []})


def result(comparison: Comparison) -> str:
    rows = []
    for place_of, method in enumerate(comparison.methods):
        best, gained = spread(comparison.bests(method)), spread(comparison.improvements(method))
        sample = comparison.random(method.runs[0])
        mean = sum(sample.values) / len(sample.values) if sample.values else None
        rows.append(
            (
                swatch(place_of, method),
                str(len(method.runs)),
                plus_minus(best["mean"], best["deviation"]),
                exact(best["median"]),
                f"{exact(best['least'])} to {exact(best['most'])}",
                plus_minus(gained["mean"], gained["deviation"], " %"),
                f"{exact(mean)} ({sample.size})",
            )
        )
    metric = escape(comparison.metric)
    names = ("method", "runs", f"best {metric}", "median", "from, to", "RI", "mean random network (samples)")
    words = paragraph(
        f"The best {metric} on the validation split after {comparison.evaluations:,} evaluations, mean and deviation "
        f"over runs. RI is the relative improvement over the mean of randomly sampled networks, trained alike (Yang et "
        f"al. 2020)."
    )
    notes = "".join(paragraph(escape(note), "soft") for note in comparison.notes)
    shown = words + table("Methods", names, rows, id="methods") + notes
    finals = "".join(f'<div class="{kind}">{_finals(comparison, width)}</div>' for kind, width, _ in SIZES)
    caption = "Each dot is a run's best; the line is their mean."
    return shown + figure(finals, caption) + _tests(comparison)


def plus_minus(mean: float | int | None, deviation: float | int | None, unit: str = "") -> str:
    text = "–" if mean is None else f"{exact(mean) if not unit else f'{mean:+.1f}'}{unit}"
    if deviation is None:
        return text
    return f"{text} ± {exact(deviation) if not unit else f'{deviation:.1f}'}"


def _tests(comparison: Comparison) -> str:
    if not comparison.tests:
        return ""
    rows = [
        (f"{escape(t.a)} and {escape(t.b)}", f"{t.u:g}", f"{t.p:.3g}", f"{t.p_corrected:.3g}", f"{t.least_p:.2g}")
        for t in comparison.tests
    ]
    words = paragraph(
        "Mann and Whitney's rank test of the runs' bests, two-sided, by permutation. The corrected p accounts for the "
        "number of pairs (Holm 1979); the last column is the least p that so few runs can give."
    )
    return (
        "<h3>Could it be chance?</h3>"
        + words
        + table("Rank tests", ("methods", "U", "p", "p, corrected", "least possible"), rows, id="tests")
    )


def _finals(comparison: Comparison, width: int) -> str:
    """The bests of all runs, a row for each method."""
    bests = [comparison.bests(method) for method in comparison.methods]
    height = 62 + 44 * len(bests)
    x = fitting([value for values in bests for value in values], 24, width - 24)
    marks = []
    for value in x.ticks(46):
        at = place(x(value))
        marks.append(f'<path class="grid" d="M{at} 8V{height - 40}"/>')
        marks.append(f'<text class="tick" x="{at}" y="{height - 24}" text-anchor="middle">{exact(value)}</text>')
    marks.append(f'<text class="label" x="{place(width / 2)}" y="{height - 5}" text-anchor="middle">')
    marks.append(f"best {escape(comparison.metric)} of a run</text>")
    for row, (method, values) in enumerate(zip(comparison.methods, bests, strict=True)):
        y = 38 + 44 * row
        marks.append(f'<g class="m{row % COLOURS}"><text class="own" x="24" y="{y - 14}">{escape(method.name)}</text>')
        if values:
            marks.append(f'<path class="own-line" d="M{place(x(sum(values) / len(values)))} {y - 8}v16"/>')
        marks += [f'<circle class="own" cx="{place(x(value))}" cy="{y}" r="5"/>' for value in values]
        marks.append("</g>")
    text = f"Best {comparison.metric} of each run, by method. The table above holds the numbers."
    return picture(width, height, "".join(marks), name="finals", text=text)


def progress(comparison: Comparison) -> str:
    lines = [_mean_line(comparison, method) for method in comparison.methods]
    charts = "".join(f'<div class="{kind}">{_lines(comparison, lines, w, h)}</div>' for kind, w, h in SIZES)
    at = sorted({max(1, round(comparison.evaluations * tenth / 10)) for tenth in range(1, 11)})
    rows = [
        (str(n), *(exact(next((value for where, value in reversed(mean) if where <= n), None)) for mean, _, _ in lines))
        for n in at
    ]
    names = ("evaluations", *(escape(method.name) for method in comparison.methods))
    legend = " ".join(swatch(row, method) for row, method in enumerate(comparison.methods))
    caption = (
        f"{legend}. Lines: the mean of the best so far over a method's runs, once each of them has one; the area "
        "around a line holds all of them. Dashed, where all runs have one grammar: the best of as many random draws in "
        "expectation, and the 5th to 95th percentile around it."
    )
    return figure(charts, caption, folded("As a table", table("Mean of the best so far", names, rows)))


def _mean_line(comparison: Comparison, method: Method) -> tuple[Line, Line, Line]:
    """(mean, least, most) of the best so far over a method's runs, at the evaluations where any of them changes."""
    steps = [[(at, step.value) for at, step in comparison.steps(run)] for run in method.runs]
    steps = [of_run for of_run in steps if of_run]
    if not steps:
        return [], [], []
    changes = sorted({at for of_run in steps for at, _ in of_run} | {comparison.evaluations})
    start = max(of_run[0][0] for of_run in steps)
    found: tuple[Line, Line, Line] = ([], [], [])
    for at in changes:
        if at >= start:
            values = [next(value for where, value in reversed(of_run) if where <= at) for of_run in steps]
            for line, value in zip(found, (sum(values) / len(values), min(values), max(values)), strict=True):
                line.append((at, value))
    return found


def _lines(comparison: Comparison, lines: Sequence[tuple[Line, Line, Line]], width: int, height: int) -> str:
    grammars = {run.header["digests"].get("grammar") for run in comparison.runs}
    sample = comparison.random(comparison.runs[0]) if len(grammars) == 1 else None
    band = figures.best_of_draws(sample, comparison.sign, comparison.evaluations) if sample else None
    heights = [value for three in lines for line in three for _, value in line]
    heights += [*band.mean, *band.low[1:], *band.high] if band else []
    x = Scale("linear", 0, max(comparison.evaluations, 2), 58, width - 66)
    y = fitting(heights, height - 48, 26)
    better = "larger" if comparison.sign > 0 else "smaller"
    marks = [axes(x, y, "evaluations", f"mean best {comparison.metric} so far ({better} is better)")]
    if band:
        sides = [[(x(n), y(v)) for n, v in zip(band.draws, side, strict=True)] for side in (band.high, band.low)]
        marks.append(f'<path class="band" d="{path([*sides[0], *reversed(sides[1])])}Z"/>')
        marks.append(
            f'<path class="chance" d="{path([(x(n), y(v)) for n, v in zip(band.draws, band.mean, strict=True)])}"/>'
        )
    ends: list[float] = []
    for row, (mean, least, most) in enumerate(lines):
        if not mean:
            continue
        upper, lower = ([(x(n), y(v)) for n, v in line] for line in (most, least))
        area = f"{staircase(upper, x.end)}L{_backwards(lower, x.end)}Z"
        marks.append(f'<g class="m{row % COLOURS}"><path class="own-band" d="{area}"/>')
        marks.append(f'<path class="own-line" d="{staircase([(x(n), y(v)) for n, v in mean], x.end)}"/>')
        at = y(mean[-1][1])
        while any(abs(at - other) < 14 for other in ends):
            at += 14
        ends.append(at)
        marks.append(
            f'<text class="own" x="{place(x.end + 6)}" y="{place(at)}" dy=".32em">{exact(mean[-1][1])}</text></g>'
        )
    reached = [
        f"{m.name} {exact(mean[-1][1])}" for m, (mean, _, _) in zip(comparison.methods, lines, strict=True) if mean
    ]
    at_the_end = ", ".join(reached)
    text = f"Best {comparison.metric} so far by method, at the end: {at_the_end}. The table below holds the numbers."
    return picture(width, height, "".join(marks), name="progress", text=text)


def _backwards(points: Sequence[tuple[float, float]], end: float) -> str:
    """The staircase of these points from its end to its beginning."""
    found = [f"{place(end)} {place(points[-1][1])}"]
    for (x, _), (_, before) in zip(reversed(points[1:]), reversed(points[:-1]), strict=True):
        found.append(f"H{place(x)}V{place(before)}")
    return "".join(found) + f"H{place(points[0][0])}"


def trade_offs(comparison: Comparison) -> str:
    charts = "".join(_fronts(comparison, against, unit(against)) for against in figures.AGAINST)
    names = "".join(f"<li>{swatch(row, method)}</li>" for row, method in enumerate(comparison.methods))
    intro = paragraph("Pareto fronts of each method's runs together.")
    return f'{intro}<ul class="plain">{names}</ul><div class="trio">{charts}</div>'


def _fronts(comparison: Comparison, against: str, label: str) -> str:
    fronts = [list(_front(comparison, method, against)) for method in comparison.methods]
    points = [point for front in fronts for point in front]
    if not points or not any(figures.is_costly(run, against) for run in comparison.runs):
        return ""
    least = min((cost for cost, _ in points if cost > 0), default=1.0)
    spread = max(cost for cost, _ in points) > 30 * least
    x = fitting([max(cost, least) for cost, _ in points], 58, 386, "log" if spread else "linear")
    y = fitting([value for _, value in points], 262, 26)
    marks = [axes(x, y, label + (", logarithmic" if spread else ""), comparison.metric)]
    for row, front in enumerate(fronts):
        at = [(x(cost), y(value)) for cost, value in front]
        marks.append(
            f'<g class="m{row % COLOURS}"><path class="own-line" d="{path(at)}"/>'
            if len(at) > 1
            else f'<g class="m{row % COLOURS}">'
        )
        marks += [f'<circle class="own" cx="{place(left)}" cy="{place(top)}" r="4.5"/>' for left, top in at]
        marks.append("</g>")
    rows = [
        (escape(method.name), exact(value), exact(cost))
        for method, front in zip(comparison.methods, fronts, strict=True)
        for cost, value in front
    ]
    text = f"Pareto fronts of {comparison.metric} against {label}, by method. The table below lists them."
    listed = table(f"Fronts against {label}", ("method", escape(comparison.metric), label), rows)
    chart = picture(400, 310, "".join(marks), name=f"pareto-{against}", text=text)
    return figure(chart, f"Against {label}.", folded("As a table", listed))


def _front(comparison: Comparison, method: Method, against: str) -> Iterator[tuple[float, float]]:
    """(cost, value) of the front of all the runs of a method."""
    both = [
        (cost, value)
        for run in method.runs
        for one in figures.front(run, against, comparison.looked_at(run))
        if (value := measured(one, comparison.metric)) is not None and (cost := measured(one, against)) is not None
    ]
    best = None
    for cost, value in sorted(both, key=lambda point: (point[0], -comparison.sign * point[1])):
        if best is None or comparison.sign * value > comparison.sign * best:
            best = value
            yield cost, value


def each_run(comparison: Comparison) -> str:
    rows = [
        _run_row(comparison, row, method, run) for row, method in enumerate(comparison.methods) for run in method.runs
    ]
    names = (
        "run",
        "method",
        "seed",
        f"best {escape(comparison.metric)}",
        "RI",
        "test",
        "parameters of it",
        "evaluated",
        "failed",
        "work",
    )
    return table("Each run; evolve report tells more of it", names, rows, id="each-run")


def _run_row(comparison: Comparison, row: int, method: Method, run: RunReading) -> tuple[str, ...]:
    steps = comparison.steps(run)
    params = measured(steps[-1][1].candidate, "params") if steps else None
    gained = comparison.improvement(run)
    return (
        escape(near(run.folder)),
        f'<td class="left">{swatch(row, method)}</td>',
        escape(run.config["seed"]),
        exact(comparison.best(run)),
        "–" if gained is None else f"{gained:+.1f} %",
        exact(tested(run)),
        "–" if params is None else count(params),
        f"{run.evaluated:,}",
        f"{sum(run.failures().values()):,}",
        duration(figures.seconds_spent(run)),
    )


def swatch(row: int, method: Method) -> str:
    return f'<span class="m{row % COLOURS}"><span class="swatch"></span></span>{escape(method.name)}'
