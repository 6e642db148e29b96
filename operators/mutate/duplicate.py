"""Compute a part twice and add what comes of it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.inherit import preserves
from evosearch.variation import doubled, preserving, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation

BEHAVIOUR = 2  # offspring whose weights would begin at another layer's place are refused
SITES = 8  # places tried before giving up


@preserving
def duplicate(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a sub-tree and put a sum of it and itself in its place, so that the two may become different.

    Both begin with its weights, the last layer's halved: it has to be one whose weights scale its output, with nothing
    behind it but what scales with its input, as ReLU does.

    Source: the branch morphism of network morphisms (Cai et al. 2018, path-level network transformation).
    Keeps true: the function, once the offspring has its parent's weights; every layer; the node limit.
    """
    if space.input is None:
        return None
    before = space.read(parent)
    for site in islice(shuffled(space.sites(parent), rng), SITES):
        for sub_tree in islice(shuffled(list(doubled(space, site)), rng), SITES):
            child = parent.replace(site.path, sub_tree)
            if space.fits(child) and child.size > parent.size and preserves(before, space.read(child)):
                return child
    return None
