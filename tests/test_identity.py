"""The canonical key: equal keys mean equal functions, and what is known to mean the same has one key."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from evosearch import grammar, network
from evosearch.architecture import Architecture, Limits, Space
from evosearch.errors import ShapeError
from evosearch.grammar.core import Derivation
from evosearch.identity import Sum, Zero, canonical_form, canonical_key, digest
from evosearch.layers import vocabulary
from evosearch.layers.base import Combinator, Leaf, Word
from evosearch.layers.library.activations import Identity, LeakyReLU
from evosearch.layers.library.combinators import Branching, BranchingRepeated, Sequential
from evosearch.layers.library.convolution import Smooth
from evosearch.layers.library.linear import Linear
from evosearch.layers.library.merges import Add, Merge
from evosearch.layers.library.nasbench201 import Cell, Nothing, ReLUConvNorm
from evosearch.layers.library.norm import Norm
from evosearch.layers.library.positional import PositionalEncoding
from evosearch.layers.library.splits import Clone
from evosearch.layers.node import Node
from evosearch.space import open_space
from tests.spaces import samples, seed, space

if TYPE_CHECKING:
    from collections.abc import Callable

    from evosearch.layers.base import Part, Shape, Want

TINY = Limits(max_params=300_000, max_activations=300_000, max_modules=100)
SHAPE: Shape = (4, 8, 8)  # every split fits


def key(text: str, shape: Shape = SHAPE, name: str = "einspace") -> str:
    there = space(name, shape)
    return there.read(there.parse(text)).key


# -- what has one key -----------------------------------------------------------------------------------------------

SAME = [
    ("seq(norm,seq(softmax,posenc))", "seq(seq(norm,softmax),posenc)"),
    ("seq(identity,seq(norm,identity))", "seq(seq(identity,identity),norm)"),
    ("route(identity,seq(norm,softmax),identity)", "seq(norm,softmax)"),
    ("route(permute231,route(permute312,norm,identity),identity)", "seq(identity,norm)"),
    ("route(permute213,norm,permute213)", "seq(route(permute213,identity,identity),route(identity,norm,permute213))"),
    ("route(permute132,route(permute213,norm,identity),identity)", "seq(route(permute312,identity,identity),norm)"),
    ("branch(clone2,norm,softmax,add)", "branch(clone2,softmax,norm,add)"),
    (
        "branch(clone2,norm,branch(clone2,softmax,identity,add),add)",
        "branch(clone2,branch(clone2,norm,identity,add),softmax,add)",
    ),
    ("branch(clone4,norm,add)", "branch(clone2,branch(clone2,norm,norm,add),branch(clone2,norm,norm,add),add)"),
    ("seq(linear(16),linear(x4))", "seq(linear(16),linear(64))"),
    ("route(im2col3s1,linear(16),col2im)", "route(im2col3s1,seq(identity,linear(16)),col2im)"),
]

DIFFERENT = [
    ("seq(norm,softmax)", "seq(softmax,norm)"),
    ("branch(group2d1,norm,softmax,add)", "branch(group2d1,softmax,norm,add)"),  # not the same input
    ("branch(clone2,norm,softmax,cat1)", "branch(clone2,softmax,norm,cat1)"),  # order matters
    ("branch(clone2,norm,softmax,dot)", "branch(clone2,softmax,norm,dot)"),
    ("branch(clone2,norm,softmax,dot)", "branch(clone2,norm,softmax,scaled)"),
    ("branch(clone2,norm,norm,add)", "branch(clone4,norm,add)"),
    ("branch(clone2,identity,identity,add)", "seq(identity,identity)"),  # x + x is not x
    ("branch(clone2,norm,softmax,cat1)", "branch(clone2,norm,softmax,cat2)"),
    ("branch(group2d1,norm,norm,cat1)", "branch(group2d2,norm,norm,cat2)"),
    ("route(permute213,norm,identity)", "route(permute132,norm,identity)"),
    ("route(im2col3s1,norm,identity)", "route(im2col1s1,norm,identity)"),
    ("seq(linear(16),norm)", "seq(linear(32),norm)"),
    ("seq(norm,norm)", "seq(norm,identity)"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_means_the_same_has_one_key(one: str, other: str) -> None:
    assert key(one) == key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_means_something_else_has_another_key(one: str, other: str) -> None:
    assert key(one) != key(other)


def test_the_input_shape_is_part_of_the_key() -> None:
    assert key("seq(norm,softmax)", (4, 8, 8)) != key("seq(norm,softmax)", (4, 8, 16))


def test_the_digests_of_own_layers_are_part_of_the_key() -> None:
    root = Node(Identity(), (3,), (3,))
    assert canonical_key(root, "a" * 32) != canonical_key(root, "b" * 32)


def test_a_key_is_the_same_in_every_process_and_version() -> None:
    """Scores on disk are stored under it. If this changes on purpose, raise identity.RULES."""
    assert seed("resnet18").key == "92acd39c33b66a0b756e003cf6f2cb2f"


def worded(kind: type[Word], name: str) -> type[Any]:
    """A word class that Python calls Same whatever its registered name, its only argument left out of its repr."""

    def each_way(self: Any, *_: object, **__: object) -> Shape:
        return (self.size,)

    fields = [("size", int, field(default=1, repr=False))]
    return make_dataclass(
        "Same", fields, bases=(kind,), namespace={"name": name, "pair": each_way}, frozen=True, eq=False
    )


def test_words_are_told_apart_by_registered_name_and_arguments() -> None:
    """Neither the name of a word's class nor its repr counts: in merges, in combinators and in leaves."""

    @dataclass(frozen=True)
    class Around(Combinator):
        name = "around"
        word: Word

        def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
            return part(x, want)

    @dataclass(frozen=True)
    class Spoken(Leaf):
        name = "spoken"
        word: Word

        def shape(self, x: Shape) -> Shape:
            return x

    some = [kind(size) for kind in (worded(Merge, "one"), worded(Merge, "two")) for size in (1, 2)]
    part = leaf(Norm(), (3,))
    for made in (
        [Node(Branching(Clone(2), word), (3,), (3,), (part, part)) for word in some],
        [Node(Around(word), (3,), (3,), (part,)) for word in some],
        [Node(Spoken(word), (3,), (3,)) for word in some],
    ):
        assert len({canonical_key(node) for node in made}) == 4
    again = [kind(2) for kind in (worded(Merge, "one"), worded(Merge, "one"))]
    assert len({canonical_key(Node(Around(word), (3,), (3,), (part,))) for word in again}) == 1


# -- zero -----------------------------------------------------------------------------------------------------------


def leaf(layer: Leaf, shape: Shape = SHAPE) -> Node:
    return Node(layer, shape, layer.shape(shape))


def chain(*nodes: Node) -> Node:
    first, *rest = nodes
    for node in rest:
        first = Node(Sequential(), first.inputs, node.output, (first, node))
    return first


def total(left: Node, right: Node) -> Node:
    return Node(Branching(Clone(2), Add()), left.inputs, left.output, (left, right))


def test_zero_annihilates_through_layers_without_bias_or_shift() -> None:
    zero = canonical_form(leaf(Nothing()))
    assert isinstance(zero[0], Zero)
    for layers in ([LeakyReLU()], [Smooth(3), LeakyReLU()], [Identity()]):
        assert digest(canonical_form(chain(leaf(Nothing()), *map(leaf, layers)))) == digest(zero)
    for layer in (Norm(), Linear(8), PositionalEncoding(), ReLUConvNorm(1)):
        assert digest(canonical_form(chain(leaf(Nothing()), leaf(layer)))) != digest(zero)
    assert digest(canonical_form(chain(leaf(Norm()), leaf(Nothing())))) == digest(zero)


def test_zero_vanishes_from_sums() -> None:
    assert canonical_form(total(leaf(Nothing()), leaf(Identity()))) == ()
    assert digest(canonical_form(total(leaf(Norm()), leaf(Nothing())))) == digest(canonical_form(leaf(Norm())))
    assert isinstance(canonical_form(total(leaf(Nothing()), leaf(Nothing())))[0], Zero)


# -- NAS-Bench-201 --------------------------------------------------------------------------------------------------

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def all_cells() -> dict[tuple[str, ...], Node]:
    shape = (16, 32, 32)
    layers = (Nothing(), Identity(), ReLUConvNorm(1), ReLUConvNorm(3), Smooth(3))
    nodes = dict(zip(OPERATIONS, (leaf(layer, shape) for layer in layers), strict=True))
    return {
        edges: Node(Cell(), shape, shape, tuple(nodes[edge] for edge in edges))
        for edges in itertools.product(OPERATIONS, repeat=6)
    }


def evaluate(cell: tuple[str, ...], x: float) -> float:
    """A cell on a number. Every kind of edge is a function of its own; only the convolutions do not keep zero."""
    functions: dict[str, Callable[[float], float]] = {
        "none": lambda y: 0.0,
        "skip_connect": lambda y: y,
        "nor_conv_1x1": lambda y: math.cos(1.3 * y + 0.4),
        "nor_conv_3x3": lambda y: math.cos(0.7 * y + 0.9),
        "avg_pool_3x3": lambda y: math.sin(1.1 * y),
    }
    nodes = [x, 0.0, 0.0, 0.0]
    for operation, (start, end) in zip(cell, ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), strict=True):
        nodes[end] += functions[operation](nodes[start])
    return nodes[3]


def test_the_15625_cells_have_5545_keys_as_they_have_values() -> None:
    """Equal keys, equal values; other keys, other values. The published 6,466 is by a string rule that tells x + 0 from
    x and does not flatten sums.

    All convolutions of one kind are one function here, as in the published string rule: a node that is used twice is
    written twice, and whether two convolutions share their weights is not told.
    """
    values: dict[str, set[float]] = defaultdict(set)
    cells = all_cells()
    assert len(cells) == 15_625
    for edges, cell in cells.items():
        values[canonical_key(cell)].add(round(evaluate(edges, 0.37), 10))
    assert all(len(found) == 1 for found in values.values())
    assert len(set.union(*values.values())) == len(values) == 5_545


# -- equal keys mean equal functions --------------------------------------------------------------------------------


def weight_order(root: Node) -> list[int]:
    """Numbers of the weight-carrying layers, as the canonical form has them.

    Layers are numbered in the order in which the builder makes them. Written against METHODS, not against the layers'
    own `canonical`: only the terms of a sum whose split is a clone change places, into the order of their digests.
    """
    counter = itertools.count()

    def sums(node: Node) -> bool:
        layer = node.layer
        return isinstance(layer, Branching | BranchingRepeated) and isinstance(layer.merge, Add) and layer.split.shared

    def terms(node: Node) -> list[tuple[str, list[int]]]:
        """The terms of a node that is a sum, or the node as the only term."""
        if sums(node):
            copies = node.layer.split.factor if isinstance(node.layer, BranchingRepeated) else 1
            return [term for _ in range(copies) for part in node.parts for term in terms(part)]
        speaking = [part for part in node.parts if canonical_form(part)]
        form = canonical_form(node)
        if len(form) == 1 and isinstance(form[0], Sum) and len(speaking) == 1:
            return terms(speaking[0])  # identities and empty rearrangements around a sum
        return [(digest(form), order(node))]

    def order(node: Node) -> list[int]:
        if sums(node):
            return [number for _, numbers in sorted(terms(node), key=lambda term: term[0]) for number in numbers]
        copies = node.layer.split.factor if isinstance(node.layer, BranchingRepeated) else 1
        if not node.parts:
            return [next(counter)] if node.cost.params else []
        return [number for _ in range(copies) for part in node.parts for number in order(part)]

    return order(root)


def built(architecture: Architecture) -> tuple[torch.nn.Module, list[dict[str, torch.Tensor]]]:
    """The module, and the state of each weight-carrying layer in the order in which the builder makes them.

    Every weight is drawn at random, norms' scales, shifts and statistics too.
    """
    module = network.build(architecture).eval().double()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(0.5 + torch.rand_like(tensor))
    groups: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, value in module.state_dict().items():
        owner, _, rest = name.partition(".")
        groups[owner][rest] = value
    code = network.source(architecture)
    made = [line.split(" = ")[0].strip().removeprefix("self.") for line in code.splitlines() if " = nn." in line]
    return module, [groups[name] for name in made]


def check_same_function(one: Architecture, other: Architecture) -> None:
    """Weights copied along the canonical order, the two give the same outputs."""
    (first, mine), (second, theirs) = built(one), built(other)
    order, their_order = weight_order(one.root), weight_order(other.root)
    assert len(order) == len(their_order) == len(mine) == len(theirs), (one.text, other.text)
    with torch.no_grad():
        for number, their_number in zip(order, their_order, strict=True):
            for target, value in zip(theirs[their_number].values(), mine[number].values(), strict=True):
                target.copy_(value.reshape(target.shape))
        x = torch.randn(2, *one.input, dtype=torch.double)
        a, b = first(x), second(x)
    scale = a.abs().max().item() if torch.isfinite(a).all() else 1.0
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9 * scale, equal_nan=True, msg=f"{one.text}\n{other.text}")


def rewritten(space: Space, derivation: Derivation, rng: np.random.Generator) -> Derivation:
    """The same function written differently: identities put in, sequences re-associated, sums turned around."""
    words = {name: space.parse(text) for name, text in TEMPLATES.items()}

    def write(node: Derivation) -> Derivation:
        alternative = node.alternative
        parts = tuple(write(part) for part in node.parts)
        node = Derivation(alternative, node.tokens, parts)
        if alternative.layer == "branching" and rng.random() < 0.5:
            split, left, right, merge = parts
            if split.alternative.layer == "clone2" and merge.alternative.layer == "add":
                node = Derivation(alternative, (), (split, right, left, merge))
        if alternative.layer == "sequential" and rng.random() < 0.5:
            first, second = parts
            if second.alternative.layer is None and second.parts[0].alternative.layer == "sequential":
                middle, last = second.parts[0].parts
                inner = Derivation(alternative, (), (first, middle))
                wrap = second.alternative
                node = Derivation(alternative, (), (Derivation(wrap, (), (inner,)), last))
        if alternative.rule == "module" and alternative.layer is None and rng.random() < 0.2:
            around = words[rng.choice(["before", "after", "route"])].parts[0]
            place = next(i for i, part in enumerate(around.parts) if "softmax" in space.render(part))
            outer = around.replace((place,), node)
            wrap = next(a for a in space.grammar.rules["module"] if a.rules == (outer.alternative.rule,))
            node = Derivation(wrap, (), (outer,))
        return node

    return write(derivation)


TEMPLATES = {
    "before": "seq(identity,softmax)",
    "after": "seq(softmax,identity)",
    "route": "route(identity,softmax,identity)",
}


def test_rewritten_architectures_keep_their_key_and_their_function() -> None:
    """Random architectures and their rewritings: one key, and equal outputs with the weights copied across."""
    there = space("einspace", SHAPE)
    rng = np.random.default_rng(0)
    changed = 0
    for architecture in samples("einspace", 50, shape=SHAPE, limits=TINY, seed=4):
        other = there.read(rewritten(there, architecture.derivation, rng))
        assert other.key == architecture.key, f"{architecture.text}\n{other.text}"
        if other.text != architecture.text:
            changed += 1
            check_same_function(architecture, other)
    assert changed >= 20


def collisions(architectures: list[Architecture], most: int) -> list[tuple[Architecture, Architecture]]:
    """Pairs of different architectures with one key."""
    groups: dict[str, dict[str, Architecture]] = defaultdict(dict)
    for architecture in architectures:
        groups[architecture.key].setdefault(architecture.text, architecture)
    pairs = [pair for group in groups.values() for pair in itertools.combinations(group.values(), 2)]
    return pairs[:most]


def test_samples_that_share_a_key_share_their_function() -> None:
    """As they come from the sampler, at a small shape where different texts often mean the same."""
    found = collisions(list(samples("einspace", 600, shape=(2, 4, 4), limits=TINY, seed=5)), 12)
    assert len(found) >= 10
    for one, other in found:
        check_same_function(one, other)


def test_changing_one_weight_carrying_layer_changes_the_key() -> None:
    """Every linear layer, norm and positional encoding of random architectures replaced by another that fits."""
    there = space("einspace", SHAPE)
    computation = there.grammar.rules["computation"]
    linear = next(a for a in computation if a.layer == "linear")
    others = [Derivation(linear, (width,)) for width in ("16", "32", "64")]
    others += [Derivation(a) for a in computation if a.layer in ("norm", "positional_encoding", "leaky_relu")]
    rng = np.random.default_rng(1)
    checked = 0
    for architecture in samples("einspace", 150, shape=SHAPE, limits=Limits(max_modules=200), seed=6):
        sites = [
            site
            for site in there.sites(architecture.derivation)
            if there.bound(site.derivation)[0].name in ("linear", "norm", "positional_encoding")
        ]
        if not sites:
            continue
        site = sites[rng.integers(len(sites))]
        node = site.derivation
        path = site.path
        while node.alternative.layer is None:
            path, node = (*path, 0), node.parts[0]
        other = others[rng.integers(len(others))]
        if other is node:
            continue
        try:
            changed = there.read(architecture.derivation.replace(path, other))
        except ShapeError:
            continue
        assert changed.key != architecture.key, f"{architecture.text}\n{changed.text}"
        checked += 1
    assert checked >= 60


# -- depth ----------------------------------------------------------------------------------------------------------


def test_keys_of_trees_thousands_deep_are_made_without_recursion() -> None:
    before = sys.getrecursionlimit()
    node = leaf(Linear(8))
    for _ in range(3_000):
        node = total(chain(node, leaf(Norm())), leaf(Identity()))
    assert len(canonical_key(node)) == 32
    assert sys.getrecursionlimit() == before


def test_grammars_without_layers_of_their_own_have_no_digest() -> None:
    read = grammar.loads('// input: vector\nstart: x\nx: "norm" -> norm\n', name="one.lark")
    assert vocabulary(read).digest == ""


# -- layers of a person's own ------------------------------------------------------------------------------------------

TANH = """
from dataclasses import dataclass
from evosearch.layers.base import Leaf, register
from evosearch.layers.block import Block
from evosearch.layers.library.linear import Linear
from evosearch.layers.library.norms import BatchNorm
from evosearch.layers.library.skips import Skip

@register("linear")
@dataclass(frozen=True)
class Mine(Leaf):
    width: int
    def shape(self, x):
        return (*x[:-1], self.width)
    def emit(self, node, x, build):
        module = build.module(f"nn.Linear({node.inputs[-1]}, {self.width})", "linear")
        return build.line(f"torch.tanh({module}({{}}))", x, shape=node.output, keeps="in out")

class Doubled(Linear):
    def emit(self, node, x, build):
        return build.line("2 * {}", super().emit(node, x, build), shape=node.output)

@dataclass(frozen=True)
class Minus(Leaf):
    def shape(self, x):
        return x
    def emit(self, node, x, build):
        return build.line("-{}", x, shape=node.output)

@dataclass(frozen=True)
class Thrice(Leaf):
    def shape(self, x):
        return x
    def emit(self, node, x, build):
        return build.line("3 * {}", x, shape=node.output)

@register("inside")
@dataclass(frozen=True)
class Inside(Block):
    which: str
    def body(self, x):
        return {"linear": Linear(8), "doubled": Doubled(8), "minus": Minus(), "thrice": Thrice()}[self.which]

@register("own_norm")
@dataclass(frozen=True)
class OwnNorm(BatchNorm):
    def emit(self, node, x, build):
        return build.line("2 * {}", super().emit(node, x, build), shape=node.output)

@register("minus_skip")
@dataclass(frozen=True)
class MinusSkip(Skip):
    def emit(self, node, x, build):
        output = yield node.parts[0], x
        return build.line("{} - {}", x, output, shape=node.output)
"""
LANGUAGE = """// input: vector
start: p (";" p)* -> chain
p: "lin(" W ")" -> linear
  | "rel(" R ")" -> linear_relative
  | "in(" I ")" -> inside
  | "own" -> own_norm
  | "batch" -> batch_norm
  | "plus(" p ")" -> skip
  | "minus(" p ")" -> minus_skip
  | "again" -> again
  | "ahead" -> ahead
W: "8"
R: "x2"
I: "linear" | "doubled" | "minus" | "thrice"
"""
TWO_FILES = """
from dataclasses import dataclass
from evosearch.layers.base import Leaf, register
from evosearch.layers.block import Block

@register("again")
@dataclass(frozen=True)
class Again(Leaf):
    def shape(self, x):
        return x
    def emit(self, node, x, build):
        return build.line("FACTOR * {}", x, shape=node.output)

@register("ahead")
@dataclass(frozen=True)
class Ahead(Block):
    def body(self, x):
        return Again()
"""


@pytest.fixture
def own_space(tmp_path: Path) -> Space:
    files = []
    for folder, text in (
        ("a", TANH),
        ("b", TWO_FILES.replace("FACTOR", "2")),
        ("c", TWO_FILES.replace("FACTOR", "3").replace("ahead", "other")),
    ):
        files.append(tmp_path / folder / "mine.py")
        files[-1].parent.mkdir()
        files[-1].write_text(text)
    return open_space(grammar.loads(LANGUAGE, name="own.lark"), files, (4,))


@pytest.mark.parametrize(
    "texts",
    [
        ("lin(8)", "rel(x2)"),  # one of a bundled layer's name, and a bundled one that is known by that name
        ("in(linear)", "lin(8)"),
        ("in(linear)", "in(doubled)"),  # a class that has its name from a bundled one
        ("in(minus)", "in(thrice)"),  # classes that have none
        ("own", "batch"),  # a form from a bundled class, and another code
        ("plus(own)", "minus(own)"),
        ("again", "ahead"),  # one name in two files
    ],
    ids=" and ".join,
)
def test_a_layer_of_a_person_s_own_is_never_taken_for_another(texts: tuple[str, str], own_space: Space) -> None:
    one, other = (own_space.read(own_space.parse(text)) for text in texts)
    assert one.key != other.key


def test_blocks_of_bundled_layers_in_a_person_s_file_have_the_key_of_what_they_are(own_space: Space) -> None:
    assert own_space.read(own_space.parse("in(linear)")).key == own_space.read(own_space.parse("rel(x2)")).key


def test_keys_of_own_layers_do_not_hang_on_where_their_files_lie(tmp_path: Path) -> None:
    read = grammar.loads('// input: vector\nstart: "lin(" W ")" -> linear\nW: "8"\n', name="own.lark")
    keys = set()
    for folder in ("a", "b"):
        file = tmp_path / folder / "mine.py"
        file.parent.mkdir()
        file.write_text(TANH)
        space = open_space(read, [file], (4,))
        keys.add(space.read(space.parse("lin(8)")).key)
    assert len(keys) == 1


def test_names_of_bundled_operations_are_no_person_s() -> None:
    """An own layer of such a name is told from it: all words' names are known, and the others are listed."""
    from evosearch.layers import library, names

    folder = Path(library.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in [*folder.glob("*.py"), folder.parent / "forms.py"]]
    named = {name for text in texts for name in re.findall(r'(?:Operation|super\(\).__init__)\("(\w+)"', text)}
    assert {"sum", "zero", "permute", "branching"} <= named
    assert named - set(library.NAMES) == names.OPERATIONS


def test_a_bundled_class_that_says_what_it_computes_is_a_word_or_stands_for_others() -> None:
    """By that an own class is told that is derived from it and has another code (`names.operation`)."""
    from evosearch.layers import base, library
    from evosearch.layers.block import Block
    from evosearch.layers.library.routing import After, Before

    naming = {base.Leaf, base.Combinator, Merge, After, Before}  # their forms name the class itself
    stating = {
        above
        for cls in library.NAMES.values()
        for above in cls.__mro__
        if {"canonical", "form"} & vars(above).keys() and "name" not in vars(above)
    }
    assert naming < stating
    assert all(vars(cls).get("stands_for_others") for cls in stating - naming)
    assert {base.Derived, base.Series, Block} <= stating
