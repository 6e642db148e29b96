"""What every grammar of the gallery promises: nothing for `evolve check` to say, samples at every size, mutations."""

from __future__ import annotations

import itertools
import re
import statistics

import numpy as np
import pytest
import torch

from evosearch import grammar, network, operators
from evosearch.architecture import Limits, Space
from evosearch.grammar.check import check
from evosearch.layers import vocabulary
from evosearch.layers.base import Shape
from tests.spaces import GRAMMARS, SHAPES, space

GALLERY = (
    "convnets", "darts", "hybrid", "images", "mobile", "nasbench201", "nasnet", "ofa_mbv3", "reparam", "sequence",
    "series", "tables", "tabular", "tdnn", "vit",
)  # fmt: skip
SMALLEST: dict[str, Shape] = {"image": (1, 8, 8), "column": (12, 1), "vector": (4,)}
LARGE: dict[str, Shape] = {"image": (3, 224, 224), "column": (1000, 3), "vector": (800,)}
# Those that keep the function besides need certain words, and are tested with them.
MUTATIONS = operators.find().usual("mutate")
# Grammars whose sentences have one form: nothing in them grows, shrinks, or (in a network of words) changes places.
FORM = {"insert_around", "remove_node", "repeat_block"}
FIXED = {"nasbench201": FORM, "nasnet": {*FORM, "swap_subtrees"}, "darts": {*FORM, "swap_subtrees"}}


@pytest.mark.parametrize("name", GALLERY)
def test_check_has_nothing_to_say(name: str) -> None:
    """The expected size is finite, little is refused, few samples repeat another. What only seeds say is undrawn."""
    there = space(name)
    report = check(there.grammar, there, samples=50)
    assert [finding.message for finding in report.warnings if finding.kind != "undrawn"] == []
    assert report.samples is not None
    assert report.samples.mean_nodes < 120


@pytest.mark.parametrize("name", GALLERY)
def test_samples_fit_small_and_large_inputs(name: str) -> None:
    """Sampling finds networks at both, which learn something: most have weights, and few have none."""
    mode = space(name).grammar.input
    for shape in (SMALLEST[mode], LARGE[mode]):
        there, rng = space(name, shape), np.random.default_rng(3)
        drawn = [there.read(there.draw(rng)) for _ in range(12)]
        assert sum(one.cost.params > 100 for one in drawn) >= 11, shape
        assert statistics.median(one.cost.params for one in drawn) < 30_000_000, shape


@pytest.mark.parametrize("name", GALLERY)
def test_every_mutation_applies(name: str) -> None:
    """To some of a few samples, giving another text that fits; where sentences have one form, not all mutations can."""
    there, rng = space(name), np.random.default_rng(4)
    parents = [there.draw(rng) for _ in range(12)]
    for mutation, operator in MUTATIONS.items():
        children = (operator(parent, there, rng) for parent in parents)
        child = next((child for child in children if child is not None), None)
        assert (child is None) == (mutation in FIXED.get(name, ())), mutation
        assert child is None or (child not in parents and there.fits(child))


# Grammars with words that are there to be raised, and those words.
RAISED = {
    "convnets": {"separable(", "cascade(", "beside(", "lark(", "vanilla(", "cdc("},
    "hybrid": {"afno(", "axes(", "linear(", "gfn", "centres("},
    "mobile": {"tucker("},
    "vit": {
        "afno(",
        "gfn",
        "prepbn",
        "weave(",
        "low(",
        "slots(",
        "kan(",
        "tokenformer(",
        "karat(",
        "gla(",
        "fourier",
        "dct",
    },
}
NEVER = re.compile(r"// p=0(?![.\d])")


def raised(text: str, share: float = 0.3) -> str:
    """The grammar with each p=0 raised: together they get a share of their rule or terminal, the others the rest."""
    changed = []
    for rule in re.split(r"(?m)^(?=[?!]?\w+(?:\{[^}]*\})?:)", text):
        if zeros := len(NEVER.findall(rule)):
            rule = re.sub(r"// p=(0\.\d+|1)", lambda given: f"// p={float(given[1]) * (1 - share):.12g}", rule)
            rule = NEVER.sub(f"// p={share / zeros:.12g}", rule)
        changed.append(rule)
    return "".join(changed)


@pytest.mark.parametrize("name", RAISED)
def test_what_is_never_drawn_can_be_raised(name: str) -> None:
    """Then nothing is left undrawn, samples have each of the words, and those that are small build and run; mutations
    apply. As it comes, no sample has any."""
    read = grammar.loads(raised((GRAMMARS / f"{name}.lark").read_text()), name=f"{name}.lark")
    there, rng = Space(read, vocabulary(read), SHAPES[name], Limits(max_nodes=1000)), np.random.default_rng(5)
    assert check(read, there, samples=20).warnings == ()
    drawn = [there.draw(rng) for _ in range(100)]
    assert {word for word in RAISED[name] if any(word in there.render(one) for one in drawn)} == RAISED[name]
    small = (one for one in map(there.read, drawn) if one.cost.params < 400_000 and one.cost.flops < 1e8)
    built = list(itertools.islice(small, 12))
    assert len(built) == 12
    for architecture in built:
        output = network.build(architecture).eval()(torch.zeros(2, *architecture.input))
        assert tuple(output.shape) == (2, *architecture.output)
    for mutation, operator in MUTATIONS.items():
        children = (operator(parent, there, rng) for parent in drawn[:12])
        child = next((child for child in children if child is not None), None)
        assert child is not None, mutation
        assert there.fits(child)
    usual = [space(name).render(space(name).draw(rng)) for _ in range(50)]
    assert not any(word in text for word in RAISED[name] for text in usual)
