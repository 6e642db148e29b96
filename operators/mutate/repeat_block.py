"""Repeat a block."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.variation import lift, longer, permuted, room, shuffled, wrap

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation
    from evosearch.layers.base import Shape

SITES = 6  # places tried before giving up


def repeat_block(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a sub-tree and put a layer in its place that holds it in every part: twice in a row, or side by side.

    `x` becomes `seq(x, x)` where its shapes allow, else `branch(split, x, x, merge)`; an item of a list is put there
    twice. Places whose input and output
    shapes are equal are tried first: in a row needs them so.

    Source: gene duplication in genetic programming (Koza 1995, architecture-altering operations); cell stacking
    (Zoph et al. 2018).
    Keeps true: the block itself; input and output shape of the place; the node limit.
    """
    sites = permuted(space.sites(parent), rng)
    if space.input is not None:
        sites = iter(sorted(sites, key=lambda site: site.input != site.output))
    for site in islice(sites, SITES):

        def again(rule: str, _: Shape | None, block: Derivation = site.derivation) -> Derivation | None:
            return lift(space, rule, block)

        for child in shuffled(list(longer(parent, site, again, space)), rng):
            if space.fits(child):
                return child
        repeated = wrap(site, space, rng, every=True)
        if repeated is not None and repeated.size <= room(parent, site.derivation, space):
            return parent.replace(site.path, repeated)
    return None
