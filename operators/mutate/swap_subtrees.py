"""Swap two sub-trees that fit in each other's place."""

from __future__ import annotations

from itertools import combinations, islice
from typing import TYPE_CHECKING

from evosearch.variation import SMALL, by_shapes, lift, pairs, permuted, same_shapes, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Site, Space
    from evosearch.grammar.core import Derivation

PAIRS = 200  # pairs of one shape that are looked at
MIXED = 8  # sites of which pairs with different shapes are looked at, more in small networks


def swap_subtrees(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose two sub-trees, neither inside the other, and exchange them.

    Two with equal input and output shapes where there are; else any two whose exchange the rest of the network can
    take, such as the two halves of `seq(norm, linear(64))`.

    Source: permutation mutation of genetic programming (Koza 1992, section 6.5.3), between any two places.
    Keeps true: both sub-trees; the number of layers; validity at the input shape.
    """
    sites = space.sites(parent)
    alike = (
        pair
        for group in shuffled([group for group in by_shapes(sites).values() if len(group) > 1], rng)
        for pair in islice(pairs(permuted(group, rng)), PAIRS)
    )
    for a, b in alike:
        child = _swapped(parent, a, b, space)
        if child is not None:
            return child
    others = combinations(
        islice(shuffled([site for site in sites if site.path], rng), max(MIXED, SMALL // (4 * parent.size))), 2
    )
    for a, b in (pair for pair in others if not same_shapes(*pair)):
        child = _swapped(parent, a, b, space)
        if child is not None:
            return child
    return None


def _swapped(parent: Derivation, a: Site, b: Site, space: Space) -> Derivation | None:
    """The parent with the sub-trees at two sites exchanged; None where that cannot be or changes nothing."""
    if a.derivation is b.derivation or _nested(a.path, b.path):
        return None
    at_a, at_b = lift(space, a.rule, b.derivation), lift(space, b.rule, a.derivation)
    if at_a is None or at_b is None:
        return None
    child = parent.replace(a.path, at_a).replace(b.path, at_b)
    return child if child is not parent and space.fits(child) else None


def _nested(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]
