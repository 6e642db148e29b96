"""What the operators and the words of the grammar earned; what failed and what was spared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from evosearch.report import figures
from evosearch.report.figures import Earned, number
from evosearch.report.page.markup import heat, link, paragraph, table
from evosearch.report.page.svg import (
    escape,
    place,
)

if TYPE_CHECKING:
    from evosearch.report.page.facts import Report

WORDS, STATES = 24, 24  # rows of the tables of words and of the Q-table
LEAST_TRIED = 3  # offspring below which a word's mean says nothing
EXAMPLES = 3  # error texts shown of each kind of failure


def earned(report: Report) -> str:
    if not report.rewards:
        return ""
    intro = paragraph(
        "An offspring earns its mutation the rise in rank from its parent to it, among the latest scores: 0 for one "
        "that is no better or fails, 1 for one that goes from last to first."
    )
    operators = figures.earned_by_operator(report.run, report.rewards)
    over_time = _over_time(
        report,
        "What the mutations and crossovers earned: mean reward, and how many offspring in small",
        "operator",
        operators,
    )
    words = [entry for entry in figures.earned_by_word(report.run, report.rewards) if entry.tried >= LEAST_TRIED]
    shown = words[:WORDS]
    rest = f", the {len(shown)} best of {len(words)}" if len(words) > len(shown) else ""
    if len(report.rewards) > figures.WORDED:
        rest += f"; by an even choice of {figures.WORDED:,} of {len(report.rewards):,} offspring"
    by_word = _over_time(
        report,
        f"What the words of the grammar earned where an offspring has more of them than its parent{rest}",
        "word",
        shown,
    )
    return (
        intro
        + _q_table(report)
        + "<h3>Over time</h3>"
        + over_time
        + (f"<h3>Alternatives of the grammar</h3>{by_word}" if shown else "")
    )


def _q_table(report: Report) -> str:
    table_of = report.state.get("policy")
    policy = report.run.config["search"].get("policy", "q")
    if not isinstance(table_of, Mapping) or not table_of:
        return (
            ""
            if report.state
            else paragraph("The policy's table is kept in the checkpoint, and there is none yet.", "soft")
        )
    names = {
        "q": "Q-learning",
        "uniform": "uniform choice",
        "ratio": "the HHNAS ratio",
        "matching": "probability matching",
        "pursuit": "adaptive pursuit",
        "dmab": "D-MAB",
    }
    actions = sorted({action for arms in table_of.values() for action in arms})
    most = max((number(arm[0]) or 0.0 for arms in table_of.values() for arm in arms.values()), default=0.0)
    trials = {state: sum(number(arm[1]) or 0 for arm in arms.values()) for state, arms in table_of.items()}
    rows = []
    for state in sorted(table_of, key=lambda state: (-trials[state], state))[:STATES]:
        cells = []
        for action in actions:
            arm = table_of[state].get(action)
            value = number(arm[0]) if arm else None
            cells.append(heat(value, most, int(number(arm[1]) or 0) if arm else 0))
        rows.append((escape(state) or "everywhere", *cells))
    done = report.state.get("folded")
    left_out = f" The {STATES} states tried most of {len(table_of)} are shown." if len(table_of) > STATES else ""
    words = paragraph(
        f"The table of {escape(names.get(policy, policy))} after {escape(done)} scores: what it expects of each "
        f"mutation, and how often it tried it; duplicates and mutations that could not be applied count as trials that "
        f"earned nothing.{left_out}"
    )
    caption = (
        "Estimated reward of each mutation, by state of the search"
        if len(table_of) > 1
        else "Estimated reward of each mutation"
    )
    return f"<h3>What the search learned</h3>{words}" + table(
        caption, ("state", *map(escape, actions)), rows, "heat-map chart-table", "q-table"
    )


def _over_time(report: Report, caption: str, first: str, rows: Sequence[Earned]) -> str:
    total = len(report.run.columns)
    most = max((reward / tried for entry in rows for tried, reward in entry.over_time if tried), default=0.0)
    starts = [-(-index * total // figures.BUCKETS) for index in range(figures.BUCKETS)]
    header = (first, "all", *(f"from {start}" for start in starts))
    lines = []
    for entry in rows:
        cells = [heat(entry.mean, most, entry.tried)]
        cells += [heat(reward / tried if tried else None, most, tried) for tried, reward in entry.over_time]
        lines.append((escape(entry.name), *cells))
    return table(caption, header, lines, "heat-map chart-table")


def losses(report: Report) -> str:
    return _failures(report) + _redraws(report)


def _failures(report: Report) -> str:
    failed, evaluated = report.run.failures(), report.run.evaluated
    if not failed:
        return paragraph(f"None of {evaluated:,} evaluations failed.")
    kinds = Counter(failed).most_common()
    rows = []
    for kind, times in kinds:
        share = 100 * times / kinds[0][1]
        bar = (
            '<td class="bar-cell"><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect width="{place(share)}" height="10" rx="2"/></svg></td>'
        )
        told = [(text, *found) for (status, text), found in report.run.columns.messages.items() if status == kind]
        shown = "<br>".join(
            f"{escape(_cut(text, 240))} ({n}×, {link(first)})"
            for text, n, first in sorted(told, key=lambda one: (-one[1], one[2]))[:EXAMPLES]
        )
        rows.append((escape(kind), f"{times:,}", bar, f'<td class="text">{shown}</td>'))
    names = ("kind", "candidates", "share", "commonest messages, with their first candidate")
    total = sum(failed.values())
    return paragraph(f"{total:,} of {evaluated:,} evaluations failed ({100 * total / evaluated:.1f} %).") + table(
        "Failures by kind", names, rows, "chart-table", "failures"
    )


def _redraws(report: Report) -> str:
    tallies = report.state.get("tallies")
    if not isinstance(tallies, Mapping) or not tallies:
        return paragraph(
            "What was redrawn before it cost anything is kept in the checkpoint, and there is none yet.", "soft"
        )
    counted = ("calls", "proposed", "duplicates", "over_limit", "invalid", "inapplicable", "failed", "improved")
    totals = {name: figures.tally(report.state, name) for name in counted}
    rows = [
        (escape(name), *(f"{int(number(tally.get(column)) or 0):,}" for column in counted))
        for name, tally in sorted(tallies.items())
    ]
    rows.append(("all", *(f"{totals[column]:,}" for column in counted)))
    columns = report.run.columns
    known = int((columns.status("ok") & (columns.seconds == 0)).sum())
    words = (
        f"{totals['duplicates']:,} candidates were recognised as known and drawn again before any work was done"
        f"{', ' + report.time_saved() if totals['duplicates'] else ''}. {totals['over_limit']:,} were over a limit, "
        f"and {totals['invalid']:,} did not fit their shapes; these were drawn again as well."
    )
    if known:
        words += f" {known:,} scores were known from other runs on this machine and took no time."
    header = (
        "operator",
        "calls",
        "proposed",
        "duplicate",
        "over a limit",
        "shapes do not fit",
        "not applicable",
        "failed",
        "better than its parent",
    )
    return paragraph(words) + table(
        f"What became of each operator's calls, after {escape(report.state.get('evaluated'))} scores",
        header,
        rows,
        id="redraws",
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
