"""Gradient boosting by LightGBM, which `pip install 'evosearch[lightgbm]'` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

try:
    from lightgbm import LGBMRegressor
except ModuleNotFoundError:  # told when a run asks for it, and not after its first scores
    raise ModuleNotFoundError("it needs LightGBM: pip install 'evosearch[lightgbm]'") from None

if TYPE_CHECKING:
    from evosearch.features import Row
    from evosearch.search.screening import Predict, Values

MEMBERS = 4


def gbdt(x: Row, y: Values, rng: np.random.Generator) -> Predict:
    """The mean of four boosted ensembles, each of other rows and columns; theirs is the deviation.

    Source: GBDT-NAS (Luo et al. 2020): 100 rounds at a rate of 0.05, nine tenths of the columns for each tree, four
    fifths of the rows, drawn anew after five.
    """
    members = [
        LGBMRegressor(
            learning_rate=0.05, colsample_bytree=0.9, subsample=0.8, subsample_freq=5, min_child_samples=5,
            random_state=int(rng.integers(2**31)), deterministic=True, force_row_wise=True, n_jobs=1, verbosity=-1,
        ).fit(x, y).booster_
        for _ in range(MEMBERS)
    ]  # fmt: skip

    def predict(x: Row) -> tuple[Values, Values]:
        each = np.stack([member.predict(x, num_threads=1) for member in members])
        return each.mean(axis=0), each.std(axis=0)

    return predict
