"""A running average of a network's weights, which is judged and kept in place of the last ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


class WeightAverage:
    """The exponential moving average of everything in a network that is a real number: weights and norms' statistics.

    decay: the share of the average that stays in a step, above 0 and below 1. In the first steps less stays,
        (1 + step) / (10 + step), so that the initial weights do not linger (as TensorFlow's ExponentialMovingAverage
        has it).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        import torch

        self.decay = decay
        self._live = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
        self._average = [tensor.clone(memory_format=torch.preserve_format) for tensor in self._live]
        self._step = torch.zeros((), device=self._live[0].device) if self._live else torch.zeros(())

    def update(self) -> None:
        """Take the network's weights after a step into the average. Waits for nothing, so that a step is captured."""
        import torch

        self._step += 1
        stays = ((1 + self._step) / (10 + self._step)).clamp(max=self.decay)
        with torch.no_grad():
            for average, live in zip(self._average, self._live, strict=True):
                average.lerp_(live, (1 - stays).to(live.dtype))

    def swap(self) -> None:
        """Exchange the network's weights and the average: once before the network is judged, once after it."""
        import torch

        with torch.no_grad():
            for average, live in zip(self._average, self._live, strict=True):
                kept = live.clone(memory_format=torch.preserve_format)
                live.copy_(average)
                average.copy_(kept)


def averaged(network: nn.Module, decay: float) -> WeightAverage | None:
    """The average that a recipe asks for; None at a decay of 0."""
    return WeightAverage(network, decay) if decay else None


__all__ = ["WeightAverage", "averaged"]
