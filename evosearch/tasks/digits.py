"""The bundled task: 1,797 handwritten digits of 8x8 pixels (Alpaydin & Kaynak 1998, through scikit-learn)."""

from __future__ import annotations

import numpy as np

from evosearch.tasks.base import DEFAULTS, Split, Task, TaskSettings, cut, make_task


def load_digits(settings: TaskSettings = DEFAULTS) -> Task:
    """Input (1, 8, 8) uint8 of 0..16, ten classes; stratified train, validation and test by `settings.split_seed`."""
    from sklearn.datasets import load_digits as bundled

    images, target = bundled(return_X_y=True)
    x = images.reshape(-1, 1, 8, 8).astype(np.uint8)
    y = target.astype(np.int64)
    validation, test, train = (
        Split(x[rows], y[rows])
        for rows in cut(y, (settings.validation, settings.test), settings.split_seed, stratify=True)
    )
    return make_task("digits", train, validation, test, kind="classification", metric=settings.metric, images=True)
