"""Redraw a sub-tree."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.variation import below_root, redraw_at, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation

SITES = 8  # places tried: some shapes came about in ways that a single draw is not sure to find again


def redraw(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a place uniformly and draw its sub-tree anew from the grammar, whatever shape comes out of it.

    Where the rest of the network cannot take the new shape, the sub-tree is drawn once more to the old one.

    Source: grammar-based genetic programming's sub-tree mutation; einspace (arXiv 2405.20838), section 4.
    Keeps true: the rest of the parent; validity at the input shape; the node limit. Never the root where there is more.
    """
    for site in islice(shuffled(below_root(parent, space), rng), SITES):
        child = redraw_at(parent, site, space, rng, None)
        if child is None or not space.fits(child):
            child = redraw_at(parent, site, space, rng, site.output)
        if child is not None and space.fits(child):  # under a repetition it need not: each copy has its own shapes
            return child
    return None
