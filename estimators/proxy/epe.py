"""EPE-NAS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.evaluation.proxies import Probe

SMALL = 1e-5
MANY = 100  # classes beyond which each class's sum is divided by the number of its examples


def epe(probe: Probe) -> float:
    """The correlation of Jacobians class by class: over classes, the absolute sum of log(|correlation| + 1e-5).

    No number for a task without classes. Source: Lopes et al. 2021, as NASLib has it.
    """
    if not probe.classes:
        return float("nan")
    jacobian, labels = probe.jacobian(), probe.y.numpy()
    total = 0.0
    for label in np.unique(labels):
        with np.errstate(all="ignore"):
            correlations = np.atleast_2d(np.corrcoef(jacobian[labels == label]))
        found = float(np.log(np.abs(correlations) + SMALL).sum())
        total += abs(found / len(correlations) if probe.classes > MANY else found)
    return total
