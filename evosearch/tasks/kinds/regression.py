"""Regression: one number or several for each example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evosearch.ensemble import Averaging
from evosearch.errors import TaskError
from evosearch.tasks import metrics as measured
from evosearch.tasks.kinds import Answer, Targets
from evosearch.tasks.metrics import Metric
from evosearch.tasks.rows import finite_rows, moments, stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from evosearch.layers.base import Leaf
    from evosearch.tasks.base import Task
    from evosearch.tasks.kinds import LossSettings

Array = np.ndarray[Any, np.dtype[Any]]


class Regression:
    """Targets are numbers, centred and scaled for the loss, the mean squared error; metrics are in their own units."""

    name = "regression"
    classes = False
    averaging = Averaging()
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("r2", 1, measured.r2),
        Metric("mse", -1, measured.mse),
        Metric("rmse", -1, measured.rmse),
        Metric("mae", -1, measured.mae),
    )
    baseline_name = "ridge regression"
    answers = (
        Answer("predict", "The targets of each raw example, in their own units.", "{out} * TARGET_STD + TARGET_MEAN"),
    )

    def store(self, targets: Sequence[tuple[Array, str]], classes: int) -> list[Array]:
        """(N, outputs) each, float32 where that keeps them apart, else float64."""
        kept = []
        for y, file in targets:
            if y.dtype.kind not in "biuf":
                raise TaskError(f"{file}: targets of dtype {y.dtype}; regression needs numbers")
            y = y.astype(np.float32) if y.dtype == np.float16 else y
            kept.append((y.reshape(len(y), -1), file))
            finite_rows(kept[-1][0], file)
        return stored(kept, (0,))

    def describe(self, name: str, splits: Sequence[Array], labels: Sequence[str]) -> Targets:
        """One output for each target, with its mean and deviation over the train split."""
        mean, std = moments(splits[0], (0,))
        return Targets(int(splits[0].shape[1]), (), mean, std)

    def strata(self, y: Array) -> Array | None:
        """None: rows are cut at random."""
        return None

    def normalise(self, task: Task, y: Array) -> Array:
        """Centred and scaled by the train split's constants, float32."""
        return np.asarray((y - task.target_mean) / task.target_std, np.float32)

    def denormalise(self, task: Task, out: Array) -> Array:
        """In the targets' own units again."""
        return np.asarray(out * task.target_std + task.target_mean)

    def constants(self, task: Task) -> Mapping[str, Array]:
        """target_mean and target_std, (outputs,)."""
        return {"target_mean": task.target_mean, "target_std": task.target_std}

    def head(self, task: Task) -> Leaf:
        """The mean over positions, then a linear layer."""
        from evosearch.layers.library.mean_linear import MeanLinear

        return MeanLinear(task.outputs)

    def loss(self, out: Tensor, y: Tensor, recipe: LossSettings) -> Tensor:
        """Mean squared error of normalised targets."""
        from torch.nn.functional import mse_loss

        return mse_loss(out, y)

    def predict(self, out: Tensor) -> Tensor:
        """As they are."""
        return out

    def baseline(self, x: Array, y: Array, x_test: Array, outputs: int) -> Array:
        """Ridge regression."""
        from sklearn.linear_model import Ridge

        predicted: Array = Ridge().fit(x, y).predict(x_test)
        return predicted.reshape(len(x_test), outputs)
