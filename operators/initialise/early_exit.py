"""Seeds, then samples of the grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation


def early_exit(space: Space, seeds: Sequence[Derivation], rng: np.random.Generator) -> Iterator[Derivation]:
    """The seeds as they are, then samples without end.

    The search reads each candidate's cost from its description and passes over those above a limit before anything is
    built, until the population is full; duplicates take no slot either.

    Source: early-exit population initialisation, EEEA-Net (arXiv 2108.06156), section 3.2.
    Keeps true: samples are valid at the input shape by construction.
    """
    yield from seeds
    while True:
        yield space.draw(rng)
