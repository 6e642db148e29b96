"""Narrow one layer: fewer channels, or a smaller kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.variation import narrowed, on_request

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation


@on_request
def narrow(parent: Derivation, space: Space, rng: np.random.Generator) -> Derivation | None:
    """Choose a layer and change one of its arguments so that the network has fewer parameters.

    With its parent's weights (`evosearch.inherit`) it keeps the channels with the largest ones, where layers of one
    channel each lie between it and who reads them.

    Source: the shrinkage actions of N2N (Ashok et al. 2018); filter pruning (Li et al. 2017).
    Keeps true: all layers; validity at the input shape; offspring have fewer parameters than the parent.
    """
    return narrowed(parent, space, rng)
