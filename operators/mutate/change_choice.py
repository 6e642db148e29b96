"""Change one choice: one alternative or one terminal, everything else kept."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from evosearch.variation import choices, shuffled, variants

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation

NODES = 6  # places looked at before giving up
VARIANTS = 6  # changes tried at one place


def change_choice(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a node and put another alternative with the same parts, or another text of one of its terminals.

    A width, a kernel, a split, a merge, an activation: the smallest step that a grammar knows. Changes that the
    shapes around do not allow are passed over.

    Source: point mutation of tree genotypes (Koza 1992, section 6.5.2); on a fixed cell it is the mutation of
    regularised evolution (Real et al. 2019).
    Keeps true: the tree's form, all of the node's parts, validity at the input shape.
    """
    for path, node in islice(shuffled(choices(parent, space), rng), NODES):
        for variant in islice(variants(node, space, rng), VARIANTS):
            child = space.replaced(parent, path, variant)
            if child is not None:
                return child
    return None
