"""Correlation of Jacobians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe

SMALL = 1e-5


def jacob_cov(probe: Probe) -> float:
    """How little the examples' Jacobians are correlated: -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of their
    correlation matrix, k = 1e-5.

    An example that the outputs do not depend on makes it no number.
    Source: Mellor et al. 2020 (first version); Abdelfattah et al. 2021.
    """
    with np.errstate(all="ignore"):
        correlations = np.corrcoef(probe.jacobian())
    if not np.isfinite(correlations).all():
        return float("nan")
    values = np.linalg.eigvalsh(correlations) + SMALL
    with np.errstate(all="ignore"):
        return float(-(np.log(values) + 1 / values).sum())
