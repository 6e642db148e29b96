"""Insert a residual that begins as the identity."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.inherit import preserves
from evosearch.variation import longer, neighbours, preserving, residual, shuffled

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation
    from evosearch.layers.base import Shape

BEHAVIOUR = 2  # offspring whose weights would begin at another layer's place are refused
SITES = 6  # places tried before giving up


@preserving
def deepen(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a place and put `x + f(x)` behind or before it, whose `f` ends in a layer with weights.

    They begin at zero, so that the residual is the identity at first, whatever activations and norms are around it.

    Source: deepening without loss (EAS, Cai et al. 2018), with the zero initialisation of residuals (Goyal et al. 2017,
    section 5.1) in place of identity kernels, which few activations allow.
    Keeps true: the function, once the offspring has its parent's weights; every layer; the node limit.
    """
    if space.input is None:
        return None
    before = space.read(parent)
    for site in islice(shuffled(space.sites(parent), rng), SITES):

        def new(rule: str, shape: Shape | None, depth: int = site.depth) -> Derivation | None:
            return None if shape is None else residual(space, rule, shape, depth, rng)

        children = [*longer(parent, site, new, space), *neighbours(parent, site, new, space)]
        for child in shuffled(children, rng):
            if space.fits(child) and preserves(before, space.read(child)):
                return child
    return None
