"""Grow one layer: more channels, or a larger kernel."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.inherit import preserves
from evosearch.variation import choices, preserving, shuffled, variants

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation

BEHAVIOUR = 2  # offspring whose weights would begin at another layer's place are refused
NODES = 12  # places looked at before giving up
VARIANTS = 6  # changes tried at one place


@preserving
def grow(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a layer and give it a larger width or kernel, where its network can go on computing what it computes.

    Behind it come layers of one channel each until all channels are read by weights: the new ones are read with weight
    zero at first. Not before a softmax, a layer norm or a sum, which would see them.

    Source: widening and kernel widening of network morphisms (Wei et al. 2016), Net2WiderNet (Chen et al. 2016).
    Keeps true: the function, once the offspring has its parent's weights; every layer; input and output of the network.
    """
    if space.input is None:
        return None
    before = space.read(parent)
    for path, node in islice(shuffled(choices(parent, space), rng), NODES):
        for variant in islice(variants(node, space, rng), VARIANTS):
            child = parent.replace(path, variant)
            if not space.fits(child):
                continue
            after = space.read(child)
            if after.cost.params > before.cost.params and preserves(before, after):
                return child
    return None
