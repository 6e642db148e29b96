"""Seeds, then their mutants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.variation import below_root, one_of, redraw_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation


def seeded(space: Space, seeds: Sequence[Derivation], rng: np.random.Generator) -> Iterator[Derivation]:
    """The seeds as they are, then mutants of them: one sub-tree redrawn, its output shape kept. Samples without seeds.

    Source: einspace (arXiv 2405.20838), section 5: a search that starts from one network and its mutants.
    Keeps true: a mutant is valid, since what is put in has the shapes of what it replaces.
    """
    yield from seeds
    while True:
        mutant = None
        if seeds:
            seed = one_of(seeds, rng)
            site = one_of(below_root(seed, space), rng)
            mutant = redraw_at(seed, site, space, rng, site.output)
        yield mutant or space.draw(rng)
