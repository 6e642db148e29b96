"""Change one choice: one alternative or one terminal, everything else kept."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.grammar.core import Derivation
from evosearch.variation import shuffled

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from evosearch.architecture import Space

NODES = 6  # places looked at before giving up
VARIANTS = 6  # changes tried at one place


def change_choice(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a node and put another alternative with the same parts, or another text of one of its terminals.

    A width, a kernel, a split, a merge, an activation: the smallest step that a grammar knows. Changes that the
    shapes around do not allow are passed over.

    Source: point mutation of tree genotypes (Koza 1992, section 6.5.2); on a fixed cell it is the mutation of
    regularised evolution (Real et al. 2019).
    Keeps true: the tree's form, all of the node's parts, validity at the input shape.
    """
    for path, node in islice(shuffled(list(_choices(parent, space)), rng), NODES):
        for variant in islice(shuffled(list(_variants(node, space, rng)), rng), VARIANTS):
            child = parent.replace(path, variant)
            if space.fits(child):
                return child
    return None


def _choices(parent: Derivation, space: Space) -> Iterator[tuple[tuple[int, ...], Derivation]]:
    """Every node at which something else could have been chosen, with its path."""
    stack: list[tuple[tuple[int, ...], Derivation]] = [((), parent)]
    while stack:
        path, node = stack.pop()
        alternative = node.alternative
        if alternative.terminals or any(
            other is not alternative and other.rules == alternative.rules and other.weight > 0
            for other in space.grammar.rules[node.rule]
        ):
            yield path, node
        stack += [((*path, index), part) for index, part in enumerate(node.parts)]


def _variants(node: Derivation, space: Space, rng: np.random.Generator) -> Iterator[Derivation]:
    """The node with one thing changed, each way once; a number from a range is drawn anew."""
    terminals = space.grammar.terminals
    for index, (name, text) in enumerate(zip(node.alternative.terminals, node.tokens, strict=True)):
        choices = terminals[name].choices
        texts = [t for t, weight in choices if weight > 0] if choices else [terminals[name].draw(rng) for _ in range(2)]
        for other in texts:
            if other != text:
                yield Derivation(node.alternative, (*node.tokens[:index], other, *node.tokens[index + 1 :]), node.parts)
    for alternative in space.grammar.rules[node.rule]:
        if (
            alternative is not node.alternative
            and alternative.rules == node.alternative.rules
            and alternative.weight > 0
        ):
            old = dict(zip(node.alternative.terminals, node.tokens, strict=True))
            tokens = tuple(old.get(name) or terminals[name].draw(rng) for name in alternative.terminals)
            yield Derivation(alternative, tokens, node.parts)
