"""Redraw a sub-tree to the output shape it had."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.variation import below_root, redraw_at, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation

SITES = 8  # places tried: some shapes came about in ways that a single draw is not sure to find again


def redraw_keeping_shape(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a place uniformly and draw its sub-tree anew under the output shape it had.

    Source: sub-tree mutation, einspace (arXiv 2405.20838), section 4, drawn to the shape instead of drawn and checked.
    Keeps true: the rest of the parent and every shape in it; the node limit.
    """
    for site in islice(shuffled(below_root(parent, space), rng), SITES):
        child = redraw_at(parent, site, space, rng, site.output)
        if child is not None and space.fits(child):  # under a repetition it need not: each copy has its own shapes
            return child
    return None
