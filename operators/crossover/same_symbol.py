"""Exchange sub-trees of the same symbol and the same shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.variation import exchange, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Site, Space
    from evosearch.grammar.core import Derivation


def same_symbol(a: Derivation, b: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """The first parent with one sub-tree of the second in the place of one with the same symbol and shapes.

    Source: Whigham (1995), crossover of context-free grammar derivations; shapes are the part of the symbol that a
    grammar without attributes cannot say.
    Keeps true: the language, every shape outside the exchanged sub-tree, the node limit. None where nothing can be
    exchanged that makes a difference; the root is not, since that would copy the second parent.
    """
    donors: dict[object, list[Site]] = {}
    for donor in space.sites(b):
        donors.setdefault((donor.input, donor.output), []).append(donor)
    for site in shuffled([site for site in space.sites(a) if site.path], rng):
        for donor in shuffled(donors.get((site.input, site.output), []), rng):
            child = exchange(a, site, donor, space)
            if child is not None and child is not b and space.fits(child):
                return child
    return None
