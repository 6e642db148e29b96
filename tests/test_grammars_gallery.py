"""What every grammar of the gallery promises: nothing for `evolve check` to say, samples at every size, mutations."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from evosearch import operators
from evosearch.grammar.check import check
from evosearch.layers.base import Shape
from tests.spaces import space

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
