"""Support vector regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.features import Row
    from evosearch.search.screening import Predict, Values


def svr(x: Row, y: Values, rng: np.random.Generator) -> Predict:
    """A support vector regression of the standardised columns with a Gaussian kernel.

    Its deviation is the same everywhere: that of its residuals on the rows it was fitted to.
    Source: Smola and Schoelkopf 2004; scikit-learn's `SVR`, epsilon 0.02.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    model = make_pipeline(StandardScaler(), SVR(epsilon=0.02)).fit(x, y)
    deviation = float(np.std(y - model.predict(x)))

    def predict(x: Row) -> tuple[Values, Values]:
        return model.predict(x), np.full(len(x), deviation)

    return predict
