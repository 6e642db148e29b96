"""MnasNet's reward: metric * (latency / target)^-0.07."""

from __future__ import annotations

from evosearch.evaluation.measures.latency import Reward

WEIGHT = -0.07  # so that twice the time is worth 5 % of the metric, as the paper found on its devices


class MnasSoft(Reward):
    """Tan et al. 2019 (arXiv 1807.11626), equation 2, for metrics that are to be large; [hardware] target in ms."""

    name = "mnas_soft"

    def share(self, taken: float) -> float:
        return float((taken / self.settings.target) ** WEIGHT)
