"""What a grammar's author wants to know before paying for training: `evolve check`.

The figures of the weights alone are exact (see `evosearch.grammar.statistics`); those of samples come from drawing at
an input shape. What each warning means, with the figures of the bundled grammars, stands in docs/grammars.md.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evosearch.grammar.statistics import CRITICAL, Component, Counts, Process, count_derivations

if TYPE_CHECKING:
    from evosearch.architecture import Architecture, Space
    from evosearch.grammar.core import Alternative, Derivation, Grammar
    from evosearch.layers.node import Node

NEARLY: Final = 0.95  # offspring from here on count as nearly critical: the expected size is twenty times a chain's
QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
MARK: Final = 10**9  # modules that a marked part claims to have, to see how often its layer counts it
ASKED_FOR_COPIES: Final = 50  # architectures that are asked how often their layers build their parts


@dataclass(frozen=True, slots=True)
class GrammarWarning:
    """A warning: nothing is wrong with the file, but its author should know. kind is a stable name for scripts."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Samples:
    """What drawing at an input shape gave.

    number: samples drawn. input: the shape. max_nodes, max_depth: the limits under which it was drawn.
    mean_nodes: derivation nodes of a sample.
    refused, replanned: alternatives that did not fit and parts drawn again, as shares of all alternatives drawn.
    dropped: share of attempts given up as over max_nodes.
    params, flops: quantiles (0, 25, 50, 75, 95 and 100 %). None in a language without shapes.
    same_text, same_key: share of samples whose text, or canonical key, an earlier one had.
    uses: mean uses of each rule in a sample.
    """

    number: int
    input: tuple[int, ...] | None
    max_nodes: int
    max_depth: int
    mean_nodes: float
    refused: float
    replanned: float
    dropped: float
    params: tuple[float, ...] | None
    flops: tuple[float, ...] | None
    same_text: float
    same_key: float | None
    uses: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class GrammarReport:
    """Everything that `check` found out.

    circles: parts of the grammar that can grow, by the weights alone. built: the same with every copy counted that a
    layer builds of a part (None where no layers were given, or none copies).
    ends: probability that drawing ends. size: expected derivation nodes, inf where that is infinite.
    uses: expected uses of each rule in one sample, by the weights alone. undrawn: rules that only p=0 leads to.
    """

    grammar: str
    files: tuple[str, ...]
    digest: str
    input: str
    rules: int
    alternatives: int
    terminals: int
    spaced: bool
    circles: tuple[Component, ...]
    built: tuple[Component, ...] | None
    ends: float
    size: float
    uses: Mapping[str, float]
    undrawn: tuple[str, ...]
    counts: Counts
    samples: Samples | None
    warnings: tuple[GrammarWarning, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; an infinite number is null, and numbers of distinct derivations are exact."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain

    def __str__(self) -> str:
        return f"{self.beginning()}\n{self.rest()}"

    def beginning(self) -> str:
        """What the weights alone imply: it is there before the first sample is drawn."""
        return "\n".join(_exact_lines(self))

    def rest(self) -> str:
        """Samples, uses, warnings."""
        return "\n".join(_sampled_lines(self))


def check(grammar: Grammar, space: Space | None = None, samples: int = 1000) -> GrammarReport:
    """Work out what a grammar's weights imply, and with a space, what samples at its input shape are like.

    samples: how many; with none, a few are still drawn to see which layers build copies of their parts. They are drawn
    by a fixed seed, so that the same grammar gets the same report.
    Raises ShapeError or SpaceExhausted where nothing fits the input shape.
    """
    report = weigh(grammar, space)
    return report if space is None else sampled(report, grammar, space, samples)


def sampled(report: GrammarReport, grammar: Grammar, space: Space, samples: int) -> GrammarReport:
    """The report with figures of samples, and with their warnings; as it is where none are asked for."""
    if not samples:
        return report
    found = dataclasses.replace(report, samples=_draw(space, samples, np.random.default_rng(0)))
    return dataclasses.replace(found, warnings=tuple(_warnings(grammar, found)))


def weigh(grammar: Grammar, space: Space | None = None) -> GrammarReport:
    """The part of the report that is exact."""
    process = Process.of(grammar)
    rng = np.random.default_rng(0)
    built = None
    if space is not None and space.input is not None:
        kinds = space.sampler.kinds
        copies = _copies([space.read(space.draw(rng)) for _ in range(ASKED_FOR_COPIES)])
        if any(factor != 1 for factor in copies.values()):
            counted = Process.of(space.grammar, lambda a, part: 1.0 if kinds[part] == "word" else copies.get(a, 1.0))
            built = counted.components()
    report = GrammarReport(
        grammar=grammar.name,
        files=tuple(grammar.source),
        digest=grammar.digest,
        input=grammar.input,
        rules=sum(1 for rule in grammar.rules if not rule.startswith("__")),
        alternatives=sum(len(alternatives) for alternatives in grammar.rules.values()),
        terminals=len(grammar.terminals),
        spaced=grammar.spaced,
        circles=process.components(),
        built=built,
        ends=process.ends(),
        size=process.expected_size(),
        uses=process.uses(),
        undrawn=tuple(rule for rule in grammar.rules if rule not in process.rules),
        counts=count_derivations(grammar),
        samples=None,
        warnings=(),
    )
    return dataclasses.replace(report, warnings=tuple(_warnings(grammar, report)))


def _draw(space: Space, number: int, rng: np.random.Generator) -> Samples:
    before = dataclasses.replace(space.stats)
    drawn = [space.draw(rng) for _ in range(number)]
    stats = space.stats
    draws = max(1, stats.draws - before.draws)
    attempts = max(1, stats.samples - before.samples)
    architectures = [space.read(derivation) for derivation in drawn] if space.input is not None else []
    texts = {space.text_key(derivation) for derivation in drawn}
    uses: Counter[str] = Counter()
    for derivation in drawn:
        uses.update(node.rule for node in derivation.walk())
    return Samples(
        number=number,
        input=space.input,
        max_nodes=space.limits.max_nodes,
        max_depth=space.limits.max_depth,
        mean_nodes=sum(derivation.size for derivation in drawn) / number,
        refused=(stats.refused - before.refused) / draws,
        replanned=(stats.replanned - before.replanned) / draws,
        dropped=(stats.dropped - before.dropped) / attempts,
        params=_quantiles([a.cost.params for a in architectures]),
        flops=_quantiles([a.cost.flops for a in architectures]),
        same_text=1 - len(texts) / number,
        same_key=1 - len({a.key for a in architectures}) / number if architectures else None,
        uses={rule: uses[rule] / number for rule in space.grammar.rules if uses[rule]},
    )


def _quantiles(values: Sequence[int]) -> tuple[float, ...] | None:
    return tuple(float(q) for q in np.quantile(values, QUANTILES, method="lower")) if values else None


def _copies(architectures: Sequence[Architecture]) -> dict[Alternative, float]:
    """How often, on average, each alternative's layer builds a part that is drawn once.

    A layer states it in its cost: a part that claims a billion modules shows how often it is counted.
    """
    seen: set[int] = set()
    factors: dict[Alternative, list[float]] = {}
    for architecture in architectures:
        stack = [architecture.root]
        while stack:
            node = stack.pop()
            if id(node) in seen or not node.parts:
                continue
            seen.add(id(node))
            stack += node.parts
            marked = copy.copy(node)
            marked.parts = tuple(_marked(part) for part in node.parts)
            counted = node.layer.cost(marked).modules / MARK
            factors.setdefault(_core(node.derivation), []).append(counted / len(set(node.slots)))
    return {alternative: round(math.fsum(found) / len(found), 6) for alternative, found in factors.items()}


def _marked(node: Node) -> Node:
    marked = copy.copy(node)
    marked.cost = dataclasses.replace(node.cost, modules=MARK)
    return marked


def _core(derivation: Derivation) -> Alternative:
    """The alternative of the layer that a derivation stands for."""
    while derivation.alternative.layer is None:
        derivation = derivation.parts[0]
    return derivation.alternative


# -- warnings


def _warnings(grammar: Grammar, report: GrammarReport) -> Iterator[GrammarWarning]:
    for remark in grammar.remarks:
        yield GrammarWarning("file", remark)
    for component in report.circles:
        yield from _growth(component, report)
    for component in report.built or ():
        if component.offspring >= 1 - CRITICAL:
            yield GrammarWarning(
                "built-size",
                f"with every copy counted that its layers build, each {component.blamed!r} leads to "
                f"{component.offspring:.2f} others: without a size limit the expected number of layers is infinite, "
                f"though samples end; it is finite where the alternatives of {component.blamed!r} that end have over "
                f"{component.needed:.2f} together, and they have {component.ending:.2f}",
            )
    if report.undrawn:
        yield GrammarWarning("undrawn", f"never drawn, since only p=0 leads there: {', '.join(report.undrawn)}")
    if report.spaced:
        yield GrammarWarning("spaced", "some words would run together, so texts keep one space between those")
    if report.samples is not None:
        yield from _sample_warnings(report.samples)


def _growth(component: Component, report: GrammarReport) -> Iterator[GrammarWarning]:
    if component.offspring < NEARLY:
        return
    name, ending, needed = component.blamed, component.ending, component.needed
    grows = f"each {name!r} leads to {component.offspring:.2f} others on average"
    cure = f"give the alternatives of {name!r} that end over {needed:.2f} together; they have {ending:.2f}"
    if component.radius > 1 + CRITICAL:
        ends = f"without limits drawing ends only with probability {report.ends:.2f}"
        yield GrammarWarning("endless", f"{ends}: {grows}; {cure}")
    elif component.radius >= 1 - CRITICAL:
        yield GrammarWarning(
            "critical", f"without limits drawing ends, but the expected size is infinite: {grows}; {cure}"
        )
    else:
        size = f"{report.size:.0f} nodes" if math.isfinite(report.size) else "infinite"
        yield GrammarWarning(
            "nearly-critical",
            f"sizes vary widely: {grows}, so without limits the expected size is {size}; it would be infinite where "
            f"the alternatives of {name!r} that end had {needed:.2f} together, and they have {ending:.2f}",
        )


def _sample_warnings(samples: Samples) -> Iterator[GrammarWarning]:
    if samples.dropped > 0.01:
        over = f"{samples.dropped:.0%} of the samples took over {samples.max_nodes} draws and were drawn again"
        yield GrammarWarning("dropped", over)
    if samples.refused > 0.5:
        yield GrammarWarning(
            "refused", f"{samples.refused:.0%} of the alternatives drawn did not fit where they were drawn"
        )
    same = samples.same_text if samples.same_key is None else samples.same_key
    if same > 0.5:
        yield GrammarWarning("duplicates", f"{same:.0%} of {samples.number} samples repeat an earlier one")


# -- output


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _exact_lines(report: GrammarReport) -> Iterator[str]:
    yield f"{report.grammar}: no mistakes"
    size = f"{report.rules} rules, {report.alternatives} alternatives, {report.terminals} terminals"
    yield f"  {size}; input: {report.input}"
    yield ""
    yield "By the weights alone, before shapes and limits"
    ends = "with probability 1" if report.ends == 1 else f"only with probability {report.ends:.3f}"
    yield f"  drawing ends {ends}; expected size {_number(report.size)} nodes"
    for component in report.circles:
        yield (
            f"  {component.blamed} leads to {component.offspring:.3f} others "
            f"(spectral radius {component.radius:.3f}; {', '.join(_shown(rule) for rule in component.rules)})"
        )
    for component in report.built or ():
        yield f"  {component.blamed} leads to {component.offspring:.3f} others with every copy counted that is built"
    yield from _count_lines(report.counts)


def _sampled_lines(report: GrammarReport) -> Iterator[str]:
    samples = report.samples
    if samples is not None:
        yield ""
        shape = "x".join(map(str, samples.input)) if samples.input else "no shapes"
        yield f"{samples.number} samples at {shape}, at most {samples.max_nodes} nodes, depth {samples.max_depth}"
        yield f"  mean size {samples.mean_nodes:.1f} nodes; given up as too large {samples.dropped:.1%}"
        yield f"  alternatives that did not fit {samples.refused:.1%}; parts drawn again {samples.replanned:.1%}"
        if samples.params is not None and samples.flops is not None:
            yield f"  {'':11}{''.join(f'{q:>9.0%}' for q in QUANTILES)}"
            yield f"  parameters {''.join(f'{_short(value):>9}' for value in samples.params)}"
            yield f"  FLOPs      {''.join(f'{_short(value):>9}' for value in samples.flops)}"
        key = "" if samples.same_key is None else f", by canonical key {samples.same_key:.1%}"
        yield f"  duplicates by text {samples.same_text:.1%}{key}"
    yield ""
    yield f"  {'uses in a sample':32}{'by weights':>12}{'' if samples is None else 'sampled':>12}".rstrip()
    for rule, expected in report.uses.items():
        sampled = "" if samples is None else f"{samples.uses.get(rule, 0.0):>12.2f}"
        yield f"  {_shown(rule):32}{_number(expected):>12}{sampled}"
    if report.warnings:
        yield ""
        yield "Warnings (docs/grammars.md explains each)"
        for finding in report.warnings:
            yield f"  {finding.kind}: {finding.message}"


def _count_lines(counts: Counts) -> Iterator[str]:
    if counts.total is not None:
        yield f"  {_large(counts.total)} distinct sentences in all"
    else:
        shown = [f"depth {depth}: {_large(count)}" for depth, count in enumerate(counts.up_to, 1) if count]
        yield f"  distinct sentences up to {'; '.join(shown[:5])}"
    if counts.uncounted:
        yield f"  (each of {', '.join(counts.uncounted)} counted as one text)"


def _large(number: int) -> str:
    return (
        f"{number:,}"
        if number < 10**12
        else f"{float(number):.2e}"
        if number < 10**300
        else f"1e{len(str(number)) - 1}"
    )


def _number(value: float) -> str:
    return f"{value:,.2f}" if math.isfinite(value) else "infinite"


def _short(value: float) -> str:
    """A number with three digits and a unit of thousands: 4.35k, 67.6k, 1.9M."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or unit == "T":
            return f"{value:.3g}{unit}"
        value /= 1000
    raise AssertionError


def _shown(rule: str) -> str:
    name = rule.removeprefix("__")
    return name if len(name) <= 32 else name[:31] + "…"
