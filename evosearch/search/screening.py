"""Screening: of several admitted drafts the one that promises most is proposed, by a surrogate of what was folded in.

The surrogate is a function of the history's rows alone: it is fitted when so many scores are in, to the rows of the
first so many, in the order in which they were folded, with randomness that hangs on their number, on one thread. So a
search that is restored fits it again and gets the very same predictions, and nothing of it is part of a checkpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import OperatorError
from evosearch.features import Features, Row
from evosearch.plugins import MENDED
from evosearch.text import blamed

if TYPE_CHECKING:
    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation
    from evosearch.operators import Operator
    from evosearch.search.history import History

FIRST = 32  # scores before the first fit: from 12 on, the search is worse for it after 100 evaluations
REFIT = 16  # scores after which it is fitted anew at the soonest
GROWTH = 12  # and at the soonest when it has a twelfth more, so that all fits together cost what the last ones do
SAMPLES = 5  # every fifth draft is a sample of the grammar
OPTIMISM = 0.5  # deviations by which a prediction is scattered (Thompson sampling)
DRAWS = 5  # draws for each draft that is wanted, after which those that were found have to do
AUGMENTED = 0.05  # weight of the plain sum beside the worst objective (ParEGO, Knowles 2006)

Values = np.ndarray[Any, np.dtype[np.float64]]
Predict = Callable[[Row], tuple[Values, Values]]  # (rows, columns) figures -> (rows,) means and deviations


def due(scored: int) -> int:
    """At how many scores the latest fit was due, of `scored` that there are; 0 where none was."""
    latest, following = 0, FIRST
    while following <= scored:
        latest, following = following, following + max(REFIT, following // GROWTH)
    return latest


class Model:
    """What the history says of candidates that were not evaluated: for each objective the quantile, 0 to 1, that a
    candidate's value is expected to have among those so far; larger is better.

    Failures are taken for worse than every score. Scores of different fidelities are not compared: the rows are those
    of the highest fidelity that has enough of them (as BOHB's, Falkner et al. 2018).

    surrogate: a function (x, y, rng) -> predict, as `estimators/surrogate/` has them. stream: randomness of a number.
    prior: candidates of other runs with their quantiles there, rows before all others, with a column that says so; it
    is fitted to them alone until there are scores enough.
    """

    def __init__(
        self,
        space: Space,
        surrogate: Operator,
        objectives: int,
        stream: Callable[[int], np.random.Generator],
        features: Callable[[Derivation], Row] | None = None,
        prior: Sequence[tuple[Derivation, tuple[float, ...]]] = (),
    ) -> None:
        self.space, self.objectives, self.prior = space, objectives, prior
        self.features = features or Features(space)
        self._surrogate, self._stream = surrogate, stream
        self._rows: list[Row] = []
        self._values: list[tuple[float, ...] | None] = []
        self._fidelities: list[float] = []
        self._scored: Counter[float] = Counter()
        self._drafted: dict[str, Row] = {}  # of proposals under way, by text: their figures are known already
        self._fit: tuple[float, int] = (0.0, -1)
        self._predictors: list[Predict] = []

    def follow(self, history: History) -> None:
        """Take in what was folded in since the last time."""
        for at in range(len(self._rows), len(history)):
            row = history[at]
            figures = self._drafted.pop(row.text, None)
            self._rows.append(self.features(self.space.parse(row.text)) if figures is None else figures)
            self._values.append(row.values)
            self._fidelities.append(row.fidelity)
            self._scored[row.fidelity] += row.values is not None

    def proposed(self, derivation: Derivation, figures: Row) -> None:
        """A candidate is under way: its figures need not be found again when its score comes in."""
        self._drafted[self.space.render(derivation)] = figures

    @property
    def needs(self) -> int:
        """Scores before the first fit."""
        return 0 if self.prior else FIRST

    @property
    def ready(self) -> bool:
        """Whether there are scores enough to learn from."""
        return bool(self.prior) or self._due()[1] > 0

    def predict(self, x: Row) -> tuple[Values, Values]:
        """(rows, objectives): the expected quantiles and their deviations. x: (rows, width) figures."""
        self._refit()
        if self.prior:
            x = _of_run(x, other=False)
        means, deviations = zip(*(predictor(x) for predictor in self._predictors), strict=True)
        return np.stack(means, axis=1), np.stack(deviations, axis=1)

    def acquisition(
        self, mean: Values, deviation: Values, rng: np.random.Generator, optimism: float = OPTIMISM
    ) -> Values:
        """(rows,): what each is worth trying, larger first: a draw about its prediction (Thompson sampling).

        Of several objectives, by weights that are drawn, the augmented Chebyshev distance from the best (ParEGO).
        """
        drawn = mean + optimism * deviation * rng.standard_normal(mean.shape)
        if self.objectives == 1:
            return drawn[:, 0]
        short = rng.dirichlet(np.ones(self.objectives)) * (1 - drawn)
        worth: Values = -(short.max(axis=1) + AUGMENTED * short.sum(axis=1))
        return worth

    def _due(self) -> tuple[float, int]:
        """The fidelity of the rows to learn from, and the number of their scores; (0, 0) where there is none."""
        enough = [fidelity for fidelity, scored in self._scored.items() if scored >= FIRST]
        return (max(enough), due(self._scored[max(enough)])) if enough else (0.0, 0)

    def _refit(self) -> None:
        wanted = self._due()
        if wanted == self._fit:
            return
        fidelity, scores = wanted
        chosen: list[int] = []
        for at, value in enumerate(self._values):
            if self._fidelities[at] == fidelity and scores:
                chosen.append(at)
                scores -= value is not None
        failed = (-np.inf,) * self.objectives
        x = np.array([self._rows[at] for at in chosen], dtype=np.float32)
        values = np.array([self._values[at] or failed for at in chosen], dtype=np.float64)
        targets = [quantiles(column) for column in values.T] if chosen else [np.empty(0)] * self.objectives
        if self.prior:
            others = _of_run(np.stack([self.features(one) for one, _ in self.prior]), other=True)
            x = np.concatenate([others, _of_run(x, other=False)]) if chosen else others
            known = np.array([ranks for _, ranks in self.prior]).T
            targets = [np.concatenate(pair) for pair in zip(known, targets, strict=True)]
        rng = self._stream(wanted[1])
        self._predictors = [fitted(self._surrogate, x, target, rng) for target in targets]
        self._fit = wanted


def _of_run(x: Row, *, other: bool) -> Row:
    """Rows with a column more, 1 where they are another run's."""
    return np.column_stack([x, np.full(len(x), other, dtype=np.float32)])


def quantiles(values: Values) -> Values:
    """The rank of each value as a share of all, 0 to 1, ties half."""
    from scipy.stats import rankdata

    ranks: Values = (rankdata(values) - 0.5) / len(values)
    return ranks


def fitted(surrogate: Operator, x: Row, y: Values, rng: np.random.Generator) -> Predict:
    """The surrogate fitted on one thread, to the columns that differ. Raises OperatorError, as its predictions do."""
    from threadpoolctl import threadpool_limits

    varying = np.flatnonzero((x != x[0]).any(axis=0))
    if not len(varying):
        varying = np.arange(1)
    with threadpool_limits(1):
        predict = surrogate(np.ascontiguousarray(x[:, varying]), y, rng)

    def predicted(x: Row) -> tuple[Values, Values]:
        try:
            mean, deviation = predict(np.ascontiguousarray(x[:, varying]))
        except Exception as error:  # a person's own code may raise anything at all
            raise OperatorError(
                f"surrogate {surrogate.name!r} raised {blamed(error)} when it predicted; {MENDED}"
            ) from error
        if np.shape(mean) != (len(x),) or np.shape(deviation) != (len(x),) or not np.isfinite([mean, deviation]).all():
            raise OperatorError(
                f"{surrogate.path}: surrogate {surrogate.name!r} predicted {np.shape(mean)} means and "
                f"{np.shape(deviation)} deviations of {len(x)} rows; give a finite number for each row"
            )
        return mean, deviation

    return predicted


class Screen:
    """Which of the drafts for one proposal is proposed. explore: share of proposals that are any one of them."""

    def __init__(self, model: Model, wanted: int, explore: float) -> None:
        self.model, self.wanted, self.explore = model, wanted, explore

    def choose(self, drafts: Sequence[Derivation], rng: np.random.Generator) -> tuple[int, tuple[float, float]]:
        """Which one, and what is expected of it: the quantile of its first objective, and the deviation."""
        x = np.stack([self.model.features(derivation) for derivation in drafts])
        mean, deviation = self.model.predict(x)
        worth = self.model.acquisition(mean, deviation, rng)
        chosen = int(rng.integers(len(drafts))) if rng.random() < self.explore else int(worth.argmax())
        self.model.proposed(drafts[chosen], x[chosen])
        return chosen, (float(mean[chosen, 0]), float(deviation[chosen, 0]))
