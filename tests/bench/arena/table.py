"""docs/arena.md, made of the rows: figures, mean ranks, and what evolution earned over random search.

Intervals are Student's over the means of few draws (two to eight values), so they are wide, and say so.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.arena import arms, sets

PAGE = Path(__file__).resolve().parents[3] / "docs" / "arena.md"
OURS, RANDOM = arms.SEARCHES
NONE = "–"

Rows = Sequence[Mapping[str, Any]]
Figures = Mapping[tuple[str, str], Mapping[int, Mapping[str, Any]]]  # (set, column) -> seed -> row

INTRODUCTION = """\
# The arena

What comes of a data set and a few minutes: evosearch beside what a person would use instead, on real data. All arms fit
on the same rows and are judged once on the same test rows, three draws of each data set. `evosearch` is
`evolve run --task FILE --time 3m` with nothing else said, `random search` the same with `--strategy random`; the other
arms are scikit-learn's with its defaults, and for each mode of input one network written by hand, with one recipe
(`tests/bench/arena/networks.py`, fixed before the arena was first run). `make arena` measures what is not there yet and
writes this page.
"""


EARNED = """\
Both searches share recipes, folds, held-out choices and ensembles; random search has samples where evolution begins
with seeds. Of three draws of each set evolution is significantly behind nowhere: ahead in the mean on six, level on
breast cancer in every draw, 0.001 behind on ItalyPowerDemand. What it earns is that no draw goes wrong: where three
minutes have time for one to eight candidates, random search came to 1.0, 0.997 and 0.797 on digits, 0.851, 0.777 and
0.766 on ArrowHead, 0.853, 0.897 and 0.915 on Fashion-MNIST, evolution to 0.997 to 1.0, 0.857 to 0.869 and 0.917 to
0.922. Where there is time for hundreds, the two are alike: on Adult evolution is ahead in each draw, by 0.0004 to
0.0011; on wine and diabetes by less than the noise. The best single network was one of the seeds in 21 of 25
searches, a relative of one in four. So in minutes, what is earned comes from the seeds, their recipe and the
ensemble. Evolution earns where samples are poor: with einspace, from samples alone and half of the digits held out
for the test (`make demo`), the best of 20 samples has 0.9136 on validation, and what 80 candidates found has 0.9415.

In the mean of the draws evosearch is ahead of the network by hand on all eight, by 0.003 to 0.036; of linear it is
ahead by 0.003 to 0.13 on six, and behind on breast cancer by 0.009 (0.005; a row of 114 is 0.009) and on diabetes by
0.021 (0.027). The rows are of several days' commits, which stand below.
"""


FIGURES = """\
Accuracy, for diabetes r2; the mean over draws, ± its standard error, and the seconds that one took: of a search by the
clock, of what runs on one thread on its processor, which other work may share.
"""


def page(rows: Rows) -> str:
    """The whole page."""
    found = _figures(rows)
    if not found:
        return f"{INTRODUCTION}\nNothing is measured yet.\n"
    columns = sorted({column for _, column in found}, key=_place)
    names = [name for name in sets.names() if any(name == there for there, _ in found)]
    absent = [name for name in sets.names() if name not in names]
    parts = [
        INTRODUCTION,
        "## Test figures\n",
        FIGURES,
        table(["", *names], [[column, *(cell(found.get((name, column))) for name in names)] for column in columns]),
        *([f"Not measured: {', '.join(absent)}.\n"] if absent else []),
        "## Mean rank\n",
        _ranks(found, names, columns),
        "## Evolution and random search\n",
        _against_random(found, names, columns),
        EARNED,
        "## Where and when\n",
        _provenance(rows),
    ]
    return "\n".join(parts)


def _figures(rows: Rows) -> Figures:
    found: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["set"], _column(row)), {})[row["seed"]] = row
    return found


def _column(row: Mapping[str, Any]) -> str:
    return f"{row['arm']}, {row['time']}" if row["time"] else str(row["arm"])


def _place(column: str) -> tuple[int, str]:
    """Searches first, then the others as they are measured."""
    arm, _, time = column.partition(", ")
    order = [*arms.SEARCHES, *(name for name in arms.names() if name not in arms.SEARCHES)]
    return order.index(arm), time


def cell(found: Mapping[int, Mapping[str, Any]] | None) -> str:
    """The mean of rows by seed, with its standard error and the mean seconds."""
    if not found:
        return NONE
    values = [row["value"] for row in found.values()]
    clock = "seconds" if any(row["time"] for row in found.values()) else "cpu_seconds"
    seconds = statistics.fmean(row[clock] for row in found.values())
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{error} ({seconds:.0f} s)"


# --- ranks ----------------------------------------------------------------------------------------------------------


def ranks(found: Figures, names: Sequence[str], columns: Sequence[str]) -> dict[str, list[float]]:
    """Each column's rank in each set, 1 the best, ties shared: the mean over the seeds that all columns have.

    Sets in which a column has no figure in common with the others are left out for all.
    """
    from scipy.stats import rankdata

    ranked: dict[str, list[float]] = {column: [] for column in columns}
    for name in names:
        seeds = set.intersection(*(set(found.get((name, column), {})) for column in columns))
        if not seeds:
            continue
        values = [[-found[name, column][seed]["value"] for column in columns] for seed in sorted(seeds)]
        means = rankdata(values, axis=1).mean(0)
        for column, rank in zip(columns, means, strict=True):
            ranked[column].append(float(rank))
    return ranked


def _ranks(found: Figures, names: Sequence[str], columns: Sequence[str]) -> str:
    """Of the columns that have figures in as many sets as the fullest has; the others are named."""
    counts = {column: sum((name, column) in found for name in names) for column in columns}
    full = [column for column in columns if counts[column] == max(counts.values())]
    ranked = ranks(found, names, full)
    number = len(ranked[full[0]])
    lines = [[column, _with_interval(ranked[column], 2)] for column in sorted(full, key=lambda c: sum(ranked[c]))]
    head = f"Of {len(full)} arms, over {number} data sets, with its 95 % interval; 1 is the best.\n"
    without = [column for column in columns if column not in full]
    left = f"\nNot ranked, since it has no figure for every data set: {', '.join(without)}.\n" if without else ""
    return f"{head}\n{table(['arm', 'mean rank'], lines)}{left}"


def _with_interval(values: Sequence[float], digits: int) -> str:
    """The mean, and its 95 % interval where there are two values or more."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    half = half_width(values)
    return f"{mean:.{digits}f} ({mean - half:.{digits}f} to {mean + half:.{digits}f})"


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean (Student's t)."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


# --- evolution ------------------------------------------------------------------------------------------------------


def _against_random(found: Figures, names: Sequence[str], columns: Sequence[str]) -> str:
    lines = []
    for column in columns:
        if not column.startswith(OURS):
            continue
        beside = column.replace(OURS, RANDOM, 1)
        for name in names:
            ours, theirs = found.get((name, column), {}), found.get((name, beside), {})
            differences = [ours[seed]["value"] - theirs[seed]["value"] for seed in sorted({*ours} & {*theirs})]
            if differences:
                grain = one_row(next(iter(ours.values())))
                lines.append([name, column, signed(differences), verdict(differences, grain)])
    if not lines:
        return "Not measured yet.\n"
    head = "The search's figure less random search's, draw by draw: its mean, and the mean's 95 % interval.\n"
    return f"{head}\n{table(['data set', 'search', 'difference', ''], lines)}"


def signed(values: Sequence[float]) -> str:
    """The mean of differences with its sign, and its 95 % interval where there are two or more."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:+.4f}"
    half = half_width(values)
    return f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f})"


def one_row(row: Mapping[str, Any]) -> float:
    """What one test row more is to a figure that counts them; 0 to any other."""
    return 1 / row["rows"][1] + 1e-6 if row["metric"] == "accuracy" else 0.0  # figures are kept to six digits


def verdict(values: Sequence[float], grain: float = 0.0) -> str:
    """What differences from random search say of evolution; nothing of two, which may be equal by chance, and nothing
    where they come to no more than one test row, be they ever so equal. grain: as `one_row` has it.
    """
    if len(values) < 3:
        return "one draw" if len(values) == 1 else "two draws"
    mean, half = statistics.fmean(values), half_width(values)
    if abs(mean) <= max(half, grain):
        return "no difference beyond noise"
    return "evolution earned it" if mean > 0 else "worse than random search"


# --- provenance -----------------------------------------------------------------------------------------------------


def _provenance(rows: Rows) -> str:
    """Dates, machines and versions of all rows."""
    dates = sorted({row["date"] for row in rows})
    machines = sorted({f"{row['machine']['processor']}, {row['machine']['cores']} cores" for row in rows})
    versions = sorted({", ".join(f"{name} {v}" for name, v in row["versions"].items()) for row in rows})
    loads = [row["machine"]["load"] for row in rows]
    search = [row["machine"]["load"] for row in rows if row["arm"] in arms.SEARCHES]
    busy = f" ({min(search):.1f} to {max(search):.1f} as searches began)" if search else ""
    return "\n".join(
        [
            f"- measured {dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else ""),
            *(f"- {machine}" for machine in machines),
            f"- load of the machine as a measurement began: {min(loads):.1f} to {max(loads):.1f}{busy}",
            *(f"- {version}" for version in versions),
            *_commits(rows),
            "- every row, with its commit and its processor seconds: `tests/bench/arena/rows.jsonl`\n",
        ]
    )


def _commits(rows: Rows) -> list[str]:
    """Which version of the searches each figure is of: the defaults change, and figures of before say less then."""
    sets: dict[str, list[str]] = {}
    for row in rows:
        if row["arm"] in arms.SEARCHES and "commit" in row:
            sets.setdefault(row["commit"], []).append(row["set"])
    return [f"- searches at {commit}: {', '.join(dict.fromkeys(names))}" for commit, names in sets.items()]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines)) + "\n"
