"""Reading a derivation at a shape: nodes, costs, limits, places, and trees that are very deep."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from evosearch import network
from evosearch.architecture import MAX_NESTING, Limits, Space
from evosearch.cost import Cost
from evosearch.errors import ArchitectureError, LayerError, ShapeError
from evosearch.layers.base import Leaf, Shape
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.variation import choices, shuffled, variants
from tests.spaces import SHAPES, samples, seed, space, with_head

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


def test_a_convolution_is_read_with_its_shapes_and_costs() -> None:
    there = space("einspace")
    architecture = there.read(there.parse("seq(route(im2col3s2,linear(16),col2im), norm)"))
    convolution, norm = architecture.root.parts
    assert (convolution.inputs, convolution.output) == ((3, 32, 32), (16, 16, 16))
    assert (norm.inputs, norm.output) == ((16, 16, 16), (16, 16, 16))
    assert architecture.cost.params == (3 * 9 + 1) * 16 + 2 * 16
    assert architecture.cost.flops == 2 * 3 * 9 * 16 * 16 * 16
    assert architecture.text == "seq(route(im2col3s2,linear(16),col2im),norm)"


def test_what_does_not_fit_is_an_error_that_says_where() -> None:
    there = space("einspace")
    with pytest.raises(ShapeError, match=r"add: .*32x32.*16"):
        there.read(there.parse("seq(branch(clone2,identity,linear(16),add),identity)"))


def test_a_part_that_is_built_four_times_is_paid_four_times() -> None:
    there = space("einspace")
    four = there.read(there.parse("branch(clone4,linear(64),add)"))
    one = there.read(there.parse("seq(linear(64),identity)"))
    assert four.cost.params == 4 * one.cost.params
    assert four.cost.flops == 4 * one.cost.flops


def test_a_head_costs_what_torch_counts() -> None:
    head = MeanLinear(10)
    assert head.params((64, 8, 8)) == sum(p.numel() for p in torch.nn.Linear(64, 10).parameters())
    assert head.params((49, 32)) == sum(p.numel() for p in torch.nn.Linear(32, 10).parameters())


@dataclass(frozen=True)
class Tokens(Leaf):
    """Patches of an image as columns."""

    name = "tokens"
    size: int

    def shape(self, x: Shape) -> Shape:
        return (x[1] // self.size * (x[2] // self.size), x[0] * self.size**2)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line(f"F.unfold({{}}, {self.size}, stride={self.size}).transpose(1, 2)", x, shape=node.output)


def test_a_stem_stands_before_every_sentence() -> None:
    """Sentences are read at its output shape; its cost counts, the network takes its input, and the key tells it."""
    read = space("einspace_1d")
    there = Space(read.grammar, read.vocabulary, (1, 8, 8), head=MeanLinear(10), stem=Tokens(4))
    text = "seq(norm,linear(16))"
    architecture = there.read(there.parse(text))
    assert (architecture.input, architecture.root.inputs, there.input) == ((1, 8, 8), (4, 16), (4, 16))
    assert architecture.cost.modules == architecture.root.cost.modules + 2
    assert network.build(architecture)(torch.randn(3, 1, 8, 8)).shape == (3, 10)
    without = Space(read.grammar, read.vocabulary, (4, 16), head=MeanLinear(10))
    assert architecture.key != without.read(without.parse(text)).key


def test_keys_tell_another_head_and_not_the_usual_ones_outputs() -> None:
    read = space("einspace")
    architecture = read.read(read.parse("seq(norm,identity)"))
    usual = [with_head(architecture, MeanLinear(outputs)).key for outputs in (3, 10)]
    assert usual == [architecture.key] * 2
    assert with_head(architecture, Tokens(2)).key not in (architecture.key, with_head(architecture, Tokens(4)).key)


def test_limits_hold_the_head_too_and_at_the_limit_is_within() -> None:
    read = space("einspace").grammar
    there = Space(read, space("einspace").vocabulary, (3, 32, 32), Limits(max_params=40), head=MeanLinear(10))
    architecture = there.read(there.parse("seq(identity,identity)"))
    assert architecture.cost.params == (3 + 1) * 10
    assert there.within(architecture) is None
    assert there.within(there.read(there.parse("seq(norm,identity)"))) == "max_params"


def test_limits_are_named_in_a_fixed_order() -> None:
    limits = Limits(max_params=1, max_flops=1, max_activations=1, max_modules=1)
    assert limits.exceeded(Cost(1, 1, 1, 1)) is None
    assert limits.exceeded(Cost(2, 2, 2, 2)) == "max_params"
    assert limits.exceeded(Cost(0, 0, 2, 2)) == "max_activations"


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_sites_lead_to_the_places_they_speak_of(name: str) -> None:
    """At its path stands the site's derivation, and read alone at the site's input it has the site's output."""
    there = space(name)
    for architecture in samples(name, 20):
        sites = there.sites(architecture.derivation)
        assert sites[0].path == ()
        assert len({site.path for site in sites}) == len(sites)
        for site in sites:
            at = architecture.derivation
            for index in site.path:
                at = at.parts[index]
            assert at is site.derivation
            assert site.input is not None
            assert there.node(at, site.input).output == site.output


def test_replacing_a_site_by_one_of_the_same_shapes_keeps_the_whole_valid() -> None:
    there, rng = space("einspace"), np.random.default_rng(0)
    for architecture in samples("einspace", 30):
        for site in there.sites(architecture.derivation)[1:]:
            new = there.draw_at(rng, site.rule, site.input, site.output, depth=site.depth, max_nodes=50)
            if new is not None:
                child = architecture.derivation.replace(site.path, new)
                assert there.node(child, (3, 32, 32)).output == architecture.output


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_change_of_one_choice_is_read_from_the_inside_out_as_it_is_as_a_whole(name: str) -> None:
    there, rng = space(name), np.random.default_rng(0)
    whole = Space(there.grammar, there.vocabulary, there.input)  # with memories of its own
    fitting = []
    for derivation in (there.draw(rng) for _ in range(12)):
        for path, node in shuffled(choices(derivation, there), rng):
            for variant in variants(node, there, rng):
                child = derivation.replace(path, variant)
                fitting.append(whole.fits(child))
                assert there.replaced(derivation, path, variant) is (child if fitting[-1] else None)
    assert any(fitting)


def test_deep_seeds_are_redrawn_with_more_than_single_layers() -> None:
    """ResNet18's layers lie far below max_depth; a redraw there must still be able to draw a module of parts."""
    there, rng = space("einspace"), np.random.default_rng(0)
    deepest = max(there.sites(seed("resnet18").derivation), key=lambda site: site.depth)
    assert deepest.depth >= there.limits.max_depth
    drawn = [there.draw_at(rng, deepest.rule, deepest.input, None, depth=deepest.depth) for _ in range(50)]
    assert max(one.size for one in drawn if one is not None) > 3


def nested(depth: int) -> str:
    return "seq(" * depth + "leakyrelu" + ",leakyrelu)" * depth


def test_a_sentence_nested_thousands_deep_is_parsed_read_and_rendered() -> None:
    there, limit = space("einspace"), sys.getrecursionlimit()
    architecture = there.read(there.parse(nested(2_000)))
    assert architecture.text == nested(2_000)
    assert architecture.cost.modules == 2_001
    assert len(there.sites(architecture.derivation)) == 4_001
    assert len(architecture.key) == 32
    assert sys.getrecursionlimit() == limit


def test_what_is_nested_deeper_than_can_be_read_is_refused() -> None:
    there = space("einspace")
    with pytest.raises(ArchitectureError, match=f"at most {MAX_NESTING}"):
        there.read(there.parse(nested(MAX_NESTING)))


def test_the_grammars_input_and_the_shape_must_be_of_one_mode() -> None:
    read, words = space("mlp").grammar, space("mlp").vocabulary
    with pytest.raises(ShapeError, match="takes vector input; 3x32x32 is image"):
        Space(read, words, (3, 32, 32))
    with pytest.raises(LayerError, match="without layers, so it takes no input shape"):
        Space(read, None, (14,))
