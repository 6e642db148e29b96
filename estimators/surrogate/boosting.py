"""Gradient boosting over histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.features import Row
    from evosearch.search.screening import Predict, Values

MEMBERS = 4


def boosting(x: Row, y: Values, rng: np.random.Generator) -> Predict:
    """The mean of four histogram gradient boostings, each of other three quarters of the rows; theirs is the deviation.

    Source: GBDT-NAS (Luo et al. 2020), with scikit-learn's `HistGradientBoostingRegressor` at its rate of 0.05 and
    100 rounds.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    members = []
    for _ in range(MEMBERS):
        rows = np.sort(rng.permutation(len(x))[: max(2, 3 * len(x) // 4)])
        seed = int(rng.integers(2**31))
        model = HistGradientBoostingRegressor(
            learning_rate=0.05, min_samples_leaf=5, early_stopping=False, random_state=seed
        )
        members.append(model.fit(x[rows], y[rows]))

    def predict(x: Row) -> tuple[Values, Values]:
        each = np.stack([member.predict(x) for member in members])
        return each.mean(axis=0), each.std(axis=0)

    return predict
