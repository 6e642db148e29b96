"""Bayesian ridge regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from evosearch.features import Row
    from evosearch.search.screening import Predict, Values


def ridge(x: Row, y: Values, rng: np.random.Generator) -> Predict:
    """A linear model of the standardised columns, with the deviation of its posterior prediction.

    Source: MacKay 1992; scikit-learn's `BayesianRidge`.
    """
    from sklearn.linear_model import BayesianRidge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), BayesianRidge()).fit(x, y)

    def predict(x: Row) -> tuple[Values, Values]:
        mean, deviation = model.predict(x, return_std=True)
        return mean, deviation

    return predict
