"""Drawing derivations that fit, whatever the shapes, without backtracking over what was drawn.

A layer's rule calls its parts as functions from shape to shape. Here the parts are of two kinds:

* *drawing* parts draw a derivation at the shape they are called with and return its output shape;
* *planning* parts return, one after the other, the shapes that a part can surely reach: `reach(rule, shape)`, the
  outputs of its shortest derivations (in einspace: the shape itself, by an identity, or one linear layer away).

A **plan** of an alternative is one output shape for each part such that the rule holds and gives the wanted output.
Where an output is wanted (the second branch of a sum, all below it), a plan is found first and each part is then drawn
to its planned shape, which by the definition of `reach` cannot fail: nothing is drawn freely under a wanted shape and
thrown away. Without a wanted output parts are drawn freely from left to right; if the rule then fails, the alternative
is drawn once more along its plan. A plan is found by running the rule itself, from a random place in the order of all
plans; most often the first run holds. (Enumerating and caching all plans was six times slower: more than half of all
(alternative, shape, want) are met only once.)

The distribution drawn is therefore: at each node an alternative by weight among those that fit; its words (splits,
merges, kernels) by weight among those with which it has a plan; its parts freely if that fits, else along a plan.
From `max_depth` nested layers on, only the shortest alternatives are drawn. A sample that takes more than `max_nodes`
node draws, thrown-away ones included, or has more nodes, is dropped and counted: a grammar such as einspace's is
critical, and without such a limit its expected work has no bound.
"""

from __future__ import annotations

import copy
import gc
import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from evosearch.errors import ShapeError
from evosearch.grammar.core import Alternative, Derivation, Grammar, SymbolKind
from evosearch.layers.base import Layer, Shape, Want, Word, matches, show
from evosearch.layers.vocabulary import word_rules
from evosearch.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from evosearch.grammar.core import Terminal

MAX_TEMPLATES = 500  # ways to fill an alternative's words that are enumerated; beyond, a sample of 64 stands for them
MAX_PLAN_RUNS = 256  # runs of a rule in search of a plan; einspace's need 81 at most
MAX_CACHED = 4_000  # shapes remembered in each generation of a memory
FRESH_TRIES = 4  # random fillings of an endless alternative that are tried before its representatives

Plan = tuple[Shape, ...]
T = TypeVar("T")


class TooLarge(Exception):
    """The sample being drawn takes more than `max_nodes` draws. Never leaves `Space.draw` and `Space.draw_at`."""


class Categorical(NamedTuple):
    """Items to draw by weight."""

    items: tuple[Any, ...]
    cumulative: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Iterable[tuple[Any, float]]) -> Categorical:
        kept = [(item, weight) for item, weight in pairs if weight > 0]
        return cls(tuple(item for item, _ in kept), tuple(itertools.accumulate(weight for _, weight in kept)))

    def draw(self, rng: np.random.Generator) -> Any:
        """One item, with probability in proportion to its weight."""
        items, cumulative = self
        if len(items) == 1:
            return items[0]
        # the sum's rounding can put the point at the very end, past the last item
        return items[min(bisect_right(cumulative, rng.random() * cumulative[-1]), len(items) - 1)]

    def shuffled(self, rng: np.random.Generator) -> Iterator[Any]:
        """All items in random order, heavier ones earlier (Efraimidis and Spirakis 2006)."""
        weights = np.diff(np.array((0.0, *self.cumulative)))
        order = np.argsort(rng.exponential(size=len(self.items)) / weights)
        return (self.items[index] for index in order)

    def pairs(self) -> list[tuple[Any, float]]:
        lows = (0.0, *self.cumulative)
        return [(item, high - low) for item, high, low in zip(self.items, self.cumulative, lows, strict=False)]

    def without(self, item: Any) -> Categorical:
        return Categorical.of(pair for pair in self.pairs() if pair[0] is not item)


class Skeleton(NamedTuple):
    """An alternative with its words filled in; an int among the parts is the index of a slot."""

    alternative: Alternative
    tokens: tuple[str, ...]
    parts: tuple[Any, ...]  # Derivation | Skeleton | int

    def fill(self, drawn: Sequence[Derivation]) -> Derivation:
        parts = tuple([drawn[p] if type(p) is int else p.fill(drawn) if type(p) is Skeleton else p for p in self.parts])
        return Derivation(self.alternative, self.tokens, parts)


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """An alternative with its words chosen: a layer, and the rules of the parts that are still to be drawn."""

    layer: Layer
    skeleton: Skeleton
    slots: tuple[str, ...]


class Compiled(NamedTuple):
    """What the sampler works out once for an alternative.

    choice: the rule below, where the alternative only chooses; else None and `templates` is set.
    endless: its words or its number of parts are more than were enumerated; `templates` are representatives.
    """

    choice: str | None
    leaf: bool
    templates: Categorical
    endless: bool
    height: float

    @property
    def simple(self) -> bool:
        """Whether it is a leaf whose every template is known."""
        return self.leaf and not self.endless


@dataclass(slots=True)
class SamplingStats:
    """What drawing took, since the sampler was made."""

    samples: int = 0
    dropped: int = 0  # samples over max_nodes
    draws: int = 0  # alternatives drawn
    refused: int = 0  # alternatives that did not fit where they were drawn, so that another was drawn
    replanned: int = 0  # free draws thrown away since a later part could not follow


def heights(grammar: Grammar) -> dict[str, float]:
    """The height of each rule's shortest drawable derivation, in nodes; inf where it has none."""
    result = dict.fromkeys(grammar.rules, math.inf)
    changed = True
    while changed:
        changed = False
        for rule, alternatives in grammar.rules.items():
            best = min((height_of(a, result) for a in alternatives if a.weight > 0), default=math.inf)
            if best < result[rule]:
                result[rule], changed = best, True
    return result


def height_of(alternative: Alternative, rules: Mapping[str, float]) -> float:
    return 1 + max((rules[rule] for rule in alternative.rules), default=0)


def kinds(grammar: Grammar, classes: Mapping[str, type]) -> dict[str, str]:
    """Each rule's kind: "word" (no layer below), "part" (always one layer), "splice" (any number of them)."""

    def is_layer(alternative: Alternative) -> bool:
        return alternative.layer is not None and not issubclass(classes[alternative.layer], Word)

    layered = set(grammar.rules) - word_rules(grammar, classes)
    parts = set(layered)

    def is_part(alternative: Alternative) -> bool:
        if alternative.layer is not None:
            return is_layer(alternative)
        return len(alternative.rules) == 1 and not alternative.terminals and alternative.rules[0] in parts

    while fewer := {rule for rule in parts if not all(map(is_part, grammar.rules[rule]))}:
        parts -= fewer
    return {rule: "part" if rule in parts else "splice" if rule in layered else "word" for rule in grammar.rules}


def flatten(
    alternative: Alternative,
    tokens: Sequence[str],
    parts: Sequence[Any],
    kinds: Mapping[str, str],
    make: Callable[[Alternative, tuple[Any, ...]], Any],
) -> tuple[list[Any], list[Any]]:
    """(arguments, parts) of a node's layer, in the sentence's order, with whatever has no layer spliced in.

    parts may hold Derivations, Skeletons and slot indices; `make(alternative, arguments)` makes the layer or word.
    """
    arguments: list[Any] = []
    layers: list[Any] = []
    next_token, next_part = iter(tokens), iter(parts)
    for symbol in alternative.symbols:
        if symbol.kind is SymbolKind.TERMINAL:
            arguments.append(next(next_token))
        elif symbol.kind is SymbolKind.RULE:
            part, kind = next(next_part), kinds[symbol.name]
            if kind == "part" or isinstance(part, int):
                layers.append(part)
                continue
            if part.alternative.layer is None:
                below = flatten(part.alternative, part.tokens, part.parts, kinds, make)
                arguments += below[0]
                layers += below[1]
            elif kind == "word":
                below = flatten(part.alternative, part.tokens, part.parts, kinds, make)
                arguments.append(make(part.alternative, tuple(below[0])))
            else:
                layers.append(part)
    return arguments, layers


class Sampler:
    """Draws derivations of a grammar that fit a shape. Its caches change its speed, never what it draws.

    Args:
        classes: layer and word classes by the names that the grammar uses; empty for a language without shapes.
        make: (alternative, arguments) -> layer or word instance, cached.
        output: the output shape of a finished derivation at a shape; raises ShapeError.

    terminals: what texts are drawn from, by name.
    """

    def __init__(
        self,
        grammar: Grammar,
        classes: Mapping[str, type],
        make: Callable[[Alternative, tuple[Any, ...]], Any],
        *,
        output: Callable[[Derivation, Shape], Shape],
        max_nodes: int,
        max_depth: int,
    ) -> None:
        self.grammar, self.make, self.output = grammar, make, output
        self.max_nodes, self.max_depth = max_nodes, max_depth
        self.stats = SamplingStats()
        self.heights = heights(grammar)
        self.kinds = kinds(grammar, classes) if classes else dict.fromkeys(grammar.rules, "word")
        every = [alternative for alternatives in grammar.rules.values() for alternative in alternatives]
        self.fixed = {one: Derivation(one) for one in every if not one.terminals and not one.rules}
        self._templates: Recent[Skeleton, Template] = Recent(MAX_CACHED)
        self._planless: Recent[tuple[Shape, Want], set[Template]] = Recent(MAX_CACHED // 4)
        self._reach: Recent[tuple[str, Shape], dict[Shape, None]] = Recent(MAX_CACHED)
        self._reach_by_height: Recent[tuple[str, Shape, int], dict[Shape, None]] = Recent(MAX_CACHED)
        self._weigh({}, {})

    def reweighed(self, weights: Mapping[Alternative, float], terminals: Mapping[str, Terminal]) -> Sampler:
        """A sampler of the same language that draws by other weights, where these say any.

        What has weight 0 keeps it, and nothing else gets it: what can be drawn at all, and which shapes are within
        reach, hangs on that, and is shared.
        """
        other = copy.copy(self)
        other._weigh(weights, terminals)
        return other

    def _weigh(self, weights: Mapping[Alternative, float], terminals: Mapping[str, Terminal]) -> None:
        grammar = self.grammar
        self.weights = weights
        self.terminals = {**grammar.terminals, **terminals}
        drawable = {
            rule: [(a, weights.get(a, a.weight)) for a in alternatives if height_of(a, self.heights) < math.inf]
            for rule, alternatives in grammar.rules.items()
        }
        self.alternatives = {rule: Categorical.of(pairs) for rule, pairs in drawable.items()}
        self.shortest = {
            rule: Categorical.of((a, w) for a, w in pairs if height_of(a, self.heights) == self.heights[rule])
            for rule, pairs in drawable.items()
        }
        self._compiled: dict[Alternative, Compiled] = {}
        self._templates_by_axes: dict[tuple[Alternative, int, int | None], Categorical] = {}
        self._leaf_templates: dict[str, list[tuple[Template, Derivation, float]]] = {}
        self._words: dict[str, list[tuple[Derivation, float]] | None] = {}
        self._leaves: Recent[tuple[str, Shape], tuple[Shape | None, ...]] = Recent(MAX_CACHED)
        self._fitting_leaves: Recent[tuple[str, Shape, Want], Categorical] = Recent(MAX_CACHED)

    # -- drawing ------------------------------------------------------------------------------------------------

    def draw(
        self, rng: np.random.Generator, rule: str, shape: Shape, want: Want = None, depth: int = 0, max_nodes: int = 0
    ) -> tuple[Derivation, Shape]:
        """A derivation of `rule` that fits at `shape` (and gives `want`), and its output shape.

        Raises ShapeError where none fits, TooLarge where it takes more than `max_nodes` draws.
        """
        drawing = _Drawing(self, rng, max_nodes or self.max_nodes)
        collecting = gc.isenabled()
        gc.disable()  # drawing makes many small objects and no cycles: collecting them took four fifths of the time
        try:
            found = drawing.part(rule, shape, want, depth)
        finally:
            self.stats.draws += drawing.budget - drawing.left
            if collecting:
                gc.enable()
        if found is None:
            raise ShapeError(f"no alternative of {rule!r} fits at {show(shape)}")
        if found[0].size > drawing.budget:  # words are nodes too, and are not drawn one by one
            raise TooLarge
        return found

    def draw_free(self, rng: np.random.Generator, rule: str, *, max_nodes: int = 0, depth: int = 0) -> Derivation:
        """A derivation of `rule` by the weights alone, shapes aside; raises TooLarge. Uses no recursion."""
        left = max_nodes or self.max_nodes
        open_nodes: list[tuple[Alternative, tuple[str, ...], list[Derivation]]] = []
        while True:
            left -= 1
            if left < 0:
                raise TooLarge
            short = depth + len(open_nodes) >= self.max_depth
            alternative = (self.shortest if short else self.alternatives)[rule].draw(rng)
            done = self.fixed.get(alternative)
            if done is None:
                tokens = tuple([self.terminals[name].draw(rng) for name in alternative.terminals])
                if alternative.rules:
                    open_nodes.append((alternative, tokens, []))
                    rule = alternative.rules[0]
                    continue
                done = Derivation(alternative, tokens)
            while open_nodes:
                above, tokens, parts = open_nodes[-1]
                parts.append(done)
                if len(parts) < len(above.rules):
                    rule = above.rules[len(parts)]
                    break
                open_nodes.pop()
                done = Derivation(above, tokens, tuple(parts))
            else:
                self.stats.draws += (max_nodes or self.max_nodes) - left
                return done

    # -- what is worked out once for an alternative -------------------------------------------------------------

    def compiled(self, alternative: Alternative) -> Compiled:
        found = self._compiled.get(alternative)
        if found is None:
            found = self._compiled[alternative] = self._compile(alternative)
        return found

    def _compile(self, alternative: Alternative) -> Compiled:
        height = height_of(alternative, self.heights)
        if alternative.layer is None and len(alternative.rules) == 1 and self.kinds[alternative.rules[0]] == "part":
            return Compiled(alternative.rules[0], False, Categorical((), ()), False, height)
        skeletons = self._skeletons(alternative)
        endless = skeletons is None
        if skeletons is None:
            # the same for every run: representatives must not depend on who asks first
            rng = np.random.default_rng(0)
            skeletons = [(self._shortest(alternative, rng), 1.0) for _ in range(64)]
            skeletons = [(skeleton, 1.0) for skeleton in dict.fromkeys(skeleton for skeleton, _ in skeletons)]
        templates = Categorical.of((self.template(skeleton), weight) for skeleton, weight in skeletons)
        return Compiled(None, not any(template.slots for template in templates.items), templates, endless, height)

    def weight(self, alternative: Alternative) -> float:
        """The alternative's probability in its rule, as it is drawn here."""
        return self.weights.get(alternative, alternative.weight)

    def template(self, skeleton: Skeleton) -> Template:
        found = self._templates[skeleton]
        if found is None:
            arguments, _ = flatten(*skeleton, self.kinds, self.make)
            layer = self.make(skeleton.alternative, tuple(arguments))
            found = self._templates[skeleton] = Template(layer, skeleton, tuple(_slot_rules(skeleton)))
        return found

    def _skeletons(self, alternative: Alternative) -> list[tuple[Skeleton, float]] | None:
        """Every way to fill the alternative's words, with its probability; None where they are too many."""
        tokens = self._token_choices(alternative)
        slots = itertools.count()
        parts: list[list[tuple[Any, float]]] = []
        for rule in alternative.rules:
            if self.kinds[rule] == "part":
                parts.append([(next(slots), 1.0)])
            elif self.kinds[rule] == "word" and (words := self.words(rule)) is not None:
                parts.append(words)
            else:
                return None
        if tokens is None or math.prod(map(len, (*tokens, *parts))) > MAX_TEMPLATES:
            return None
        found = []
        for chosen in itertools.product(*tokens, *parts):
            items = tuple(item for item, _ in chosen)
            skeleton = Skeleton(alternative, items[: len(tokens)], items[len(tokens) :])
            found.append((skeleton, math.prod(weight for _, weight in chosen)))
        return found

    def _token_choices(self, alternative: Alternative) -> list[Sequence[tuple[str, float]]] | None:
        terminals = [self.terminals[name] for name in alternative.terminals]
        if any(terminal.choices is None for terminal in terminals):
            return None
        return [terminal.choices or () for terminal in terminals]

    def words(self, rule: str) -> list[tuple[Derivation, float]] | None:
        """Every derivation of a word rule with its probability; None where they are too many or endless."""
        if rule not in self._words:
            self._words[rule] = None  # a rule that contains itself has no end
            found: list[tuple[Derivation, float]] | None = []
            for alternative in self.grammar.rules[rule]:
                if alternative.weight == 0:
                    continue
                tokens, below = self._token_choices(alternative), [self.words(r) for r in alternative.rules]
                if tokens is None or any(words is None for words in below):
                    found = None
                    break
                choices = [*tokens, *(words or [] for words in below)]
                if found is None or len(found) + math.prod(map(len, choices)) > MAX_TEMPLATES:
                    found = None
                    break
                for chosen in itertools.product(*choices):
                    texts = tuple(item for item, _ in chosen[: len(tokens)])
                    parts = tuple(item for item, _ in chosen[len(tokens) :])
                    weight = self.weight(alternative) * math.prod(weight for _, weight in chosen)
                    if weight > 0:
                        found.append((Derivation(alternative, texts, parts), weight))  # type: ignore[arg-type]
            self._words[rule] = found
        return self._words[rule]

    def fresh(self, alternative: Alternative, rng: np.random.Generator) -> Skeleton:
        """The alternative with its words and its number of parts drawn by weight."""
        return self._grow(alternative, rng, self.alternatives, itertools.count())

    def _shortest(self, alternative: Alternative, rng: np.random.Generator) -> Skeleton:
        return self._grow(alternative, rng, self.shortest, itertools.count())

    def _grow(
        self,
        alternative: Alternative,
        rng: np.random.Generator,
        alternatives: Mapping[str, Categorical],
        slots: itertools.count[int],
    ) -> Skeleton:
        tokens = tuple(self.terminals[name].draw(rng) for name in alternative.terminals)
        parts: list[Any] = []
        for rule in alternative.rules:
            if self.kinds[rule] == "part":
                parts.append(next(slots))
            elif self.kinds[rule] == "word":
                parts.append(self.draw_free(rng, rule))
            else:
                below = alternatives[rule].draw(rng)
                parts.append(self._grow(below, rng, alternatives, slots))
        return Skeleton(alternative, tokens, tuple(parts))

    def templates(self, alternative: Alternative, axes: int, want_axes: int | None) -> Categorical:
        """The alternative's templates, less those that can't hold for any shapes with so many axes."""
        key = (alternative, axes, want_axes)
        found = self._templates_by_axes.get(key)
        if found is None:
            pairs = self.compiled(alternative).templates.pairs()
            found = Categorical.of(pair for pair in pairs if pair[0].layer.fits_axes(axes, want_axes))
            self._templates_by_axes[key] = found
        return found

    # -- what is worked out once for a shape ----------------------------------------------------------------------

    def leaves(self, rule: str, shape: Shape) -> tuple[Shape | None, ...]:
        """The output shapes at a shape of what `leaf_templates` has; None for one that does not fit."""
        key = (rule, shape)
        found = self._leaves[key]
        if found is None:
            outputs: list[Shape | None] = []
            for template, _, _ in self.leaf_templates(rule):
                try:
                    outputs.append(template.layer.shape(shape))
                except ShapeError:  # not an accident: this is how a rule says that it does not fit
                    outputs.append(None)
            found = self._leaves[key] = tuple(outputs)
        return found

    def fitting_leaves(self, rule: str, shape: Shape, want: Want) -> Categorical:
        """The leaves that fit at a shape and give `want`, as their places in `leaf_templates`.

        Places, as tuples of numbers are none of the garbage collector's: most shapes are met and never seen again.
        """
        key = (rule, shape, want)
        found = self._fitting_leaves[key]
        if found is None:
            templates = self.leaf_templates(rule)
            found = self._fitting_leaves[key] = Categorical.of(
                (at, templates[at][2])
                for at, output in enumerate(self.leaves(rule, shape))
                if output is not None and (want is None or output == want)
            )
        return found

    def leaf_templates(self, rule: str) -> list[tuple[Template, Derivation, float]]:
        """Every template of the rule's simple alternatives, with its probability in the rule."""
        found = self._leaf_templates.get(rule)
        if found is None:
            found = self._leaf_templates[rule] = []
            for alternative in self.alternatives[rule].items:
                compiled = self.compiled(alternative)
                if compiled.simple:
                    total = compiled.templates.cumulative[-1]
                    found += [
                        (template, template.skeleton.fill(()), self.weight(alternative) * weight / total)
                        for template, weight in compiled.templates.pairs()
                    ]
        return found

    def reach(self, rule: str, shape: Shape) -> dict[Shape, None]:
        """The output shapes of the shortest derivations of `rule` that fit at `shape`, in a fixed order."""
        key = (rule, shape)
        found = self._reach[key]
        if found is None:
            shortest = self.heights[rule]
            found = {}
            if shortest < math.inf:
                for height in range(int(shortest), int(shortest) + 4):
                    found = self._reach_within(rule, shape, height)
                    if found:
                        break
            self._reach[key] = found
        return found

    def _reach_within(self, rule: str, shape: Shape, height: int) -> dict[Shape, None]:
        key = (rule, shape, height)
        known = self._reach_by_height[key]
        if known is not None:
            return known
        found: dict[Shape, None] = {}
        if height > 0:
            found.update((output, None) for output in self.leaves(rule, shape) if output is not None)
        for alternative in self.alternatives[rule].items:
            compiled = self.compiled(alternative)
            if compiled.height > height:
                continue
            if compiled.choice is not None:
                found.update(self._reach_within(compiled.choice, shape, height - 1))
            elif not compiled.simple:
                for template in compiled.templates.items:
                    self._run_plans(
                        template, shape, None, 0.0, lambda r, s: self._reach_within(r, s, height - 1), found
                    )
        self._reach_by_height[key] = found
        return found

    def plan(self, template: Template, shape: Shape, want: Want, start: float) -> Plan | None:
        """Output shapes for the template's parts with which its rule holds at `shape` and gives `want`, or None.

        start: a random number in [0, 1): where among all plans to begin.
        """
        planless = self.planless(shape, want)
        if template in planless:
            return None
        found, seen_all = self._run_plans(template, shape, want, start, self.reach)
        if seen_all:  # else another start might find one: what is remembered must not change what is drawn
            planless.add(template)
        return found

    def planless(self, shape: Shape, want: Want) -> set[Template]:
        """The templates that are known to have no plan at a shape, for a wanted output."""
        key = (shape, want)
        found = self._planless[key]
        if found is None:
            found = self._planless[key] = set()
        return found

    def _run_plans(
        self,
        template: Template,
        shape: Shape,
        want: Want,
        start: float,
        reach: Callable[[str, Shape], dict[Shape, None]],
        outputs: dict[Shape, None] | None = None,
    ) -> tuple[Plan | None, bool]:
        """Runs the rule again and again, its parts going through the shapes they reach like an odometer's wheels.

        Returns the first plan that holds, and whether all were tried in vain; with `outputs`, collects the outputs of
        all that hold instead.
        """
        position: list[int] = []  # of each wheel, in the order in which the rule calls its parts
        rule, slots = template.layer.shape, template.slots
        if len(slots) == 1:
            return _run_plans_of_one(rule, slots[0], shape, want, start, reach, outputs)
        for _ in range(MAX_PLAN_RUNS):
            lengths: list[int] = []
            chosen: list[tuple[Shape, Shape] | None] = [None] * len(slots)
            calls = [_planning_part(i, slots[i], chosen, position, lengths, start, reach) for i in range(len(slots))]
            try:
                output = rule(shape, *calls, want=want) if slots else rule(shape)
            except ShapeError:
                pass  # these shapes do not go together: the next ones
            else:
                if want is None or output == want:
                    if outputs is None:
                        return tuple([pair[1] if pair else () for pair in chosen]), False
                    outputs[output] = None
            del position[len(lengths) :]
            while position and position[-1] + 1 == lengths[len(position) - 1]:
                position.pop()
            if not position:
                return None, True
            position[-1] += 1
        return None, False


def _slot_rules(skeleton: Skeleton) -> list[str]:
    rules: list[str] = []
    for rule, part in zip(skeleton.alternative.rules, skeleton.parts, strict=True):
        if isinstance(part, int):
            rules.append(rule)
        elif isinstance(part, Skeleton):
            rules += _slot_rules(part)
    return rules


def _run_plans_of_one(
    rule: Callable[..., Shape],
    slot: str,
    shape: Shape,
    want: Want,
    start: float,
    reach: Callable[[str, Shape], dict[Shape, None]],
    outputs: dict[Shape, None] | None,
) -> tuple[Plan | None, bool]:
    """`Sampler._run_plans` with a single wheel: most of the plans that are looked for, and most of those in vain."""
    planned: list[tuple[Shape, Shape]] = []  # of the one part, once the rule has called it
    turn = length = 0

    def part(x: Shape, want: Want = None) -> Shape:
        nonlocal length
        if planned:
            return _planned_again(planned[0], slot, x, reach)
        candidates = _candidates(slot, x, want, reach)
        length = len(candidates)
        output = candidates[(turn + int(start * length)) % length]
        planned.append((x, output))
        return output

    for turn in range(MAX_PLAN_RUNS):
        planned.clear()
        length = 0
        try:
            output = rule(shape, part, want=want)
        except ShapeError:
            pass  # this shape does not go: the next one
        else:
            if want is None or output == want:
                if outputs is None:
                    return (planned[0][1] if planned else (),), False
                outputs[output] = None
        if turn + 1 >= length:
            return None, True
    return None, False


def _planned_again(
    before: tuple[Shape, Shape], rule: str, x: Shape, reach: Callable[[str, Shape], dict[Shape, None]]
) -> Shape:
    """The output of a part that was planned for one input shape and is called once more."""
    if before[0] == x:
        return before[1]
    if before[0] == before[1] and list(reach(rule, x)) == [x]:
        return x  # a part that keeps its shape keeps it everywhere, as the cell of a stack of cells
    raise ShapeError("a part that is used twice is planned for one input shape")


def _candidates(rule: str, x: Shape, want: Want, reach: Callable[[str, Shape], dict[Shape, None]]) -> list[Shape]:
    """The outputs within sure reach of a part that are wanted. Raises ShapeError where there are none."""
    found = reach(rule, x)
    if want is None:
        candidates = list(found)
    elif None in want:
        candidates = [output for output in found if matches(output, want)]
    else:
        candidates = [want] if want in found else []  # type: ignore[list-item]
    if not candidates:
        raise ShapeError("no shape within reach fits")
    return candidates


def _planning_part(
    index: int,
    rule: str,
    chosen: list[tuple[Shape, Shape] | None],
    position: list[int],
    lengths: list[int],
    start: float,
    reach: Callable[[str, Shape], dict[Shape, None]],
) -> Callable[..., Shape]:
    def part(x: Shape, want: Want = None) -> Shape:
        before = chosen[index]
        if before is not None:
            return _planned_again(before, rule, x, reach)
        candidates = _candidates(rule, x, want, reach)
        wheel = len(lengths)
        if wheel == len(position):
            position.append(0)
        lengths.append(len(candidates))
        turn = int(start * len(candidates))
        output = candidates[(position[wheel] + turn) % len(candidates)]
        chosen[index] = (x, output)
        return output

    return part


class _Drawing:
    """One sample in the making: its random numbers and how many draws it has left."""

    __slots__ = ("budget", "left", "rng", "sampler")

    def __init__(self, sampler: Sampler, rng: np.random.Generator, budget: int) -> None:
        self.sampler, self.rng, self.budget, self.left = sampler, rng, budget, budget

    def part(self, rule: str, x: Shape, want: Want, depth: int) -> tuple[Derivation, Shape] | None:
        """A derivation of `rule` at `x` and its output shape, or None where no alternative fits."""
        sampler = self.sampler
        if want is not None and None in want:
            candidates = [output for output in sampler.reach(rule, x) if matches(output, want)]
            if not candidates:
                return None
            want = candidates[int(self.rng.random() * len(candidates))]
        short = depth >= sampler.max_depth
        choices = (sampler.shortest if short else sampler.alternatives)[rule]
        while choices.items:
            alternative = choices.draw(self.rng)
            if sampler.compiled(alternative).simple:
                # all leaves in one look-up: one of them by weight, if any fits
                fitting = sampler.fitting_leaves(rule, x, want)
                self.left -= 1
                if fitting.items:
                    at = fitting.draw(self.rng)
                    output = sampler.leaves(rule, x)[at]
                    assert output is not None  # it fits
                    return sampler.leaf_templates(rule)[at][1], output
                choices = Categorical.of(pair for pair in choices.pairs() if not sampler.compiled(pair[0]).simple)
            else:
                drawn = self.alternative(alternative, x, want, depth)
                if drawn is not None:
                    return drawn
                sampler.stats.refused += 1
                choices = choices.without(alternative)
            if short and not choices.items:
                # the shortest do not fit here: any other that does is better than none
                choices, short = sampler.alternatives[rule], False
        return None

    def alternative(
        self, alternative: Alternative, x: Shape, want: Want, depth: int
    ) -> tuple[Derivation, Shape] | None:
        """The alternative drawn at `x`, or None where it does not fit."""
        sampler, rng = self.sampler, self.rng
        self.left -= 1
        if self.left < 0:
            raise TooLarge
        compiled = sampler.compiled(alternative)
        if compiled.choice is not None:
            below = self.part(compiled.choice, x, want, depth)
            return below and (Derivation(alternative, (), (below[0],)), below[1])
        if compiled.endless:
            for _ in range(FRESH_TRIES):
                template = sampler.template(sampler.fresh(alternative, rng))
                drawn = self.template(template, x, want, depth, rng.random())
                if drawn is not None:
                    return drawn
        return self.any_template(sampler.templates(alternative, len(x), len(want) if want else None), x, want, depth)

    def any_template(self, templates: Categorical, x: Shape, want: Want, depth: int) -> tuple[Derivation, Shape] | None:
        """One of the templates, by weight among those that fit; None where none does."""
        # As `templates.draw` and `Sampler.plan` do it, and written out: it is done hundreds of times for one network.
        items, cumulative = templates
        random, planless, last = self.rng.random, self.sampler.planless(x, want), len(items) - 1
        unfit: dict[Template, None] = {}
        for _ in items:
            template = items[min(bisect_right(cumulative, random() * cumulative[-1]), last) if last else 0]
            if template in unfit:
                continue
            start = random()
            if template not in planless:
                drawn = self.template(template, x, want, depth, start)
                if drawn is not None:
                    return drawn
            unfit[template] = None
        # most do not fit: draw among those that have not been tried
        rest = Categorical.of(pair for pair in templates.pairs() if pair[0] not in unfit)
        while rest.items:
            template = rest.draw(self.rng)
            drawn = self.template(template, x, want, depth, random())
            if drawn is not None:
                return drawn
            rest = rest.without(template)
        return None

    def template(
        self, template: Template, x: Shape, want: Want, depth: int, start: float
    ) -> tuple[Derivation, Shape] | None:
        """The template's parts drawn so that its rule holds, or None where it has no plan. start: as for `plan`."""
        plan = self.sampler.plan(template, x, want, start)
        if plan is None:
            return None
        if want is None:
            try:
                return self.run(template, x, None, None, depth)
            except ShapeError:
                self.sampler.stats.replanned += 1
        return self.run(template, x, want, plan, depth)

    def run(self, template: Template, x: Shape, want: Want, plan: Plan | None, depth: int) -> tuple[Derivation, Shape]:
        drawn: list[Any] = [None] * len(template.slots)
        shapes: list[tuple[Shape, Shape]] = [((), ())] * len(template.slots)
        calls = [self.drawing_part(i, rule, drawn, shapes, plan, depth) for i, rule in enumerate(template.slots)]
        if template.slots:
            output = template.layer.shape(x, *calls, want=want)
        else:
            output = template.layer.shape(x)
        return template.skeleton.fill(drawn), output

    def drawing_part(
        self,
        index: int,
        rule: str,
        drawn: list[Any],
        shapes: list[tuple[Shape, Shape]],
        plan: Plan | None,
        depth: int,
    ) -> Callable[..., Shape]:
        def part(x: Shape, want: Want = None) -> Shape:
            if drawn[index] is None:
                found = self.part(rule, x, want if plan is None else plan[index], depth + 1)
                if found is None:
                    raise ShapeError(f"no alternative of {rule!r} fits")
                drawn[index], shapes[index] = found[0], (x, found[1])
                return found[1]
            return shapes[index][1] if shapes[index][0] == x else self.sampler.output(drawn[index], x)

        return part
