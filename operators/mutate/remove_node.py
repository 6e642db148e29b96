"""Remove a node: a part takes the place of what holds it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.variation import exchange, shorter, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation

SITES = 4  # places tried for a redrawing to something smaller, where no part can take its holder's place


def remove_node(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a layer and put one of its inner sub-trees with the same shapes in its place; the rest of it goes.

    An item of a list (`block (";" block)*`) is left out. Where neither can be done anywhere, a sub-tree is redrawn to
    the shape it had with fewer nodes.

    Source: hoist mutation of genetic programming (Kinnear 1993), the inverse of `insert_around`.
    Keeps true: input and output shape of the place; offspring are smaller than the parent.
    """
    sites = space.sites(parent)
    for index, outer in shuffled(list(enumerate(sites)), rng):
        inside = []
        for inner in sites[index + 1 :]:
            if inner.path[: len(outer.path)] != outer.path:
                break  # preorder: what is inside comes right after
            if inner.depth > outer.depth and inner.output == outer.output and inner.input == outer.input:
                inside.append(inner)
        for inner in shuffled(inside, rng):
            child = exchange(parent, outer, inner, space)
            if child is not None and child.size < parent.size and space.fits(child):
                return child
        for child in shuffled(list(shorter(parent, outer, space)), rng):
            if space.fits(child):
                return child
    for site in islice(shuffled([site for site in sites if site.derivation.size > 1], rng), SITES):
        smaller = space.draw_at(
            rng, site.rule, site.input, site.output, depth=site.depth, max_nodes=site.derivation.size - 1
        )
        if smaller is not None and smaller.size < site.derivation.size:
            return parent.replace(site.path, smaller)
    return None
