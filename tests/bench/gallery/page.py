"""docs/gallery.md and docs/gallery/*.svg, made of the grammars, their seeds, the published counts and the rows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from evosearch import grammar
from evosearch.architecture import Architecture, Space
from evosearch.grammar.core import Grammar
from evosearch.layers import vocabulary
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.shapes import Shape, show
from evosearch.report.page.drawing import standalone
from evosearch.report.text import count
from tests.bench.arena.table import cell, one_row, signed, table, verdict
from tests.bench.gallery import searches
from tests.bench.resumable import read
from tests.published import PUBLISHED, Published
from tests.spaces import GRAMMARS, SHAPES, language_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "gallery.md"
SAMPLES = 60  # of each grammar, for the sizes that the page states and the sample that it draws
MODES = {"image": "Images", "column": "Sequences", "vector": "Tables"}
NONE = "–"

INTRODUCTION = """\
# The gallery

What the literature builds, said in grammars: each grammar that comes with evosearch, with a sample of it and its seeds,
which are known networks as sentences. Search in one with `evolve run --grammar NAME`, look at more samples with
`evolve sample NAME -n 12 --svg samples.svg`, start from a seed with `--start grammars/seeds/GRAMMAR/NAME.arch`.
`make gallery` writes this page.

**Published and counted.** Parameters are trainable scalars with the head that the paper has; GFLOPs are 2e-9 times
multiply-accumulates of one example, where somebody published a count of the same operations. *Top-1 error* is the
paper's own figure on ImageNet, noted here to tell what the network was for; nothing on this page was trained to it.

**Checked here**, by tests: each seed's parameters are the published ones, exactly, or differ by what is said below its
table; its FLOPs are them to a thousandth of a GFLOP where they were published. The parameters, outputs and FLOPs of
every word are torch's own; what backward saves is within a factor of 1.5 of what autograd saves. Exceptions: an LSTM is
compared without oneDNN, in which torch counts nothing of it and saves more; attention by its plain kernel, since fused
ones are not counted. Fourier transforms and what recurrences do number by number are no FLOPs here, as they are none of
torch's counter. Attention, encoder layers and recurrent layers compute what torch's do, ResNet-50, MBConv, ConvNeXt and
Swin's block what they do written by hand, linear attention, recurrences and DARTS's cells what plain loops do, splines,
cosine and Fourier transforms what scipy's and numpy's do; each with the same weights in float64. `make slow` reads,
builds and runs 5,000 samples of every grammar, and exports every seed to pt2 and ONNX, where it has to answer alike.
"""

SEARCHED = """\
## Searches in them

What evolution (the default strategy, `aging`) and random search found in three minutes in each grammar for images,
beginning with samples alone and without an ensemble, with one recipe and limit for all
(`tests/bench/gallery/searches.py`), on at most 2,000 images, drawn by class: accuracy on the test rows, the mean over
draws, ± its standard error (and the seconds that one took), and how many candidates each evaluated. The first 20 of
evolution are samples of the grammar, its population, so with little more than that it is random search as well. The
difference is evolution less random search, draw by draw, with its 95 % interval; one test row on average is noise.
`make gallery GALLERY_FLAGS=--measure` measures what is not there yet.
"""


def write() -> None:
    """Write the page, and a drawing for each grammar beside it."""
    folder = PAGE.with_suffix("")
    folder.mkdir(exist_ok=True)
    for name, picture in drawings().items():
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
    PAGE.write_text(page(read(searches.FILE)), encoding="utf-8")


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for mode, title in MODES.items():
        parts.append(f"## {title}\n")
        parts += ["\n".join(_section(name)) for name in sorted(SHAPES) if _read(name).input == mode]
    parts += [SEARCHED, _searched(rows)]
    return "\n".join(parts)


def drawings() -> dict[str, str]:
    """The sample of each grammar that the page shows, as SVG."""
    return {name: standalone(_typical(name)) for name in SHAPES}


# --- grammars -------------------------------------------------------------------------------------------------------


@cache
def _read(name: str) -> Grammar:
    return grammar.load(GRAMMARS / f"{name}.lark")


@cache
def _space(name: str, shape: Shape, outputs: int | None) -> Space:
    read = _read(name)
    return Space(read, vocabulary(read), shape, head=None if outputs is None else MeanLinear(outputs))


@cache
def _samples(name: str) -> tuple[Architecture, ...]:
    """By their parameters, the smallest first."""
    there, rng = _space(name, SHAPES[name], None), np.random.default_rng(0)
    drawn = [there.read(there.draw(rng)) for _ in range(SAMPLES)]
    return tuple(sorted(drawn, key=lambda one: one.cost.params))


def _typical(name: str) -> Architecture:
    """Of the samples with about the median of parameters one with a shorter text than most: a page has room for it."""
    middle = sorted(_samples(name)[SAMPLES * 2 // 5 : SAMPLES * 3 // 5], key=lambda one: (len(one.text), one.text))
    return middle[len(middle) // 3]


def header(text: str) -> tuple[str, str]:
    """What a grammar's opening comment says it is for, and where it is from (empty where it does not say)."""
    lines = [line[2:] for line in itertools.takewhile(lambda line: line.startswith("//"), text.splitlines())]
    paragraphs = [
        " ".join(line.strip() for line in block)
        for blank, block in itertools.groupby(lines, lambda line: not line.strip() or line.startswith("   "))
        if not blank
    ]
    sources = [one for one in paragraphs if re.search(r"arXiv|\b(19|20)\d\d\b", one)]
    about = next((one for one in paragraphs if not one.startswith("input:")), "")
    return about, " ".join(one for one in sources if one != about)


def _section(name: str) -> Iterator[str]:
    about, sources = header((GRAMMARS / f"{name}.lark").read_text(encoding="utf-8"))
    drawn, sample = _samples(name), _typical(name)
    sizes = [drawn[at].cost for at in (SAMPLES // 20, SAMPLES // 2, SAMPLES * 19 // 20)]
    params = " / ".join(count(cost.params) for cost in sizes)
    yield f"### {name}\n"
    yield f"{about}\n"
    if sources:
        yield f"{sources}\n"
    yield f"Samples at {show(SHAPES[name])} have {params} parameters (5, 50 and 95 % of {SAMPLES}). One of them:\n"
    yield f"![a sample of {name}](gallery/{name}.svg)\n"
    yield f"    {sample.text}\n"
    seeds = [*_published(name), *_own(name)]
    if seeds:
        head = ["seed", "input", "parameters published", "counted", "GFLOPs published", "counted", "by", "top-1 error"]
        yield table(head, seeds)
    yield from (f"\n{row.seed}: {row.why}." for row in PUBLISHED if row.grammar == name and row.why)


def _published(name: str) -> Iterator[list[str]]:
    for row in PUBLISHED:
        if row.grammar == name:
            cost = _seed(row).cost
            published = NONE if row.gflops is None else f"{row.gflops:.3f}"
            counts = [f"{row.stated or row.params:,}", f"{cost.params:,}", published, f"{cost.flops / 1e9:.3f}"]
            yield [row.seed, show(row.shape), *counts, row.source, row.claim or NONE]


def _seed(row: Published) -> Architecture:
    there = _space(row.grammar, row.shape, row.outputs)
    return there.read(there.parse((GRAMMARS / "seeds" / row.grammar / f"{row.seed}.arch").read_text(encoding="utf-8")))


def _own(name: str) -> Iterator[list[str]]:
    """Seeds that nobody published as they are, without a head."""
    for path in sorted((GRAMMARS / "seeds").glob("*.arch")):
        if language_of(path.stem) == name:
            there = _space(name, SHAPES[name], None)
            cost = there.read(there.parse(path.read_text(encoding="utf-8"))).cost
            counts = [NONE, f"{cost.params:,}", NONE, f"{cost.flops / 1e9:.3f}"]
            yield [path.stem, show(SHAPES[name]), *counts, NONE, NONE]


# --- searches -------------------------------------------------------------------------------------------------------


def _searched(rows: Sequence[Mapping[str, Any]]) -> str:
    found: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["set"], row["arm"]), {})[row["seed"]] = row
    lines = []
    for name in searches.SETS:
        for language in searches.GRAMMARS:
            ours, theirs = (found.get((name, searches.arm(language, strategy)), {}) for strategy in searches.STRATEGIES)
            if ours or theirs:
                differences = [ours[seed]["value"] - theirs[seed]["value"] for seed in sorted({*ours} & {*theirs})]
                grain = one_row(next(iter(ours.values()))) if ours else 0.0
                beside = [signed(differences), verdict(differences, grain)] if differences else [NONE, NONE]
                evaluated = f"{_evaluated(ours)}, {_evaluated(theirs)}"
                lines.append([name, language, cell(ours), cell(theirs), evaluated, *beside])
    wanted = len(searches.SETS) * len(searches.GRAMMARS) * len(searches.STRATEGIES) * 3
    missing = f"{len(rows)} of {wanted} searches are measured.\n"
    if not lines:
        return missing
    head = ["data", "grammar", "evolution", "random search", "candidates", "difference", ""]
    return f"{table(head, lines)}\n{missing}"


def _evaluated(rows: Mapping[int, Mapping[str, Any]]) -> str:
    """How many candidates a search evaluated, the mean over draws."""
    return f"{fmean(row['more']['candidates'] for row in rows.values()):.0f}" if rows else NONE
