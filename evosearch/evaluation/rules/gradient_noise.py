"""Backpropagation with noise on the gradient that dies away (Neelakantan et al. 2015, arXiv 1511.06807)."""

from __future__ import annotations

from typing import ClassVar

from evosearch.evaluation.rules.backprop import Backprop

DECAY = 0.55  # gamma of the paper's equation 1


class GradientNoise(Backprop):
    """Normal, of variance `recipe.gradient_noise` / (1 + step)^0.55, on every number of the gradient."""

    captured: ClassVar[bool] = False  # a step's noise is smaller than the one's before

    def change(self, step: int) -> None:
        import torch

        deviation = (self.learning.recipe.gradient_noise / (1 + step) ** DECAY) ** 0.5
        for parameter in self.network.parameters():
            if parameter.grad is not None:
                parameter.grad.add_(torch.randn_like(parameter.grad), alpha=deviation)
