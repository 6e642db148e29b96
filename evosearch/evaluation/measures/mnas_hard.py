"""MnasNet's reward: the metric, times target / latency where that is above the target."""

from __future__ import annotations

from evosearch.evaluation.measures.latency import Reward


class MnasHard(Reward):
    """Tan et al. 2019 (arXiv 1807.11626), equation 2, for metrics that are to be large; [hardware] target in ms."""

    name = "mnas_hard"

    def share(self, taken: float) -> float:
        return min(1.0, self.settings.target / taken)
