"""Classification: one of several named classes for each example."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evosearch.ensemble import Averaging
from evosearch.errors import TaskError
from evosearch.tasks import metrics as measured
from evosearch.tasks.kinds import Answer, Targets
from evosearch.tasks.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from evosearch.layers.base import Leaf
    from evosearch.tasks.base import Task
    from evosearch.tasks.kinds import LossSettings

Array = np.ndarray[Any, np.dtype[Any]]


class Classification:
    """Targets are class numbers from 0; the network gives a logit for each class and is trained by cross-entropy."""

    name = "classification"
    classes = True
    averaging = Averaging(
        "{out}.softmax(1)", "{mean}.clamp_min(1e-38).log()"
    )  # of probabilities, the means' logarithms
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            "accuracy", 1, measured.accuracy, error=True, finer=measured.log_likelihood, by_class="balanced_accuracy"
        ),
        Metric("balanced_accuracy", 1, measured.balanced_accuracy, error=True),
        Metric("macro_f1", 1, measured.macro_f1, error=True),
        Metric("auc", 1, measured.auc, error=True),
        Metric("log_loss", -1, measured.log_loss),
    )
    baseline_name = "logistic regression"
    answers = (
        Answer("predict", "The label of each raw example.", "[LABELS[i] for i in {out}.argmax(1)]"),
        Answer(
            "predict_proba",
            "(B, classes): how likely each label is, in the order of LABELS.",
            "({out} / TEMPERATURE).softmax(1)",
        ),
    )

    def store(self, targets: Sequence[tuple[Array, str]], classes: int) -> list[Array]:
        """(N,) int64 each."""
        return [_numbers(y, file, classes) for y, file in targets]

    def describe(self, name: str, splits: Sequence[Array], labels: Sequence[str]) -> Targets:
        """As many outputs as classes; without labels the numbers are their names."""
        outputs = len(labels) or 1 + max(int(y.max()) for y in splits)
        if outputs < 2 or len(np.unique(splits[0])) < 2:
            raise TaskError(f"{name}: only one class in the train split; there is nothing to learn")
        names = tuple(labels) or tuple(str(number) for number in range(outputs))
        return Targets(outputs, names, np.zeros(outputs, np.float32), np.ones(outputs, np.float32))

    def strata(self, y: Array) -> Array | None:
        """The classes themselves."""
        return y

    def normalise(self, task: Task, y: Array) -> Array:
        """As they are."""
        return y

    def denormalise(self, task: Task, out: Array) -> Array:
        """As they are."""
        return out

    def constants(self, task: Task) -> Mapping[str, Array]:
        """None."""
        return {}

    def head(self, task: Task) -> Leaf:
        """The mean over positions, then a linear layer."""
        from evosearch.layers.library.mean_linear import MeanLinear

        return MeanLinear(task.outputs)

    def loss(self, out: Tensor, y: Tensor, recipe: LossSettings) -> Tensor:
        """Cross-entropy, with the recipe's label smoothing."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(out, y, label_smoothing=recipe.label_smoothing)

    def predict(self, out: Tensor) -> Tensor:
        """The class of the largest logit, the first of equal ones."""
        return out.argmax(1)

    def baseline(self, x: Array, y: Array, x_test: Array, outputs: int) -> Array:
        """Log probabilities by logistic regression; -inf for a class that y lacks."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline that is not quite converged is still one
            model = LogisticRegression(max_iter=1000).fit(x, y)
        out = np.full((len(x_test), outputs), -np.inf)
        with np.errstate(divide="ignore"):  # a probability of 0 is told as such
            out[:, model.classes_] = model.predict_log_proba(x_test)
        return out


def _numbers(y: Array, file: str, classes: int) -> Array:
    if not (y.min() >= 0 and y.max() < classes):
        row = int(((y < 0) | (y >= classes)).argmax())
        raise TaskError(f"{file}: row {row}: class {y[row]}; there are {classes} classes, numbered from 0")
    return y.astype(np.int64)
