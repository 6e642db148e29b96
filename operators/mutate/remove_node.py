"""Remove a node: a part takes the place of what holds it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.variation import SMALL, exchange, inside, same_shapes, shorter, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Site, Space
    from evosearch.grammar.core import Derivation

SITES = 4  # places tried for a redrawing to something smaller, where no part can take its holder's place
LOOSE = 6  # pairs with different shapes that are tried, more in small networks


def remove_node(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a layer and put one of its inner sub-trees in its place; the rest of the layer goes.

    First inner sub-trees with the shapes of what holds them; an item of a list (`block (";" block)*`) is left out.
    Where neither can be done: an inner sub-tree with the same input or output shape, if the rest of the network can
    take it, or else a sub-tree is redrawn to the shape it had with fewer nodes.

    Source: hoist mutation of genetic programming (Kinnear 1993), the inverse of `insert_around`.
    Keeps true: validity at the input shape; offspring are smaller than the parent.
    """
    sites = space.sites(parent)
    loose: list[tuple[Site, Site]] = []
    for index in shuffled(range(len(sites)), rng):
        outer, alike = sites[index], inside(sites, index)
        if outer.input is not None:  # else all are alike
            loose += [(outer, inner) for inner in alike if _loosely(inner, outer)]
            alike = [inner for inner in alike if same_shapes(inner, outer)]
        for inner in shuffled(alike, rng):
            child = _smaller(parent, exchange(parent, outer, inner, space), space)
            if child is not None:
                return child
        for child in shuffled(list(shorter(parent, outer, space)), rng):
            if space.fits(child):
                return child
    for outer, inner in islice(shuffled(loose, rng), max(LOOSE, SMALL // parent.size)):
        child = _smaller(parent, exchange(parent, outer, inner, space), space)
        if child is not None:
            return child
    for site in islice(shuffled([site for site in sites if site.derivation.size > 1], rng), SITES):
        new = space.draw_at(
            rng, site.rule, site.input, site.output, depth=site.depth, max_nodes=site.derivation.size - 1
        )
        if new is not None and new.size < site.derivation.size:
            return parent.replace(site.path, new)
    return None


def _loosely(inner: Site, outer: Site) -> bool:
    return (inner.input == outer.input) != (inner.output == outer.output)


def _smaller(parent: Derivation, child: Derivation | None, space: Space) -> Derivation | None:
    return child if child is not None and child.size < parent.size and space.fits(child) else None
