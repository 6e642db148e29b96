"""Extremely randomised trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.features import Row
    from evosearch.search.screening import Predict, Values

BEHAVIOUR = 2
TREES = 50  # of 100, Kendall's tau of what they predict is the same within 0.01, and a fit takes twice as long
LEAST = 2  # rows of a leaf: a fit to 1,000 noisy rows takes a quarter less than with leaves of one
COLUMNS = 1 / 3  # looked at in each node: with all, a fit to 1,000 rows takes two and a half times as long


def extra_trees(x: Row, y: Values, rng: np.random.Generator) -> Predict:
    """The mean of 50 extremely randomised trees; the deviation is that between trees.

    Source: Geurts, Ernst and Wehenkel 2006, looking at a third of the columns in each node, as is usual for regression
    forests; scikit-learn's `ExtraTreesRegressor`.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    seed = int(rng.integers(2**31))
    forest = ExtraTreesRegressor(TREES, min_samples_leaf=LEAST, max_features=COLUMNS, random_state=seed, n_jobs=1)
    forest.fit(x, y)
    trees = [tree.tree_ for tree in forest.estimators_]

    def predict(x: Row) -> tuple[Values, Values]:
        rows = np.ascontiguousarray(x, dtype=np.float32)
        each = np.stack([tree.predict(rows)[:, 0] for tree in trees])  # without scikit-learn's checks of the rows
        return each.mean(axis=0), each.std(axis=0)

    return predict
