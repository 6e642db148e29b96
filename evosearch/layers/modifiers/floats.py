"""Eight-bit floats, E4M3 and E5M2 (OCP, arXiv 2209.05433): scaled to their range, weights by output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evosearch.layers.modifiers import FORMATTED

TEXT, EXAMPLE = r"(e4m3|e5m2)", "e4m3"
LARGEST = {"e4m3": 448.0, "e5m2": 57344.0}
TORCH = {"e4m3": "torch.float8_e4m3fn", "e5m2": "torch.float8_e5m2"}

# What is added to `scaled` is exact (it and the rounded number are less than a factor of 2 apart, or one is 0): the
# sum is the rounded number itself, bit for bit, and the gradient goes straight through.
ON_FLOATS = '''
def on_floats(x, scale, dtype, largest):
    """x in steps of an eight-bit float, where `scale` stands for 1; beyond the largest one that one."""
    scaled = (x / scale).clamp(-largest, largest)
    return (scaled + (scaled.to(dtype).to(scaled.dtype) - scaled).detach()) * scale
'''
FORMATTED_FLOAT = '''
class FormattedFloat(Formatted):
    """Weights and inputs in an eight-bit float; the largest weight of a channel and input so far are its largest."""

    def __init__(self, layer, dtype, largest):
        super().__init__(layer)
        self.dtype, self.largest = dtype, largest
        self.register_buffer("limit", torch.zeros(()))

    def of_weight(self, weight):
        scale = weight.detach().abs().flatten(1).amax(1).clamp_min(1e-8) / self.largest
        return on_floats(weight, scale.reshape(-1, *[1] * (weight.dim() - 1)), self.dtype, self.largest)

    def of_input(self, x):
        if self.training:
            with torch.no_grad():
                now = x.detach().abs().amax().to(self.limit.dtype)
                self.limit.copy_(torch.where(self.limit > 0, torch.lerp(self.limit, now, 0.1), now))
        return on_floats(x, self.limit.clamp_min(1e-8) / self.largest, self.dtype, self.largest)
'''


@dataclass(frozen=True)
class Floats:
    name: str
    weight_bits: ClassVar[float] = 8.0
    input_bits: ClassVar[int] = 8
    density: ClassVar[float] = 1.0
    scales: ClassVar[bool] = False
    copies: ClassVar[int] = 2
    sources: ClassVar[tuple[str, ...]] = (FORMATTED, ON_FLOATS, FORMATTED_FLOAT)

    def code(self, layer: str) -> str:
        return f"FormattedFloat({layer}, {TORCH[self.name]}, {LARGEST[self.name]})"


def made(name: str) -> Floats:
    return Floats(name)
