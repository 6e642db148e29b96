"""Seeds, then their mutants and samples, half and half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.variation import below_root, one_of, redraw_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation


def mixed(space: Space, seeds: Sequence[Derivation], rng: np.random.Generator) -> Iterator[Derivation]:
    """The seeds as they are, then in equal parts mutants of them and samples. Samples alone without seeds.

    Source: einspace (arXiv 2405.20838), section 5, whose best results start from a mix of known networks.
    Keeps true: everything is valid at the input shape by construction.
    """
    yield from seeds
    while True:
        mutant = None
        if seeds and rng.random() < 0.5:
            seed = one_of(seeds, rng)
            site = one_of(below_root(seed, space), rng)
            mutant = redraw_at(seed, site, space, rng, site.output)
        yield mutant or space.draw(rng)
