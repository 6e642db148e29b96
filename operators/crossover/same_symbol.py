"""Exchange sub-trees of the same symbol and the same shapes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.variation import SMALL, by_shapes, exchange, one_of, permuted, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Site, Space
    from evosearch.grammar.core import Derivation

TRIES = 6  # pairs with different output shapes that are tried, more in small networks, which are read faster


def same_symbol(a: Derivation, b: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """The first parent with one sub-tree of the second in the place of one with the same symbol and shapes.

    Where no two have the same shapes: in the place of one with the same input shape, if the rest can take the output.

    Source: Whigham (1995), crossover of context-free grammar derivations; shapes are the part of the symbol that a
    grammar without attributes cannot say.
    Keeps true: the language, validity at the input shape, the node limit. None where nothing can be exchanged that
    makes a difference; the root is not, since that would copy the second parent.
    """
    alike = by_shapes(space.sites(b))
    tried: list[Site] = []  # all, where none can be exchanged
    sites = space.sites(a)
    for site in permuted(sites if sites[0].path else sites[1:], rng):
        tried.append(site)
        for donor in shuffled(alike.get((site.input, site.output), ()), rng):
            child = exchange(a, site, donor, space)
            if child is not None and child is not b and space.fits(child):
                return child
    by_input: dict[object, list[Site]] = {}
    for donors in alike.values():
        by_input.setdefault(donors[0].input, []).extend(donors)
    same_input = (
        (site, one_of(by_input[site.input], rng)) for _ in range(3) for site in tried if site.input in by_input
    )
    for site, donor in islice(same_input, max(TRIES, SMALL // a.size)):
        child = exchange(a, site, donor, space)
        if child is not None and child is not b and space.fits(child):
            return child
    return None
