"""The winner as a drawing, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evosearch.errors import EvosearchError
from evosearch.report import figures
from evosearch.report.ancestry import TOKEN
from evosearch.report.figures import measured, number
from evosearch.report.page.facts import ANCESTORS, ends_of
from evosearch.report.page.markup import facts, figure, folded, link, paragraph, region, table
from evosearch.report.page.svg import (
    Scale,
    escape,
    exact,
    picture,
    place,
    point,
    short_number,
)
from evosearch.report.text import count

if TYPE_CHECKING:
    from evosearch.report.page.facts import Report
    from evosearch.report.reading import Candidate

LABEL = 14  # units of the drawing that a label takes of its height, with room


def architecture(report: Report) -> str:
    one = report.winner
    if one is None:
        return ""
    cost = [
        ("candidate", link(one.number)),
        (escape(report.metric), exact(measured(one, report.metric))),
        *((f"test {escape(n)}", exact(number(v))) for n, v in _items(report.run.metrics.get("test"))),
        *(
            (name, exact(measured(one, key)))
            for name, key in (("parameters", "params"), ("FLOPs", "flops"), ("activations", "activations"))
        ),
        ("made by", escape(one.operator)),
        ("key", escape(one.key)),
    ]
    drawing, listing = _drawn(report, one)
    text = f"<h3>As text</h3>{region(escape(one.text), 'Text of the winner', 'long', 'pre')}"
    return facts((name, value) for name, value in cost if value != "–") + drawing + listing + text


def _drawn(report: Report, one: Candidate) -> tuple[str, str]:
    """The drawing with its words, and the table of its layers; why there is none, where there is none."""
    if report.run.header.get("input") is None or report.run.header.get("grammar_file") is None:
        return "", ""
    if isinstance(report.space, str):
        return paragraph(f"It is not drawn: {escape(report.space)}"), ""
    try:
        architecture = report.space.read(report.space.parse(one.text))
    except EvosearchError as error:
        return paragraph(f"It is not drawn: {escape(error)}"), ""
    from evosearch.report.tree import rows

    layers = rows(architecture)
    listed = [
        (
            escape(f"{'· ' * row['depth']}{row['layer']}"),
            escape(row["shape"]),
            f"{row['params']:,}",
            f"{row['flops']:,}",
        )
        for row in layers[:1000]
    ]
    more = f" (the first 1,000 of {len(layers):,})" if len(layers) > 1000 else ""
    caption = f"Layer by layer, with what each costs with its parts{more}"
    listing = folded("The layers as a table", table(caption, ("layer", "output shape", "parameters", "FLOPs"), listed))
    words = (
        "From the input at the top to the output. Shapes are without the batch axis; the stronger a box is tinted, the "
        "larger its share of the parameters. FLOPs are two for each multiply-accumulate of linear, convolution and "
        "dot-product layers."
    )
    return figure(region(report.drawing(one), "Drawing of the winner", "drawn"), words), listing


def descent(report: Report) -> str:
    if report.winner is None:
        return ""
    known, main = report.known, report.main_line
    if len(known) == 1:
        return paragraph(
            f"The winner {link(report.winner.number)} has no parents: it is a seed or a sample, made by "
            f"{escape(report.winner.operator)}."
        )
    words = (
        f"The winner and its {len(known) - 1} ancestors. The line is its main descent: of two parents, the one that it "
        f"is more like. The others came in by crossover."
    )
    chart = _tree_chart(report, known, main) if len(known) <= ANCESTORS else ""
    left_out = "" if chart else " There are too many to draw."
    shown = ends_of(main)
    note = (
        ""
        if len(shown) == len(main)
        else paragraph(f"{len(main) - len(shown)} generations in the middle are left out.", "soft")
    )
    line = set(main)
    listed = "".join(f"<li>{_generation(report, one, line)}</li>" for one in report.run.candidates.at(shown))
    return figure(chart, words + left_out) + note + f'<ol class="generations">{listed}</ol>'


def _tree_chart(report: Report, known: Sequence[figures.Ancestor], main: Sequence[int]) -> str:
    deepest = max(entry.generation for entry in known)
    line = set(main)
    wide, narrow = ((width, min(90 + 46 * deepest, 620)) for width in (1000, 400))
    return "".join(
        f'<div class="{kind}">{_tree(report, known, line, deepest, *size)}</div>'
        for kind, size in (("wide", wide), ("narrow", narrow))
    )


def _tree(
    report: Report, known: Sequence[figures.Ancestor], line: set[int], deepest: int, width: int, height: int
) -> str:
    last = known[-1].number
    x = Scale("linear", 0, max(last + 1, 2), 40, width - 70)
    y = Scale("linear", 0, max(deepest, 1), 24, height - 52)
    where = {entry.number: (x(entry.number + 1), y(entry.generation)) for entry in known}
    marks = [
        f'<text class="tick" x="28" y="{place(y(g))}" dy=".32em" text-anchor="end">{g}</text>'
        for g in range(0, deepest + 1, max(1, deepest // 10))
    ]
    marks += [
        f'<text class="tick" x="{place(x(n))}" y="{height - 26}" text-anchor="middle">{short_number(n)}</text>'
        for n in x.ticks(46)
    ]
    words = f"down: generation; across: evaluations; at the right: {escape(report.metric)} of the main line"
    marks.append(f'<text class="label" x="4" y="{height - 6}">{words}</text>')
    edges = []
    for entry in known:
        for parent in entry.parents:
            (ax, ay), (bx, by) = where[parent], where[entry.number]
            kind = "edge main" if {parent, entry.number} <= line else "edge"
            middle = place((ay + by) / 2)
            edges.append(
                f'<path class="{kind}" d="M{place(ax)} {place(ay)}C{place(ax)} {middle} {place(bx)} {middle} '
                f'{place(bx)} {place(by)}"/>'
            )
    marks += sorted(edges, key=lambda edge: "main" in edge)
    labelled = -math.inf
    for entry in known:
        one = report.run.candidates[entry.number]
        words = f"candidate {one.number}, generation {entry.generation}, {one.operator}: {report.outcome(one)}"
        marks.append(point(one.number, where[one.number], words, "step" if one.number in line else "side"))
        height_of = y(entry.generation)
        if one.number in line and height_of - labelled >= LABEL:  # in the margin, where no line is
            labelled = height_of
            marks.append(
                f'<text class="tick" x="{place(x.end + 11)}" y="{place(height_of)}" dy=".32em">'
                f"{exact(measured(one, report.metric))}</text>"
            )
    text = (
        f"Tree of the winner's {len(known) - 1} ancestors in {deepest} generations. The list below tells its main line."
    )
    return picture(width, height, "".join(marks), name="tree", text=text, links=True)


def _generation(report: Report, one: Candidate, line: Container[int]) -> str:
    made_of = figures.parents(report.run, one)
    before = next((parent for parent in made_of if parent.number in line), None)
    mates = [parent for parent in made_of if parent is not before]
    words = f"<strong>{link(one.number)}</strong> {escape(one.operator)}"
    words += "".join(f" with {link(mate.number)}" for mate in mates)
    words += f": {escape(report.outcome(one))}"
    if before is None:
        return words + region(escape(one.text), f"Text of candidate {one.number}", "code")
    was, now = measured(before, report.metric), measured(one, report.metric)
    if was is not None and now is not None and now != was:
        kind = "gain" if report.sign * (now - was) > 0 else "loss"
        words += f' <span class="{kind}">{"+" if now > was else "−"}{exact(abs(now - was))}</span>'
    size, size_before = measured(one, "params"), measured(before, "params")
    if size and size_before:
        words += f', <span class="soft">{count(size)} parameters, before {count(size_before)}</span>'
    return words + region(changes(before.text, one.text), f"What changed in candidate {one.number}", "code")


def changes(before: str, after: str) -> str:
    """What became of a text, as markup: del and ins; long unchanged stretches are cut short."""
    import difflib

    a, b = TOKEN.findall(before), TOKEN.findall(after)
    found = []
    for kind, a_from, a_to, b_from, b_to in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        gone, new = "".join(a[a_from:a_to]), "".join(b[b_from:b_to])
        if kind == "equal":
            found.append(escape(gone if len(gone) <= 90 else f"{gone[:40]} … {gone[-40:]}"))
            continue
        found.append(f"<del>{escape(gone)}</del>" if gone else "")
        found.append(f"<ins>{escape(new)}</ins>" if new else "")
    return "".join(found)


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []
