"""Sampling: what is drawn fits, follows the weights, ends, and depends on the random numbers alone."""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from evosearch import grammar
from evosearch.architecture import Limits, Space
from evosearch.errors import LayerError, ShapeError, SpaceExhausted
from evosearch.layers import vocabulary
from evosearch.layers.base import Combinator, Leaf, Part, Shape, Want, matches, register, registered
from tests.spaces import GRAMMARS, SHAPES, language, space

COMPUTATIONS = ["norm", "leakyrelu", "softmax", "posenc", "identity"]


def einspace(**limits: int) -> Space:
    read = language("einspace")
    return Space(read, vocabulary(read), (3, 32, 32), Limits(**limits))


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_sample_fits(name: str) -> None:
    """Reading a sample checks each layer's rule anew; it raises ShapeError where one does not hold."""
    there, rng = space(name), np.random.default_rng(0)
    for _ in range(100):
        architecture = there.read(there.draw(rng))
        assert there.parse(architecture.text) is architecture.derivation


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_what_is_drawn_depends_on_the_random_numbers_alone(name: str) -> None:
    """A sampler that has drawn before, and so remembers shapes, draws what a new one draws."""
    read = language(name)
    used, new = (Space(read, vocabulary(read), SHAPES[name]) for _ in range(2))
    for seed in range(60):
        used.draw(np.random.default_rng(seed))
    for seed in range(60):
        texts = [there.render(there.draw(np.random.default_rng(seed))) for there in (used, new)]
        assert texts[0] == texts[1]


def test_emptied_caches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rngs = [np.random.default_rng(3) for _ in range(2)]
    plain = [space("einspace").render(space("einspace").draw(rngs[0])) for _ in range(20)]
    monkeypatch.setattr("evosearch.sampler.MAX_CACHED", 10)
    forgetful = einspace()
    assert [forgetful.render(forgetful.draw(rngs[1])) for _ in range(20)] == plain


@pytest.mark.parametrize(
    ("x", "want"),
    [
        ((3, 32, 32), (3, 32, 32)),
        ((3, 32, 32), (3, 32, 64)),
        ((3, 32, 32), (None, 32, 32)),
        ((64, 48), (64, 512)),
        ((64, 48), (64, None)),
        ((7,), (16,)),
    ],
)
def test_a_wanted_shape_is_the_shape_drawn(x: Shape, want: Want) -> None:
    there, rng = space("einspace"), np.random.default_rng(0)
    for _ in range(60):
        drawn = there.draw_at(rng, "module", x, want)
        assert drawn is not None
        assert matches(there.node(drawn, x).output, want)


def test_a_shape_out_of_reach_is_refused_and_no_error() -> None:
    """No linear layer of einspace has width 7, and nothing shrinks an image to one pixel in one step."""
    there, rng = space("einspace"), np.random.default_rng(0)
    assert there.draw_at(rng, "module", (3, 32, 32), (3, 32, 7)) is None
    assert there.draw_at(rng, "module", (3, 32, 32), (3, 1, 1)) is None


def test_computations_are_drawn_by_weight() -> None:
    """Thirteen computations, each as likely: eight widths and five others (chi-squared, 13,000 draws)."""
    there, rng = space("einspace"), np.random.default_rng(0)
    counts = Counter(there.render(there.draw_at(rng, "computation", (3, 32, 32))) for _ in range(13_000))  # type: ignore[arg-type]
    assert len(counts) == 13
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_those_that_fit_are_drawn_by_weight() -> None:
    """Where 3x32x32 is wanted again, the five others and linear(32) fit: each as likely."""
    there, rng = space("einspace"), np.random.default_rng(0)
    drawn = (there.draw_at(rng, "computation", (3, 32, 32), (3, 32, 32)) for _ in range(6_000))
    counts = Counter(there.render(one) for one in drawn if one is not None)
    assert sorted(counts) == sorted([*COMPUTATIONS, "linear(32)"])
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_kinds_of_modules_are_drawn_by_weight() -> None:
    """computation 0.32, the rest shared by the other three: all four fit at an image."""
    there, rng = einspace(max_depth=2), np.random.default_rng(0)
    counts = Counter(there.draw_at(rng, "module", (3, 32, 32)).parts[0].rule for _ in range(4_000))  # type: ignore[union-attr]
    expected = {"computation": 0.32, "sequential": 0.68 / 3, "branching": 0.68 / 3, "routing": 0.68 / 3}
    found = [counts[rule] for rule in expected]
    assert stats.chisquare(found, [4_000 * p for p in expected.values()]).pvalue > 1e-3


def test_no_sample_is_over_max_nodes_and_those_dropped_are_counted() -> None:
    there, rng = einspace(max_nodes=30, max_depth=60), np.random.default_rng(0)
    sizes = [there.draw(rng).size for _ in range(300)]
    assert max(sizes) <= 30
    assert there.stats.dropped > 0
    assert there.stats.samples == 300 + there.stats.dropped


def test_no_layer_is_nested_deeper_than_max_depth() -> None:
    there, rng = einspace(max_depth=4), np.random.default_rng(0)
    depths = {max(site.depth for site in there.sites(there.draw(rng))) for _ in range(200)}
    assert max(depths) == 4


def test_a_limit_that_nothing_meets_ends_with_its_name() -> None:
    with pytest.raises(SpaceExhausted, match="max_nodes=1"):
        einspace(max_nodes=1).draw(np.random.default_rng(0))


def test_repetitions_are_drawn_by_their_weight() -> None:
    """`// more=0.75`: the number of blocks is geometric; at a shape that every block fits, in mlp.lark `more=0.8`.

    Without residual branches, which take most of the time; that of blocks beside them does not hang on them.
    """
    lines = (GRAMMARS / "mlp.lark").read_text().replace("-> linear   // p=0.35", "-> linear").splitlines()
    plain = grammar.loads("\n".join(line for line in lines if "-> residual" not in line))
    there, rng = Space(plain, vocabulary(plain), SHAPES["mlp"]), np.random.default_rng(0)
    read = [there.bound(there.draw(rng))[1] for _ in range(3_000)]
    counts = Counter(min(len(parts), 8) for parts in read)
    shares = [0.2 * 0.8 ** (n - 1) for n in range(1, 8)] + [0.8**7]
    assert stats.chisquare([counts[n] for n in range(1, 9)], [3_000 * p for p in shares]).pvalue > 1e-3


def test_numeric_ranges_are_drawn_from_and_not_only_their_representatives() -> None:
    there, rng = space("mlp"), np.random.default_rng(0)
    texts = " ".join(there.render(there.draw(rng)) for _ in range(400))
    rates = {float(piece.split(")")[0]) for piece in texts.split("dropout(")[1:]}
    assert len(rates) > 50
    assert 0.05 <= min(rates) <= max(rates) <= 0.5


def test_a_language_without_shapes_follows_its_weights() -> None:
    """Chi-squared on 100,000 draws, words and repetitions together."""
    read = grammar.loads(
        """
        // input: none
        start: word "!"? // p=0.7
             | "0"
        word: "a" // p=0.2
            | "b" // p=0.3
            | "c" word
        """
    )
    there, rng = Space(read, None, None), np.random.default_rng(0)
    counts = Counter(there.render(there.draw(rng)) for _ in range(100_000))
    expected = {"0": 0.3}
    for depth in range(3):
        for letter, p in (("a", 0.2), ("b", 0.3)):
            for end in ("", "!"):
                expected["c" * depth + letter + end] = 0.7 * 0.5 * 0.5**depth * p
    rest = 1 - math.fsum(expected.values())
    found = [counts[text] for text in expected]
    found.append(100_000 - sum(found))
    assert stats.chisquare(found, [100_000 * p for p in [*expected.values(), rest]]).pvalue > 1e-3


# --- layers of one's own ---


@register("test_widen")
@dataclass(frozen=True)
class Widen(Leaf):
    """(d,) -> (d + by,)."""

    by: int

    def shape(self, x: Shape) -> Shape:
        return (x[0] + self.by,)


@register("test_twice")
@dataclass(frozen=True)
class Twice(Combinator):
    """Its part two times in a row: the second time at another shape."""

    def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
        return part(part(x), want)


@register("test_same")
@dataclass(frozen=True)
class Same(Combinator):
    """Two parts that must end at one shape."""

    def shape(self, x: Shape, a: Part, b: Part, *, want: Want = None) -> Shape:
        left = a(x, want)
        if b(x, left) != left:
            raise ShapeError("the parts end at {} and elsewhere", left)
        return left


OWN = """
// input: vector
start: module
?module: widen                       // p=0.4
       | twice                       // p=0.3
       | same                        // p=0.3
widen: "+" BY        -> test_widen
twice: "2(" module ")" -> test_twice
same: "=(" module "," module ")" -> test_same
BY: "1" | "2" | "3"
"""


def own(text: str = OWN) -> Space:
    read = grammar.loads(text)
    return Space(read, vocabulary(read, registered(sys.modules[__name__])), (5,))


def test_a_part_used_at_two_shapes_is_one_derivation_read_twice() -> None:
    there, rng = own(), np.random.default_rng(0)
    for _ in range(200):
        architecture = there.read(there.draw(rng))
        assert there.parse(architecture.text) is architecture.derivation
        if architecture.text.startswith("2("):
            assert len(architecture.root.parts) == 2
            assert architecture.root.parts[0].derivation is architecture.root.parts[1].derivation
            assert architecture.root.parts[0].output == architecture.root.parts[1].inputs


def test_parts_that_must_agree_are_drawn_to_agree() -> None:
    there, rng = own(), np.random.default_rng(0)
    drawn = [there.read(there.draw(rng)) for _ in range(300)]
    agreeing = [a for a in drawn if a.text.startswith("=(")]
    assert len(agreeing) > 30
    assert all(a.root.parts[0].output == a.root.parts[1].output for a in agreeing)


def test_a_start_rule_that_is_not_one_layer_is_refused() -> None:
    with pytest.raises(LayerError, match="start rule 'start' must stand for one layer"):
        own(OWN.replace("start: module", "?start: BY | module"))


def test_where_nothing_fits_the_error_says_the_rule_and_the_shape() -> None:
    read = language("tiny_cnn")
    there = Space(read, vocabulary(read), (3, 32, 32))
    with pytest.raises(ShapeError, match="no alternative of 'block' fits at 64"):
        there.sampler.draw(np.random.default_rng(0), "block", (64,))


def test_where_the_shortest_do_not_fit_others_are_drawn_beyond_max_depth() -> None:
    """A pooling layer cannot halve one pixel; a residual block around a convolution is longer, and fits."""
    text = """
    // input: image
    start: block
    ?block: "pool"            -> max_pool2
          | "res" "(" conv ")" -> residual
    conv: "conv"              -> conv_norm_relu16_3
    """
    read = grammar.loads(text)
    there = Space(read, vocabulary(read), (16, 1, 1), Limits(max_depth=0))
    assert there.render(there.draw(np.random.default_rng(0))) == "res(conv)"


def test_ranged_leaves_are_as_likely_as_their_weight() -> None:
    """An alternative with a range among plain ones: a half each, and never one of its representatives too often."""
    text = """
    // input: vector
    start: leaf
    ?leaf: "relu"                  -> relu
         | "dropout" "(" RATE ")"  -> dropout
    RATE: /0\\.[0-9]+/              // range=0.05..0.5
    """
    read = grammar.loads(text)
    there, rng = Space(read, vocabulary(read), (8,)), np.random.default_rng(0)
    texts = [there.render(there.draw(rng)) for _ in range(2_000)]
    assert stats.binomtest(texts.count("relu"), 2_000, 0.5).pvalue > 1e-3
    assert len(set(texts)) > 500
