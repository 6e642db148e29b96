"""Proxies among the figures that a surrogate sees: of each draft's untrained network, measured in the run's process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from evosearch.errors import EvosearchError
from evosearch.evaluation import proxies
from evosearch.evaluation.failures import one_line
from evosearch.features import Features

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evosearch.architecture import Space
    from evosearch.evaluation.recipe import Recipe
    from evosearch.features import Row
    from evosearch.grammar.core import Derivation
    from evosearch.plugins import Operator
    from evosearch.tasks import Task

log = logging.getLogger(__name__)


class Measured:
    """`Features` of a derivation, and behind them a column for each proxy: sign(v) log(1 + |v|).

    A function of the derivation alone: its network's initial weights are those that it is trained from, the examples
    are the same for all, and sums are taken on one thread. So a resumed run measures again what it had measured. A
    network that cannot be built or run has the worst figure of all.
    """

    def __init__(self, space: Space, seen: Mapping[str, Operator], task: Task, recipe: Recipe) -> None:
        self.space, self.seen, self.task, self.recipe = space, seen, task, recipe
        self.features = Features(space)
        self.told = False  # that one could not be measured: a proxy that never can is no secret

    def __call__(self, derivation: Derivation) -> Row:
        """(width,) float32. Raises ShapeError where the derivation does not fit the input shape."""
        row = self.features(derivation)
        figures = np.array([*self._measured(derivation).values()])
        return np.concatenate([row, (np.sign(figures) * np.log1p(np.abs(figures))).astype(np.float32)])

    def _measured(self, derivation: Derivation) -> dict[str, float]:
        import torch

        architecture = self.space.read(derivation)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            recipe = self.recipe.said(architecture.trained_with)
            at = proxies.probe(architecture, self.task, recipe, self.recipe.training_seed(architecture.key))
            return proxies.measured(self.seen, at)
        except EvosearchError as failure:  # so an operator tells whatever was raised in it
            level, self.told = (logging.INFO if self.told else logging.WARNING), True
            log.log(level, "%s counts as the worst by its proxies: %s", architecture.key[:8], one_line(failure))
            return dict.fromkeys(self.seen, proxies.WORST)
        finally:
            torch.set_num_threads(threads)
