"""How good the candidates became, against random draws and against what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evosearch.evaluation.measures import unit
from evosearch.report.figures import measured
from evosearch.report.page.markup import figure, folded, link, paragraph, table
from evosearch.report.page.svg import (
    LINE,
    Scale,
    axes,
    chart,
    dots,
    escape,
    exact,
    fitting,
    free,
    path,
    place,
    point,
    staircase,
    without_outliers,
)
from evosearch.report.text import count

if TYPE_CHECKING:
    from evosearch.report.page.facts import Report

WIDE = 50  # units of the drawing that the word beside the random draws takes
LINKED = 40  # points of a chart that are links of their own; the others answer to the pointer and stand in the table


def progress(report: Report) -> str:
    if not report.steps:
        return paragraph("No candidate has succeeded yet.")
    charts = "".join(
        f'<div class="{kind}">{_progress_chart(report, width, height)}</div>'
        for kind, width, height in (("wide", 1000, 380), ("narrow", 400, 300))
    )
    rows = [(link(s.candidate.number), str(s.at), exact(s.value), escape(s.candidate.operator)) for s in report.steps]
    names = ("candidate", "evaluation", escape(report.metric), "made by")
    return figure(
        charts,
        _progress_words(report),
        folded("The improvements as a table", table("Each new best, in the order proposed", names, rows)),
        _band_table(report),
    )


def _progress_chart(report: Report, width: int, height: int) -> str:
    run, band = report.run, report.band
    values = run.measured(report.metric)[run.comparable]
    heights = np.concatenate((values[~np.isnan(values)], [*band.low, *band.high] if band else []))
    last = int(np.flatnonzero(run.comparable).max(initial=0)) + 1
    x = Scale("linear", 0, max(last, 2), 58, width - 66)
    y = fitting(np.append(without_outliers(heights, report.sign), report.steps[-1].value), height - 48, 26)
    marks = [axes(x, y, "evaluations, in the order proposed", _axis(report, y))]
    if band:
        upper = [(x(n), y(v)) for n, v in zip(band.draws, band.high, strict=True)]
        lower = [(x(n), y(v)) for n, v in zip(band.draws, band.low, strict=True)]
        marks.append(f'<path class="band" d="{path([*upper, *reversed(lower)])}Z"/>')
    marks.append(f'<path class="cloud" d="{dots([(x(n + 1), y(v)) for n, v in _cloud(report)])}"/>')
    if band:
        mean = [(x(n), y(v)) for n, v in zip(band.draws, band.mean, strict=True)]
        marks.append(f'<path class="chance" d="{path(mean)}"/>')
    best = [(x(step.at), y(step.value)) for step in report.steps]
    marks.append(f'<path class="best" d="{staircase(best, x(last))}"/>')
    marks += [
        point(
            step.candidate.number,
            at,
            f"new best at evaluation {step.at}: {report.metric} {exact(step.value)}",
            "step",
        )
        for step, at in list(zip(report.steps, best, strict=True))[-LINKED:]
    ]
    labels = [(x.end + 6, best[-1][1], exact(report.steps[-1].value), "mark")]
    if band:
        left, text = x(band.draws[-1]) + 6, exact(band.mean[-1])
        taken = [(best[-1][1], best[-1][1])]
        if left < x.end + 6:  # in the chart: beside the lines that are there
            text = text if band.draws[-1] >= 0.8 * last else "random"
            taken += [(y(tick), y(tick)) for tick in y.ticks(24)]
            at_left = [a for a in best if a[0] <= left][-1:]
            passed = [*at_left, *(a for a in best if left < a[0] < left + WIDE)]
            taken += [(a[1], b[1]) for a, b in zip(passed, [*passed[1:], *passed[-1:]], strict=True)]
        labels.append((left, free(y(band.mean[-1]), taken, y.end, y.start - LINE / 2), text, "mark chance-text"))
    marks += [
        f'<text class="{kind}" x="{place(left)}" y="{place(at)}" dy=".32em">{text}</text>'
        for left, at, text, kind in labels
    ]
    first, final = (exact(step.value) for step in (report.steps[0], report.steps[-1]))
    words = f"Best {report.metric} so far: {first} at first, {final} after {last} evaluations"
    if band:
        words += f"; random draws: {exact(band.mean[-1])} expected after {band.draws[-1]}"
    return chart(
        width, height, "".join(marks), "progress", f"{words}. The tables below hold the numbers.", x, y, "number"
    )


def _cloud(report: Report, against: str = "") -> list[tuple[float, float]]:
    """(number, fitness) of the candidates that are shown, or what they have of `against` and their fitness."""
    run = report.run
    shown = np.array(report.shown, dtype=np.int64)
    values, places = run.measured(report.metric)[shown], run.measured(against)[shown] if against else shown
    there = run.comparable[shown] & ~np.isnan(values) & ~np.isnan(places)
    return list(zip(places[there].tolist(), values[there].tolist(), strict=True))


def _outside(report: Report) -> str:
    """How many candidates the chart's axis has no room for, in words; empty for none."""
    values = report.run.measured(report.metric)
    values = values[~np.isnan(values)]
    left_out = len(values) - len(without_outliers(values, report.sign))
    return "" if not left_out else "One candidate is" if left_out == 1 else f"{left_out:,} candidates are"


def _progress_words(report: Report) -> str:
    run = report.run
    first = "Solid: the best so far; each dot is a candidate."
    if len(report.shown) < run.evaluated:
        first += f" The dots, as what the page lists, are an even choice of {len(report.shown):,} of {run.evaluated:,}."
    sample, source = report.sample
    if outside := _outside(report):
        first += f" {outside} worse than the axis shows, and drawn at its edge."
    if report.band is None:
        return f"{first} There is no random sample to compare with; give one with <code>--baseline RUN</code>."
    n = sample.size
    failed = f", {sample.failed} of them failed and counted as the worst score" if sample.failed else ""
    words = (
        f"{first} Dashed: what the best of as many <em>random</em> draws comes to in expectation; the band around it "
        f"holds 90 of 100 such random searches (5th to 95th percentile). Both are those of independent draws from {n} "
        f"random scores{failed}: {source}."
    )
    if report.band.draws[-1] < run.evaluated:
        words += (
            f" They end at {report.band.draws[-1]} draws, since {n} samples say nothing of more; a run with "
            f"<code>--strategy random</code>, given as <code>--baseline</code>, reaches further."
        )
    gain = _against_random(report)
    return words + (f" {gain}" if gain else "")


def _against_random(report: Report) -> str:
    """The best against the mean random network: RI of Yang et al. 2020."""
    values = report.sample[0].values
    mean = sum(values) / len(values) if values else 0.0
    if not mean or report.run.config["search"]["strategy"] == "random":
        return ""
    gained = 100 * report.sign * (report.steps[-1].value - mean) / abs(mean)
    return (
        f"Against the mean random network ({exact(mean)}) the best one is a relative improvement of "
        f"<strong>{gained:+.1f}\u00a0%</strong> (RI, Yang et al. 2020), on the validation split that it was "
        f"selected by."
    )


def _band_table(report: Report) -> str:
    band = report.band
    if band is None:
        return ""
    picked = (
        sorted({round(i * (len(band.draws) - 1) / 9) for i in range(10)})
        if len(band.draws) > 10
        else range(len(band.draws))
    )
    best = {step.at: step.value for step in report.steps}
    rows = []
    for index in picked:
        n = band.draws[index]
        so_far = [value for at, value in best.items() if at <= n]
        shown = (
            exact(v) for v in (so_far[-1] if so_far else None, band.mean[index], band.low[index], band.high[index])
        )
        rows.append((str(n), *shown))
    names = ("evaluations", "this run", "random, expected", "5th percentile", "95th percentile")
    return folded(
        "Against random draws as a table",
        table(f"Best {escape(report.metric)} after so many evaluations", names, rows),
    )


def _axis(report: Report, y: Scale) -> str:
    better = "larger" if report.sign > 0 else "smaller"
    spread = {"linear": "", "log": ", logarithmic", "error": ", spread towards 1"}[y.kind]
    return f"{report.metric} ({better} is better{spread})"


def trade_offs(report: Report) -> str:
    if not report.fronts:
        return ""
    charts = "".join(_front_chart(report, against, unit(against)) for against in report.fronts)
    text = paragraph(
        "Each dot is a candidate. The line joins those that no other beats in both: the Pareto front. "
        "Choose a point to see its architecture."
    )
    return f'{text}<div class="trio">{charts}</div>'


def _front_chart(report: Report, against: str, words: str) -> str:
    width, height, front, run = 400, 310, report.fronts[against], report.run
    values, costs = run.measured(report.metric)[run.comparable], run.measured(against)[run.comparable]
    both = ~np.isnan(values) & ~np.isnan(costs)
    values, costs = values[both], np.maximum(costs[both], 0.0)
    least = float(costs[costs > 0].min()) if (costs > 0).any() else 1.0
    spread = bool(costs.max() > 30 * least)
    x = fitting(np.maximum(costs, least) if spread else costs, 58, width - 14, "log" if spread else "linear")
    y = fitting(without_outliers(values, report.sign), height - 48, 26)
    line = [(x(measured(one, against) or least), y(measured(one, report.metric) or 0.0)) for one in front]
    marks = [
        axes(x, y, words + (", logarithmic" if spread else ""), _axis(report, y)),
        f'<path class="cloud" d="{dots([(x(cost), y(value)) for cost, value in _cloud(report, against)])}"/>',
        f'<path class="front" d="{path(line)}"/>' if len(line) > 1 else "",
    ]
    shown = list(zip(front, line, strict=True))
    shown = shown if len(shown) <= LINKED else shown[:: len(shown) // LINKED + 1]
    marks += [
        point(
            one.number,
            at,
            f"candidate {one.number}: {report.outcome(one)}, {count(measured(one, against) or 0)} {words}",
        )
        for one, at in shown
    ]
    text = (
        f"Pareto front of {report.metric} against {words}: {len(front)} of {len(values)} candidates. "
        f"The table below lists them."
    )
    rows = [
        (link(one.number), exact(measured(one, report.metric)), exact(measured(one, against)), escape(one.operator))
        for one in front
    ]
    listed = table(
        f"The front of {escape(report.metric)} and {words}",
        ("candidate", escape(report.metric), words, "made by"),
        rows,
    )
    drawn = chart(width, height, "".join(marks), f"pareto-{against}", text, x, y, against)
    return figure(drawn, f"Against {words}: {len(front)} on the front.", folded("As a table", listed))
