"""Insert a node around a sub-tree."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.variation import CONTEXT_NODES, longer, room, shuffled, wrap

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation
    from evosearch.layers.base import Shape

SITES = 4  # places tried before giving up


def insert_around(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a place and put a new layer there that holds the old sub-tree as one of its parts; draw its other parts.

    `x` becomes `seq(x, new)`, `seq(new, x)`, `branch(split, x, new, merge)`: whatever the grammar has room for. An
    item of a list (`block (";" block)*`) gets a new neighbour that keeps its shape.

    Source: the insertion of tree-adjoining and node-insertion mutations; network morphisms (Chen et al. 2016,
    Elsken et al. 2018) without their function preservation.
    Keeps true: the old sub-tree whole; input and output shape of the place; the node limit.
    """
    for site in islice(shuffled(space.sites(parent), rng), SITES):
        nodes = min(CONTEXT_NODES, space.limits.max_nodes - parent.size)

        def new(rule: str, shape: Shape | None, depth: int = site.depth, nodes: int = nodes) -> Derivation | None:
            return space.draw_at(rng, rule, shape, shape, depth=depth, max_nodes=nodes)

        if nodes > 0:
            for child in shuffled(list(longer(parent, site, new, space)), rng):
                if space.fits(child):
                    return child
        wrapped = wrap(site, space, rng)
        if wrapped is not None and wrapped.size <= room(parent, site.derivation, space):
            return parent.replace(site.path, wrapped)
    return None
