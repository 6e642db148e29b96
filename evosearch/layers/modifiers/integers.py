"""Whole numbers of k bits, symmetric: weights by a learned step of each channel, inputs by a running largest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evosearch.layers.base import require
from evosearch.layers.modifiers import FORMATTED

TEXT, EXAMPLE = r"w(\d+)a(\d+)", "w4a8"

# Learned step size quantisation (Esser et al. 2020, arXiv 1902.08153): initial step, gradient scale and gradient.
# x * (1 / step), not x / step: as torch.fake_quantize_per_channel_affine has it, bit for bit.
ON_GRID = '''
def on_grid(x, step, top):
    """x in whole steps, at most `top` of them from 0; ties to even, gradients straight through."""
    scaled = x * (1 / step)
    scaled = scaled + (scaled.round() - scaled).detach()
    return scaled.clamp(-top, top) * step
'''
FORMATTED_INT = '''
class FormattedInt(Formatted):
    """Weights of `weight_bits` and inputs of `input_bits`, whole numbers of steps; the weights' steps are learned."""

    def __init__(self, layer, weight_bits, input_bits):
        super().__init__(layer)
        self.weight_top, self.input_top = 2 ** (weight_bits - 1) - 1, 2 ** (input_bits - 1) - 1
        mean = layer.weight.detach().abs().flatten(1).mean(1).clamp_min(1e-8)
        step = 2 * mean / self.weight_top ** 0.5
        self.step = nn.Parameter(step.reshape(-1, *[1] * (layer.weight.dim() - 1)))
        self.register_buffer("limit", torch.zeros(()))

    def of_weight(self, weight):
        step = self.step.abs().clamp_min(1e-8)
        if self.training:
            share = (weight[0].numel() * self.weight_top) ** -0.5
            step = step * share + (step - step * share).detach()
        return on_grid(weight, step, self.weight_top)

    def of_input(self, x):
        if self.training:
            with torch.no_grad():
                largest = x.detach().abs().amax().to(self.limit.dtype)
                self.limit.copy_(torch.where(self.limit > 0, torch.lerp(self.limit, largest, 0.1), largest))
        return on_grid(x, self.limit.clamp_min(1e-8) / self.input_top, self.input_top)
'''


@dataclass(frozen=True)
class Integers:
    weight_bits: int
    input_bits: int
    density: ClassVar[float] = 1.0
    scales: ClassVar[bool] = True
    copies: ClassVar[int] = 2
    sources: ClassVar[tuple[str, ...]] = (FORMATTED, ON_GRID, FORMATTED_INT)

    def __post_init__(self) -> None:
        for bits in (self.weight_bits, self.input_bits):
            require(2 <= bits <= 16, f"a format has 2 to 16 bits, not {bits}")

    @property
    def name(self) -> str:
        return f"w{self.weight_bits}a{self.input_bits}"

    def code(self, layer: str) -> str:
        return f"FormattedInt({layer}, {self.weight_bits}, {self.input_bits})"


def made(weight_bits: str, input_bits: str) -> Integers:
    return Integers(int(weight_bits), int(input_bits))
