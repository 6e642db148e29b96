"""The seeds, then narrower ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.variation import narrowed, one_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation

MOST = 8  # layers narrowed in one network


def shrunk(space: Space, seeds: Sequence[Derivation], rng: np.random.Generator) -> Iterator[Derivation]:
    """The seeds as they are, then seeds of which one layer to eight were narrowed. Samples without seeds.

    Source: layer shrinkage of N2N (Ashok et al. 2018), several steps at once.
    Keeps true: the layers of a seed, and validity at the input shape.
    """
    yield from seeds
    while True:
        one = one_of(seeds, rng) if seeds else space.draw(rng)
        for _ in range(1 + int(rng.integers(MOST))):
            one = narrowed(one, space, rng) or one
        yield one
