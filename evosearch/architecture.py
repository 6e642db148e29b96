"""An architecture: a derivation read at an input shape. The Space that samples, reads, renders and limits them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, overload

from evosearch import grammar as language
from evosearch.cost import FULL
from evosearch.errors import ArchitectureError, LayerError, ShapeError, SpaceExhausted
from evosearch.identity import canonical_key
from evosearch.layers.base import MODES, Layer, Shape, Want, show
from evosearch.layers.formatting import formatted_cost
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.liveness import peak_scalars
from evosearch.layers.modifiers import named
from evosearch.layers.node import Node
from evosearch.recent import Recent
from evosearch.sampler import Sampler, SamplingStats, TooLarge, flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np

    from evosearch.cost import Cost
    from evosearch.grammar.core import Alternative, Derivation, Grammar, Terminal
    from evosearch.layers import Vocabulary
    from evosearch.layers.base import Leaf

# Where nothing says what an input is: CIFAR's images, 64 tokens of 192, 64 features.
USUAL_INPUT: Mapping[str, Shape] = {"image": (3, 32, 32), "column": (64, 192), "vector": (64,)}

MAX_DRAWS = 10_000  # samples drawn in search of one within the limits (docs/design.md, section 9)
SHALLOW = 20  # nodes on a path up to which reading needs no more of Python's stack than there is
MAX_NESTING = 10_000  # nodes on a path; beyond, the C stack of some Python versions would not hold the reading
MAX_READ = 8_000  # nodes in each generation of those remembered between readings
MAX_WALKED = 32  # nodes up to which all sites of a language without shapes are found at once, and remembered
MAX_SITED = 256  # derivations whose sites are remembered: parents are chosen again and again
MAX_RENDERED = 256  # derivations whose text is remembered: of each draft it is asked for its key, figures and proposal


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate may cost; None ("none" in TOML) is no limit, at the limit is within it.

    max_nodes: node draws for one sample, and derivation nodes of any candidate.
    max_depth: nested layers from which on only the shortest alternatives are drawn.
    max_params, max_flops, max_activations, max_modules: as in Cost, the head included.
    max_memory: bytes of inference on one example, weights included, as Architecture.memory counts them.

    At 1,000 nodes and depth 10 einspace gives about 1,100 samples and 40,000 nodes a second at 3x32x32 (mean 38 nodes,
    99th percentile 5 ms, slowest of 1,000 under 0.3 s; one core of a shared x86-64 machine, CPython 3.11); at depth 16,
    700 samples.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    max_nodes: int = 1000
    max_depth: int = 10
    max_params: int | None = None
    max_flops: int | None = None
    max_activations: int | None = None
    max_modules: int | None = 2000
    max_memory: int | None = field(default=None, metadata={"neutral": None})

    def exceeded(self, cost: Cost) -> str | None:
        """The name of the first limit that the cost is over, or None."""
        for name in ("params", "flops", "activations", "modules"):
            limit = getattr(self, f"max_{name}")
            if limit is not None and getattr(cost, name) > limit:
                return f"max_{name}"
        return None


@dataclass(frozen=True, eq=False)
class Architecture:
    """A derivation read at an input shape.

    root: the typed tree of the sentence. input: the network's input shape. name: what it is called where there is no
    sentence.
    stem, head: what stands before and behind the tree, the same in a whole search; None for nothing.
    format: of all weights, see evosearch.layers.modifiers; "" for float32.
    render: gives the sentence of the derivation, which most drafts of a search are never asked for.
    """

    root: Node
    input: Shape
    name: str
    derivation: Derivation
    layer_digests: str = ""
    head: Node | None = None
    stem: Node | None = None
    format: str = ""
    render: Callable[[Derivation], str] | None = None

    @cached_property
    def text(self) -> str:
        """The sentence, without white space; the name where there is none."""
        return self.name if self.render is None else self.render(self.derivation)

    @cached_property
    def cost(self) -> Cost:
        """Of the whole network: stem, tree and head."""
        cost = self._cost(self.root)
        for node in (self.stem, self.head):
            if node is not None:
                cost = cost + self._cost(node)
        return cost

    def _cost(self, node: Node) -> Cost:
        return formatted_cost(node, self.format) if self.format else node.cost

    @property
    def output(self) -> Shape:
        """The output shape of the tree, which the head reads."""
        return self.root.output

    @cached_property
    def memory(self) -> int:
        """Bytes that inference on one example takes at most: what is live at once, and the weights.

        A number is float32 where the whole network has no format; the weights are counted in their parts' own.

        From the lines that the layers write, whose variables are let go as soon as nothing needs them any more.
        """
        nodes = [node for node in (self.stem, self.root, self.head) if node is not None]
        bits = min(named(self.format).input_bits, FULL) if self.format else FULL
        return -(-bits * peak_scalars(nodes) // 8) + self.cost.bytes

    @property
    def trained_with(self) -> Mapping[str, str]:
        """What the sentence says of the network's training: fields of the recipe and their texts."""
        return self.root.layer.trained_with()

    @cached_property
    def key(self) -> str:
        """The canonical key, 32 hex digits: equal keys mean equal functions, up to their weights.

        The usual head is not part of it, any other one is: the keys of all runs before heads could be chosen stay.
        """
        head = None if self.head is None or isinstance(self.head.layer, MeanLinear) else self.head
        return canonical_key(self.root, self.layer_digests, stem=self.stem, head=head)


def _node(leaf: Leaf, x: Shape) -> Node:
    return Node(leaf, x, leaf.shape(x))


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a derivation where one layer stands, and so where an operator may put another.

    path: indices of `parts` from the root. rule: the rule that the place is drawn from.
    input, output: its shapes (None in a language without shapes). depth: layers around it.
    """

    path: tuple[int, ...]
    derivation: Derivation
    input: Shape | None
    output: Shape | None
    depth: int

    @property
    def rule(self) -> str:
        return self.derivation.alternative.rule


class FreeSites(Sequence[Site]):
    """The sites of a derivation of a language without shapes, all of its nodes, in preorder.

    Each is found when it is asked for, by the sizes of the sub-trees on the way: a large tree is not walked.
    """

    def __init__(self, root: Derivation, places: range | None = None) -> None:
        """places: those that are meant, among the nodes in preorder; all by default."""
        self._root, self._places = root, range(root.size) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Site: ...
    @overload
    def __getitem__(self, index: slice) -> FreeSites: ...
    def __getitem__(self, index: int | slice) -> Site | FreeSites:
        if isinstance(index, slice):
            return FreeSites(self._root, self._places[index])
        left, node = self._places[index], self._root
        path: list[int] = []
        while left:
            left -= 1  # the node itself
            at = 0
            while left >= (size := node.parts[at].size):
                left -= size
                at += 1
            path.append(at)
            node = node.parts[at]
        return Site(tuple(path), node, None, None, len(path))


@contextmanager
def deep_recursion(depth: int) -> Iterator[None]:
    """Room for recursion `depth` nodes deep; raises ArchitectureError where that is more than Python can hold."""
    if depth > MAX_NESTING:
        raise ArchitectureError(f"nested {depth} deep; at most {MAX_NESTING} are read")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 10 * depth + before))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class Space:
    """A grammar at an input shape, within limits: the architectures that a search may propose.

    Args:
        grammar: from `evosearch.grammar.load`.
        vocabulary: its layers, from `evosearch.layers.vocabulary`; None for a language without layers.
        input: the input shape after the batch axis, e.g. (3, 32, 32); None for a language without shapes.
        head: the layer behind every architecture, which gives the task's outputs, e.g. MeanLinear(10); a number is the
            usual one with so many outputs.
        stem: the layer before every architecture, or what it says is to stand there in its place (`Leaf.before`); the
            sentences are then read at its output shape.
        format: of all weights, where a sentence does not say another one of its network.
    """

    def __init__(
        self,
        grammar: Grammar,
        vocabulary: Vocabulary | None,
        input: Shape | None,
        limits: Limits | None = None,
        head: Leaf | int | None = None,
        stem: Leaf | None = None,
        format: str = "",
    ) -> None:
        self.grammar, self.vocabulary, self.limits = grammar, vocabulary, limits or Limits()
        self.format = format
        self.network_input, self.head = input, MeanLinear(head) if isinstance(head, int) else head
        self._stem = None if input is None else stem
        self.stem = None if stem is None or input is None else _node(stem, input)
        self.input = input if self.stem is None else self.stem.output  # what the sentences are read at
        if input is not None and vocabulary is None:
            raise LayerError(f"{grammar.name} is read without layers, so it takes no input shape")
        classes: Mapping[str, type] = vocabulary.classes if vocabulary else {}
        make: Callable[[Alternative, tuple[Any, ...]], Any] = vocabulary.layer if vocabulary else _no_layers
        self.sampler = Sampler(
            grammar,
            classes,
            make,
            output=lambda derivation, shape: self.node(derivation, shape).output,
            max_nodes=self.limits.max_nodes,
            max_depth=self.limits.max_depth,
        )
        self._make = make
        self._known_places: dict[Alternative, tuple[tuple[int, ...], tuple[int, ...]] | None] = {}
        self._layers: Recent[tuple[Any, ...], Layer] = Recent(MAX_READ)
        self._bound: Recent[Derivation, tuple[Layer, tuple[Derivation, ...]]] = Recent(MAX_READ)
        # By the id of a derivation, which its node holds: tuples of numbers alone are none of the garbage collector's.
        self._nodes: Recent[tuple[int, Shape], Node] = Recent(MAX_READ)
        self._sites: dict[Derivation, tuple[Site, ...]] = {}
        self._focus: tuple[Derivation | None, tuple[Site, ...]] = (None, ())
        self._rendered: dict[Derivation, str] = {}
        if self.input is None:
            return
        if grammar.input != (found := MODES.get(len(self.input), "")):
            raise ShapeError(f"{grammar.name} takes {grammar.input} input; {show(self.input)} is {found or None}")
        if self.sampler.kinds[grammar.start] != "part":
            raise LayerError(f"the start rule {grammar.start!r} must stand for one layer", file=grammar.name)

    @property
    def stats(self) -> SamplingStats:
        return self.sampler.stats

    def view(self) -> Space:
        """This space, caches and all, with a sampler of its own: `reweigh` changes what the view draws, no other."""
        return copy.copy(self)

    def reweigh(self, weights: Mapping[Alternative, float], terminals: Mapping[str, Terminal]) -> None:
        """Draw by other weights from now on, those of the grammar where these say none; see `Sampler.reweighed`."""
        self.sampler = self.sampler.reweighed(weights, terminals)

    @property
    def is_learned(self) -> bool:
        """Whether it draws by other weights than the grammar's."""
        return bool(self.sampler.weights)

    # -- texts --------------------------------------------------------------------------------------------------

    def render(self, derivation: Derivation) -> str:
        known = self._rendered.get(derivation)
        if known is None:
            if len(self._rendered) >= MAX_RENDERED:
                self._rendered.clear()
            known = self._rendered[derivation] = language.render(self.grammar, derivation)
        return known

    def parse(self, text: str) -> Derivation:
        return language.parse(self.grammar, text)

    def text_key(self, derivation: Derivation) -> str:
        return language.text_key(self.grammar, self.render(derivation))

    # -- sampling -----------------------------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator) -> Derivation:
        """A whole sample, valid at the input shape; its cost is not looked at.

        Raises SpaceExhausted where ten thousand draws in a row are over `max_nodes`, ShapeError where nothing fits.
        """
        for _ in range(MAX_DRAWS):
            self.stats.samples += 1
            try:
                if self.input is None:
                    return self.sampler.draw_free(rng, self.grammar.start)
                return self.sampler.draw(rng, self.grammar.start, self.input)[0]
            except TooLarge:
                self.stats.dropped += 1
        raise SpaceExhausted(
            f"{MAX_DRAWS} samples in a row were over max_nodes={self.limits.max_nodes}; raise it or lower max_depth"
        )

    def draw_at(
        self,
        rng: np.random.Generator,
        rule: str,
        shape: Shape | None,
        want: Want = None,
        depth: int = 0,
        max_nodes: int | None = None,
    ) -> Derivation | None:
        """A derivation of `rule` at an input shape, with output `want` where one is given; None where it can't be done.

        depth: layers around it, for `max_depth`; at most half of that counts, or deep seeds could only shrink.
        max_nodes: the most draws it may take, the Space's own by default.
        """
        budget = self.limits.max_nodes if max_nodes is None else min(max_nodes, self.limits.max_nodes)
        depth = min(depth, self.limits.max_depth // 2)
        if budget < 1:
            return None
        try:
            if shape is None or self.sampler.kinds[rule] == "word":
                return self.sampler.draw_free(rng, rule, max_nodes=budget, depth=depth)
            return self.sampler.draw(rng, rule, shape, want, depth, budget)[0]
        except (ShapeError, TooLarge):
            return None

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, derivation: Derivation) -> Architecture:
        """The derivation with its shapes and costs at the input shape; raises ShapeError where they do not fit."""
        if self.input is None:
            raise ArchitectureError(f"{self.grammar.name} is a language without layers: there are no shapes to read")
        node = self.node(derivation, self.input)
        digests = self.vocabulary.digest if self.vocabulary else ""
        head = None if self.head is None else _node(self.head, node.output)
        said = node.layer.trained_with().get("modifier", self.format)
        shape = self.network_input or self.input
        stem = None if self._stem is None else _node(self._stem.before(node), shape)
        return Architecture(node, shape, "", derivation, digests, head, stem, said, self.render)

    def fits(self, derivation: Derivation) -> bool:
        """Whether the derivation is valid at the input shape and has at most `max_nodes` nodes."""
        if derivation.size > self.limits.max_nodes:
            return False
        if self.input is None:
            return True
        try:
            output = self.node(derivation, self.input).output
            if self.head is not None:
                self.head.shape(output)
        except ShapeError:
            return False
        return True

    def replaced(self, derivation: Derivation, path: tuple[int, ...], new: Derivation) -> Derivation | None:
        """A derivation of this space with `new` at a path; None where it does not fit.

        Most often that shows near the place: so the layers around it are read from the inside out, each at the shape
        that it had, at which it would be read first in the whole.
        """
        around = self._around(derivation, path)
        end = len(path)
        for at, place, node in reversed(around):
            new, end = place.replace(path[at:end], new), at
            try:
                if self.node(new, node.inputs).output == node.output:
                    break
            except ShapeError:
                return None
        child = derivation.replace(path[:end], new)
        return child if self.fits(child) else None

    def _around(self, derivation: Derivation, path: tuple[int, ...]) -> list[tuple[int, Derivation, Node]]:
        """The layers on a path below the root, as far as they can be told: (length of its path, derivation, node)."""
        if self.input is None:
            return []
        found: list[tuple[int, Derivation, Node]] = []
        place, node = derivation, self.node(derivation, self.input)
        for at, index in enumerate(path, 1):
            alternative = place.alternative
            place = place.parts[index]
            if alternative.layer is not None:
                places = self._places(alternative)
                if places is None or index not in places[1] or (slot := places[1].index(index)) not in node.slots:
                    break
                node = node.parts[node.slots.index(slot)]
                found.append((at, place, node))
        return found

    def within(self, architecture: Architecture) -> str | None:
        """The name of the limit that the architecture exceeds, or None."""
        if architecture.derivation.size > self.limits.max_nodes:
            return "max_nodes"
        over = self.limits.exceeded(architecture.cost)
        if over is None and self.limits.max_memory is not None and architecture.memory > self.limits.max_memory:
            return "max_memory"
        return over

    def node(self, derivation: Derivation, shape: Shape) -> Node:
        """The typed tree of a derivation of any part rule at an input shape; raises ShapeError."""
        found = self._nodes.get((id(derivation), shape))
        if found is not None:
            return found
        if derivation.depth < SHALLOW:
            return self._read(derivation, shape)
        with deep_recursion(derivation.depth):
            return self._read(derivation, shape)

    def _read(self, derivation: Derivation, x: Shape) -> Node:
        key = (id(derivation), x)
        found = self._nodes[key]
        if found is not None:
            return found
        layer, parts = self.bound(derivation)
        calls: list[Node] = []
        slots: list[int] = []

        def reading(index: int, part: Derivation) -> Callable[..., Shape]:
            def call(x: Shape, want: Want = None) -> Shape:
                del want  # what is there is read, whatever was wanted
                node = self._read(part, x)
                calls.append(node)
                slots.append(index)
                return node.output

            return call

        # Written out by number of parts: a call with * goes through the C stack, and trees are thousands deep.
        if not parts:
            output = layer.shape(x)
        elif len(parts) == 1:
            output = layer.shape(x, reading(0, parts[0]))
        elif len(parts) == 2:
            output = layer.shape(x, reading(0, parts[0]), reading(1, parts[1]))
        else:
            output = layer.shape(x, *[reading(index, part) for index, part in enumerate(parts)])
        node = self._nodes[key] = Node(layer, x, output, tuple(calls), tuple(slots), derivation)
        return node

    def bound(self, derivation: Derivation) -> tuple[Layer, tuple[Derivation, ...]]:
        """The layer that a derivation stands for, with its arguments, and the derivations of its parts."""
        core = derivation
        while core.alternative.layer is None:
            core = core.parts[0]
        alternative, tokens, below = core.alternative, core.tokens, core.parts
        places = self._places(alternative)
        if places is None:
            found = self._bound[core]
            if found is None:
                arguments, parts = flatten(alternative, tokens, below, self.sampler.kinds, self._make)
                found = self._bound[core] = self._make(alternative, tuple(arguments)), tuple(parts)
            return found
        words, layers = places
        if not words:
            return self._make(alternative, tokens), below
        key = (alternative, tokens, *[below[place] for place in words])
        layer = self._layers[key]
        if layer is None:
            arguments, _ = flatten(alternative, tokens, below, self.sampler.kinds, self._make)
            layer = self._layers[key] = self._make(alternative, tuple(arguments))
        return layer, tuple([below[place] for place in layers])

    def _places(self, alternative: Alternative) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Which of an alternative's rules stand for words and which for one layer each; None where one is spliced."""
        if alternative not in self._known_places:
            kinds = [self.sampler.kinds[rule] for rule in alternative.rules]
            words, layers = (tuple([at for at, kind in enumerate(kinds) if kind == one]) for one in ("word", "part"))
            self._known_places[alternative] = None if "splice" in kinds else (words, layers)
        return self._known_places[alternative]

    def sites(self, derivation: Derivation) -> Sequence[Site]:
        """Every place where a layer stands, the root first, in preorder.

        A part that is used several times is one site, with the shapes of its first use. In a language without shapes
        every node is a site.
        """
        if derivation is self._focus[0]:
            return self._focus[1]
        if self.input is None and derivation.size > MAX_WALKED:
            return FreeSites(derivation)
        known = self._sites.get(derivation)
        if known is None:
            if len(self._sites) >= MAX_SITED:
                self._sites.clear()
            found = FreeSites(derivation) if self.input is None else self._typed_sites(derivation, self.input)
            known = self._sites[derivation] = tuple(found)
        return known

    def focused(self, derivation: Derivation, sites: tuple[Site, ...]) -> Space:
        """This space, caches and all, in which one derivation has no other sites than these.

        So an operator, which looks for places with `sites`, is held to those that a policy's state speaks of.
        """
        space = copy.copy(self)
        space._focus = (derivation, sites)
        return space

    def _typed_sites(self, derivation: Derivation, shape: Shape) -> list[Site]:
        found: list[Site] = []
        stack: list[tuple[tuple[int, ...], Derivation, Node, int]] = [((), derivation, self.node(derivation, shape), 0)]
        while stack:
            path, place, node, depth = stack.pop()
            found.append(Site(path, place, node.inputs, node.output, depth))
            if not node.parts:
                continue
            below = self._part_paths(place)
            first = dict(zip(reversed(node.slots), reversed(node.parts), strict=True))
            stack += [
                (path + below[slot][0], below[slot][1], first[slot], depth + 1) for slot in sorted(first, reverse=True)
            ]
        return found

    def _part_paths(self, place: Derivation) -> list[tuple[tuple[int, ...], Derivation]]:
        """Paths to the derivations of a layer's parts, in the order of its slots."""
        path: tuple[int, ...] = ()
        core = place
        while core.alternative.layer is None:
            core, path = core.parts[0], (*path, 0)
        found: list[tuple[tuple[int, ...], Derivation]] = []
        stack = [(path, core)]
        while stack:
            at, node = stack.pop()
            if node is not core and (node.alternative.layer is not None or self.sampler.kinds[node.rule] == "part"):
                found.append((at, node))
                continue
            below = [
                ((*at, index), part) for index, part in enumerate(node.parts) if self.sampler.kinds[part.rule] != "word"
            ]
            stack += reversed(below)
        return found


def _no_layers(alternative: Alternative, _: tuple[Any, ...]) -> Layer:
    raise LayerError(f"{alternative.layer!r}: a language without layers was read as an architecture")
