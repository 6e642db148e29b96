"""What mutations and crossovers are written with: places in a derivation, and drawing what fits there.

An offspring is valid because what is put at a place has the input and output shapes of what stood there. Nothing here
draws and hopes: where a context around a kept sub-tree is wanted, the layer's rule itself is run with the kept part
standing for its shapes, and only then the other parts are drawn to the shapes found.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from evosearch.errors import ShapeError
from evosearch.grammar.core import Alternative, Derivation, Grammar
from evosearch.layers.base import Series, Shape, Want, matches
from evosearch.layers.library.activations import Identity
from evosearch.layers.residuals import is_residual
from evosearch.sampler import Categorical

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from evosearch.architecture import Site, Space
    from evosearch.sampler import Template

MAX_TEMPLATES = 160  # ways to fill a wrapper's words that are tried around one kept part; einspace's branching has 144
MAX_RUNS = 12  # shapes tried for the parts before the kept one, per way
REDRAWN_NODES = 100  # most node draws for a redrawn sub-tree that was smaller than that
NARROWED_NODES, NARROWED_VARIANTS = 6, 6  # places looked at for a narrower layer, and changes tried at each
CONTEXT_NODES = 40  # most node draws for one part of a new context, so that an insertion stays a small step

SMALL = 600  # nodes read in all while loosely fitting pairs are tried: small networks get more tries than large ones

T = TypeVar("T")
Chain = tuple[Alternative, ...]
Make = Callable[[str, Shape | None], Derivation | None]


def one_of(items: Sequence[T], rng: np.random.Generator) -> T:
    """One item, uniformly."""
    return items[int(rng.random() * len(items))]


def shuffled(items: Sequence[T], rng: np.random.Generator) -> Iterator[T]:
    """All items in random order; what is not asked for is not drawn."""
    return _picked(items, rng.random)


def permuted(items: Sequence[T], rng: np.random.Generator) -> Iterator[T]:
    """The same, with all random numbers drawn now: what is drawn next does not hang on how many items are asked for."""
    return _picked(items, iter(rng.random(len(items)).tolist()).__next__)


def _picked(items: Sequence[T], draw: Callable[[], float]) -> Iterator[T]:
    """Fisher and Yates' shuffle from the end, of which only what has moved is written down, and not before the next."""
    moved: dict[int, int] = {}
    for last in range(len(items) - 1, -1, -1):
        index = int(draw() * (last + 1))
        yield items[moved.get(index, index)]
        moved[index] = moved.get(last, last)


def pairs(items: Iterator[T]) -> Iterator[tuple[T, T]]:
    """`itertools.combinations(items, 2)`, which takes no more items than the pairs that are asked for have."""
    others: list[T] = []
    for first in islice(items, 1):
        for second in items:
            others.append(second)
            yield first, second
    yield from combinations(others, 2)


def inside(sites: Sequence[Site], index: int) -> Sequence[Site]:
    """The sites within the one at an index: in preorder they come right behind it."""
    outer = sites[index].path
    end = bisect_left(sites, True, index + 1, key=lambda site: site.path[: len(outer)] != outer)
    return sites[index + 1 : end]


def by_shapes(sites: Sequence[Site]) -> dict[tuple[Shape | None, Shape | None], Sequence[Site]]:
    """Sites by input and output shape, each group in their order; all are alike where there are no shapes."""
    if sites and sites[0].input is None:
        return {(None, None): sites}
    groups: dict[tuple[Shape | None, Shape | None], list[Site]] = {}
    for site in sites:
        groups.setdefault((site.input, site.output), []).append(site)
    return dict(groups)


def below_root(parent: Derivation, space: Space) -> Sequence[Site]:
    """The sites of `parent` without the root and whatever is its only part: redrawing those would be a new sample.

    The innermost one where there is nothing else.
    """
    sites = space.sites(parent)
    first = 0 if sites[0].path else 1  # a policy's state may have left some out, the root among them
    while first < len(sites) - 1 and sites[-1].path[: len(sites[first].path)] == sites[first].path:
        first += 1  # in preorder, what holds the last site holds all that come between
    return sites[first:] or sites[-1:]


def room(parent: Derivation, old: Derivation, space: Space) -> int:
    """Nodes that may stand in the place of `old` within the space's node limit."""
    return space.limits.max_nodes - (parent.size - old.size)


def same_shapes(a: Site, b: Site) -> bool:
    return a.input == b.input and a.output == b.output


def core(derivation: Derivation) -> Derivation:
    """The node that carries the layer: the derivation itself, or the one that its choices lead to."""
    while derivation.alternative.layer is None and len(derivation.parts) == 1 and not derivation.tokens:
        derivation = derivation.parts[0]
    return derivation


def chains(grammar: Grammar, rule: str) -> dict[Alternative, Chain]:
    """Every alternative that `rule` leads to by choosing alone, with the choices that lead to it."""
    found: dict[Alternative, Chain] = {}
    seen = {rule}
    open_rules: list[tuple[str, Chain]] = [(rule, ())]
    while open_rules:
        at, chain = open_rules.pop()
        for alternative in grammar.rules[at]:
            if alternative.layer is None and len(alternative.rules) == 1 and not alternative.terminals:
                below = alternative.rules[0]
                if below not in seen:
                    seen.add(below)
                    open_rules.append((below, (*chain, alternative)))
            else:
                found[alternative] = chain
    return found


def chained(chain: Chain, derivation: Derivation) -> Derivation:
    """The derivation under the choices of a chain."""
    for alternative in reversed(chain):
        derivation = Derivation(alternative, (), (derivation,))
    return derivation


def lift(space: Space, rule: str, derivation: Derivation) -> Derivation | None:
    """The derivation's layer as a derivation of `rule`, other choices put on; None where none lead there."""
    if derivation.rule == rule:
        return derivation
    inner = core(derivation)
    chain = _ways(space, rule).chains.get(inner.alternative)
    return None if chain is None else chained(chain, inner)


class _Ways(NamedTuple):
    """The alternatives that a rule leads to by choosing alone, with these choices: all, and those that may be drawn."""

    chains: dict[Alternative, Chain]
    drawable: tuple[tuple[Alternative, Chain], ...]


def _ways(space: Space, rule: str) -> _Ways:
    """Remembered with the space's grammar."""
    known = _known.get(id(space.grammar))
    if known is None or known[0] is not space.grammar:
        known = _known[id(space.grammar)] = (space.grammar, {})
    found = known[1].get(rule)
    if found is None:
        every = chains(space.grammar, rule)
        drawable = [(a, chain) for a, chain in every.items() if a.weight > 0 and all(one.weight > 0 for one in chain)]
        found = known[1][rule] = _Ways(every, tuple(drawable))
    return found


_known: dict[int, tuple[Grammar, dict[str, _Ways]]] = {}


def redraw_at(
    parent: Derivation, site: Site, space: Space, rng: np.random.Generator, want: Want, tries: int = 4
) -> Derivation | None:
    """The parent with the sub-tree at a site drawn anew, different from what stood there; None after `tries`.

    The new one has REDRAWN_NODES nodes at most, or as many as the old one had: einspace's process is critical, and
    the few huge samples would make mutants grow without end.
    """
    left = room(parent, site.derivation, space)
    nodes = min(left, max(REDRAWN_NODES, site.derivation.size))
    for _ in range(tries):
        new = space.draw_at(rng, site.rule, site.input, want, depth=site.depth, max_nodes=nodes)
        if new is not None and new is not site.derivation and new.size <= left:
            return parent.replace(site.path, new)
    return None


def wrap(kept: Site, space: Space, rng: np.random.Generator, *, every: bool = False) -> Derivation | None:
    """A derivation of the kept site's rule, with its shapes, that holds the kept sub-tree as one part.

    The other parts are drawn anew, each to a shape at which the layer's rule was seen to hold. every: the kept
    sub-tree stands for all parts instead, of which there must be two or more. None where no layer can be put around.
    """
    candidates = [(alternative, chain) for alternative, chain in _ways(space, kept.rule).drawable if alternative.rules]
    for alternative, chain in shuffled(candidates, rng):
        make = _wrap_free if kept.input is None else _wrap_shaped
        made = make(alternative, kept, space, rng, every)
        if made is not None:
            return chained(chain, made)
    return None


def _wrap_free(
    alternative: Alternative, kept: Site, space: Space, rng: np.random.Generator, every: bool
) -> Derivation | None:
    holding = [(index, lift(space, rule, kept.derivation)) for index, rule in enumerate(alternative.rules)]
    holders = {index: lifted for index, lifted in holding if lifted is not None}
    if not holders or (every and len(holders) < 2):
        return None
    chosen = set(holders) if every else {one_of(list(holders), rng)}
    parts: list[Derivation] = []
    for index, rule in enumerate(alternative.rules):
        lifted = holders.get(index) if index in chosen else None
        part = lifted or space.draw_at(rng, rule, None, depth=kept.depth + 1, max_nodes=CONTEXT_NODES)
        if part is None:
            return None
        parts.append(part)
    tokens = tuple(space.sampler.terminals[name].draw(rng) for name in alternative.terminals)
    return Derivation(alternative, tokens, tuple(parts))


def _wrap_shaped(
    alternative: Alternative, kept: Site, space: Space, rng: np.random.Generator, every: bool
) -> Derivation | None:
    sampler = space.sampler
    compiled = sampler.compiled(alternative)
    templates: Iterator[Template]
    if compiled.endless:
        templates = (sampler.template(sampler.fresh(alternative, rng)) for _ in range(4))
    else:
        templates = islice(compiled.templates.shuffled(rng), MAX_TEMPLATES)
    for template in templates:
        lifted = [lift(space, rule, kept.derivation) for rule in template.slots]
        holders = [index for index, part in enumerate(lifted) if part is not None]
        if not holders or (every and (len(holders) < 2 or len(holders) < len(template.slots))):
            continue
        fixed = set(holders) if every else {one_of(holders, rng)}
        planned = _plan(template, fixed, kept, space, rng)
        if planned is None:
            continue
        parts: list[Derivation] = []
        for index, rule in enumerate(template.slots):
            part = lifted[index] if index in fixed else None
            if part is None:
                inputs, output = planned[index]
                part = space.draw_at(rng, rule, inputs, output, depth=kept.depth + 1, max_nodes=CONTEXT_NODES)
            if part is None:
                break
            parts.append(part)
        if len(parts) == len(template.slots):
            return template.skeleton.fill(parts)
    return None


def _plan(
    template: Template, fixed: set[int], kept: Site, space: Space, rng: np.random.Generator
) -> list[tuple[Shape, Shape]] | None:
    """Input and output shape of each slot with which the template's rule holds around the kept site, or None.

    Where the rule says what it wants of a part, that is taken; where it doesn't, a shape within sure reach is.
    """
    assert kept.input is not None
    assert kept.output is not None
    shape_in: Shape = kept.input
    shape_out: Shape = kept.output
    slots: list[tuple[Shape, Shape]] = [((), ())] * len(template.slots)
    guessed = False

    def part(index: int) -> Any:
        def call(x: Shape, want: Want = None) -> Shape:
            nonlocal guessed
            if index in fixed:
                if x != shape_in:
                    raise ShapeError("the kept part takes another shape")
                output = shape_out
            elif slots[index] != ((), ()):
                if slots[index][0] != x:
                    raise ShapeError("a part that is used twice is planned for one input shape")
                return slots[index][1]
            else:
                reached = [y for y in space.sampler.reach(template.slots[index], x) if matches(y, want)]
                if not reached:
                    raise ShapeError("no shape within reach fits")
                # a part before the kept one most often has to end at the kept one's input
                guessed = guessed or len(reached) > 1
                output = shape_in if want is None and shape_in in reached and first else one_of(reached, rng)
            slots[index] = (x, output)
            return output

        return call

    for run in range(MAX_RUNS):
        first = run == 0
        try:
            output = template.layer.shape(shape_in, *[part(i) for i in range(len(slots))], want=shape_out)
        except ShapeError:
            output = None
        if output == shape_out:
            return slots
        if not guessed:
            return None
        slots[:] = [((), ())] * len(slots)
    return None


def exchange(parent: Derivation, site: Site, donor: Site, space: Space) -> Derivation | None:
    """The parent with the donor's sub-tree at the site; None where it doesn't go there or makes no difference."""
    if donor.derivation is site.derivation:
        return None
    new = lift(space, site.rule, donor.derivation)
    if new is None or new is site.derivation or new.size > room(parent, site.derivation, space):
        return None
    return parent.replace(site.path, new)


# Offspring that begin as their parents


def on_request(operator: T) -> T:
    """Declare a mutation to be used where a run names it, and not by those that name none."""
    operator.on_request = True  # type: ignore[attr-defined]
    return operator


def preserving(operator: T) -> T:
    """Likewise, of one whose offspring compute what their parents do once they have their weights
    (`evosearch.inherit`): where weights are inherited it is used unnamed.
    """
    operator.preserves = True  # type: ignore[attr-defined]
    return on_request(operator)


def residual(space: Space, rule: str, shape: Shape, depth: int, rng: np.random.Generator) -> Derivation | None:
    """A derivation of `rule` that adds what a drawn part makes to its input, of the given shape; None where none is.

    depth: layers around it.
    """
    for alternative, chain in shuffled(_ways(space, rule).drawable, rng):
        compiled = space.sampler.compiled(alternative)
        if compiled.endless or compiled.leaf:
            continue
        for template in islice(compiled.templates.shuffled(rng), MAX_TEMPLATES):
            made = _residual(template, space, shape, depth, rng)
            if made is not None:
                return chained(chain, made)
    return None


def _residual(
    template: Template, space: Space, shape: Shape, depth: int, rng: np.random.Generator
) -> Derivation | None:
    """The template with one part drawn to keep the shape and the identity in its other ones, where it is a residual."""
    passed = [_identity(space, rule) for rule in template.slots]
    if len(passed) > 1 and not _adds(template, passed, space, shape):
        return None
    for drawn in shuffled(range(len(passed)), rng):
        if any(part is None for index, part in enumerate(passed) if index != drawn):
            continue
        part = space.draw_at(rng, template.slots[drawn], shape, shape, depth=depth + 1, max_nodes=CONTEXT_NODES)
        parts = [part if index == drawn else one for index, one in enumerate(passed)]
        if part is not None and _adds(template, parts, space, shape):
            return template.skeleton.fill([one for one in parts if one is not None])
    return None


def doubled(space: Space, site: Site) -> Iterator[Derivation]:
    """A site's sub-tree as a sum of itself, in each way the grammar has: every part of the sum is the sub-tree."""
    assert site.input is not None
    for alternative, chain in _ways(space, site.rule).drawable:
        compiled = space.sampler.compiled(alternative)
        if compiled.endless or compiled.leaf:
            continue
        for template in compiled.templates.items:
            parts = [lift(space, slot, site.derivation) for slot in template.slots]
            there = [part for part in parts if part is not None]
            if there and len(there) == len(parts):
                yield chained(chain, template.skeleton.fill(there))


def _adds(template: Template, parts: Sequence[Derivation | None], space: Space, shape: Shape) -> bool:
    there = [part for part in parts if part is not None]
    if len(there) < len(parts):
        return False
    try:
        node = space.node(template.skeleton.fill(there), shape)
    except ShapeError:
        return False
    return node.output == shape and is_residual(node)


def _identity(space: Space, rule: str) -> Derivation | None:
    """The layer that does nothing as a derivation of a rule, where the grammar has it."""
    for alternative, chain in _ways(space, rule).drawable:
        if not alternative.rules and not alternative.terminals:
            one = chained(chain, Derivation(alternative, (), ()))
            if isinstance(space.bound(one)[0], Identity):
                return one
    return None


def neighbours(parent: Derivation, site: Site, make: Make, space: Space) -> Iterator[Derivation]:
    """The parent with a layer in a site's place that has the old sub-tree and a new one in a row, in either order.

    make: (rule, shape) -> the new one, drawn to take and give that shape, or None.
    """
    for alternative, chain in _ways(space, site.rule).drawable:
        compiled = space.sampler.compiled(alternative)
        if compiled.endless or compiled.leaf:
            continue
        for template in compiled.templates.items:
            if not isinstance(template.layer, Series) or len(template.slots) != 2:
                continue
            for kept, shape in ((0, site.output), (1, site.input)):
                old = lift(space, template.slots[kept], site.derivation)
                new = make(template.slots[1 - kept], shape) if old is not None else None
                if old is not None and new is not None:
                    parts = (old, new) if kept == 0 else (new, old)
                    yield parent.replace(site.path, chained(chain, template.skeleton.fill(parts)))


# Lists: `block (";" block)*` and its like, whose items stand in helper rules that repeat


def longer(parent: Derivation, site: Site, make: Make, space: Space) -> Iterator[Derivation]:
    """The parent with one more item beside the one at a site, in each way the grammar has; shapes are not checked.

    make: (rule, shape) -> the new item, drawn to take and give that shape, or None.
    """
    if not site.path:
        return
    at, index = site.path[:-1], site.path[-1]
    holder = _node(parent, at)
    alternative = holder.alternative
    for other in space.grammar.rules[holder.rule]:
        if other.weight <= 0 or other.layer != alternative.layer:
            continue
        if (
            other.layer is None
            and not other.terminals
            and other.rules.count(holder.rule) == 1
            and len(other.rules) == 2
        ):
            place = other.rules.index(holder.rule)
            new = _item(other.rules[1 - place], site.output if place == 0 else site.input, make, space)
            if new is not None:
                yield parent.replace(at, Derivation(other, (), (holder, new) if place == 0 else (new, holder)))
        if len(other.rules) == len(alternative.rules) + 1 and other.terminals == alternative.terminals:
            for extra, rule in enumerate(other.rules):
                if (*other.rules[:extra], *other.rules[extra + 1 :]) == alternative.rules:
                    new = _item(rule, site.output if extra > index else site.input, make, space)
                    if new is not None:
                        parts = (*holder.parts[:extra], new, *holder.parts[extra:])
                        yield parent.replace(at, Derivation(other, holder.tokens, parts))


def shorter(parent: Derivation, site: Site, space: Space) -> Iterator[Derivation]:
    """The parent without the item at a site, in each way the grammar has; shapes are not checked."""
    path = site.path
    while path:
        at, index = path[:-1], path[-1]
        holder = _node(parent, at)
        for place, part in enumerate(holder.parts):
            if (
                place != index
                and part.rule == holder.rule
                and len(holder.parts) == 2
                and holder.alternative.layer is None
            ):
                yield parent.replace(at, part)
        left = (*holder.parts[:index], *holder.parts[index + 1 :])
        rules = tuple(part.rule for part in left)
        for other in space.grammar.rules[holder.rule]:
            if (
                other.rules == rules
                and other.layer == holder.alternative.layer
                and other.terminals == holder.alternative.terminals
            ):
                yield parent.replace(at, Derivation(other, holder.tokens, left))
        if left or holder.alternative.layer is not None:
            return
        path = at  # it held this item alone: what holds it may do without it


def _item(rule: str, shape: Shape | None, make: Make, space: Space) -> Derivation | None:
    """One item of a rule: made, or where the rule repeats, the shortest repetition of one that is made."""
    if space.input is None or space.sampler.kinds[rule] != "splice":
        return make(rule, shape)
    for alternative in space.grammar.rules[rule]:
        if len(alternative.rules) == 1 and alternative.rules[0] != rule and alternative.weight > 0:
            new = _item(alternative.rules[0], shape, make, space)
            if new is not None and not alternative.terminals:
                return Derivation(alternative, (), (new,))
    return None


def _node(parent: Derivation, path: tuple[int, ...]) -> Derivation:
    for index in path:
        parent = parent.parts[index]
    return parent


# Single choices: an alternative or a terminal, everything else kept


def choices(parent: Derivation, space: Space) -> Sequence[tuple[tuple[int, ...], Derivation]]:
    """Every node at which something else could have been chosen, with its path; each before its parts, the last first.

    Each is found when it is asked for: a large tree is not walked.
    """
    del space  # what could have been chosen is the grammar's to say, and each alternative has it
    return _Choices(parent)


class _Choices(Sequence[tuple[tuple[int, ...], Derivation]]):
    def __init__(self, root: Derivation) -> None:
        self._root = root

    def __len__(self) -> int:
        return self._root.choices

    @overload
    def __getitem__(self, index: int) -> tuple[tuple[int, ...], Derivation]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[tuple[int, ...], Derivation]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(len(self))[index]]
        left, node = range(len(self))[index], self._root
        path: list[int] = []
        while left or not node.alternative.open:
            left -= node.alternative.open
            at = len(node.parts) - 1
            while left >= (below := node.parts[at].choices):
                left -= below
                at -= 1
            path.append(at)
            node = node.parts[at]
        return tuple(path), node


def variants(node: Derivation, space: Space, rng: np.random.Generator) -> Iterator[Derivation]:
    """The node with one thing changed, each way once, in random order; in a space that was learned, likelier ways
    earlier. A number from a range is drawn anew.
    """
    found = list(_variants(node, space, rng))
    if space.is_learned:
        return Categorical.of(found).shuffled(rng)
    return shuffled([variant for variant, _ in found], rng)


def _variants(node: Derivation, space: Space, rng: np.random.Generator) -> Iterator[tuple[Derivation, float]]:
    terminals = space.sampler.terminals
    for index, (name, text) in enumerate(zip(node.alternative.terminals, node.tokens, strict=True)):
        texts = terminals[name].choices or [(terminals[name].draw(rng), 0.5) for _ in range(2)]
        for other, weight in texts:
            if other != text and weight > 0:
                tokens = (*node.tokens[:index], other, *node.tokens[index + 1 :])
                yield Derivation(node.alternative, tokens, node.parts), weight
    for alternative in space.grammar.rules[node.rule]:
        if (
            alternative is not node.alternative
            and alternative.rules == node.alternative.rules
            and alternative.weight > 0
        ):
            old = dict(zip(node.alternative.terminals, node.tokens, strict=True))
            tokens = tuple(old.get(name) or terminals[name].draw(rng) for name in alternative.terminals)
            yield Derivation(alternative, tokens, node.parts), space.sampler.weight(alternative)


def narrowed(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """The parent with one argument of one layer changed so that it has fewer parameters; None where none was found."""
    if space.input is None:
        return None
    before = space.read(parent).cost.params
    for path, node in islice(shuffled(choices(parent, space), rng), NARROWED_NODES):
        for variant in islice(variants(node, space, rng), NARROWED_VARIANTS):
            if variant.alternative is not node.alternative:
                continue
            child = space.replaced(parent, path, variant)
            if child is not None and space.read(child).cost.params < before:
                return child
    return None
