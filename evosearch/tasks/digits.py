"""The bundled task: 1,797 handwritten digits of 8x8 pixels (Alpaydin & Kaynak 1998, through scikit-learn)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evosearch.tasks.assemble import Part, assemble

if TYPE_CHECKING:
    from evosearch.tasks.base import Reading, Task


def load_digits(reading: Reading) -> Task:
    """Input (1, 8, 8) uint8 of 0..16, ten classes; stratified train, validation and test by `settings.split_seed`."""
    from sklearn.datasets import load_digits as bundled

    images, target = bundled(return_X_y=True)
    x = images.reshape(-1, 1, 8, 8).astype(np.uint8)
    part = Part(x, target.astype(np.int64), "digits", "digits")
    return assemble("digits", {"train": part}, reading, images=True)
