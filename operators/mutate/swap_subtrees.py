"""Swap two sub-trees that fit in each other's place."""

from __future__ import annotations

from itertools import combinations, islice
from typing import TYPE_CHECKING

from evosearch.variation import lift, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Site, Space
    from evosearch.grammar.core import Derivation

PAIRS = 200  # pairs of one shape that are looked at


def swap_subtrees(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose two sub-trees with equal input and output shapes, neither inside the other, and exchange them.

    Source: permutation mutation of genetic programming (Koza 1992, section 6.5.3), between any two places.
    Keeps true: every sub-tree and every shape; the number of nodes.
    """
    groups: dict[object, list[Site]] = {}
    for site in space.sites(parent):
        groups.setdefault((site.input, site.output), []).append(site)
    for group in shuffled([group for group in groups.values() if len(group) > 1], rng):
        for a, b in islice(combinations(shuffled(group, rng), 2), PAIRS):
            if a.derivation is b.derivation or _nested(a.path, b.path):
                continue
            at_a, at_b = lift(space, a.rule, b.derivation), lift(space, b.rule, a.derivation)
            if at_a is not None and at_b is not None:
                child = parent.replace(a.path, at_a).replace(b.path, at_b)
                if child is not parent and space.fits(child):
                    return child
    return None


def _nested(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]
