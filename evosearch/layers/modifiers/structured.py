"""N of every M weights, the largest ones: 2:4 is what NVIDIA's sparse tensor cores compute with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from evosearch.layers.base import require
from evosearch.layers.modifiers import FORMATTED

TEXT, EXAMPLE = r"(\d+):(\d+)", "2:4"

# SR-STE (Zhou et al. 2021, arXiv 2102.04010, equation 9): gradients reach all weights, and the masked ones shrink.
REFINED = '''
class Refined(torch.autograd.Function):
    """A masked weight whose gradient reaches every weight, with a decay of those that are masked."""

    @staticmethod
    def forward(ctx, weight, mask):
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx, gradient):
        weight, mask = ctx.saved_tensors
        return gradient + 2e-4 * (1 - mask) * weight, None
'''
LARGEST_OF = '''
def largest_of(weight, n, m):
    """1 for the n largest of each m weights that follow one another along the input channels, else 0.

    Of a convolution the channels at one place of the kernel, then those of the next; what is over at the end is kept.
    """
    rows = weight.detach().movedim(1, -1).flatten(1)
    whole = rows.shape[1] // m * m
    groups = rows[:, :whole].abs().reshape(len(rows), -1, m)
    mask = torch.zeros_like(groups).scatter_(2, groups.topk(n, dim=2).indices, 1.0).flatten(1)
    mask = torch.cat([mask, torch.ones_like(rows[:, whole:])], 1)
    return mask.reshape(weight.movedim(1, -1).shape).movedim(-1, 1)
'''
FORMATTED_NM = '''
class FormattedNM(Formatted):
    """Weights of which the n largest of each m are left, chosen anew in every step."""

    def __init__(self, layer, n, m):
        super().__init__(layer)
        self.n, self.m = n, m

    def of_weight(self, weight):
        mask = largest_of(weight, self.n, self.m)
        return Refined.apply(weight, mask) if self.training else weight * mask
'''


@dataclass(frozen=True)
class Structured:
    n: int
    m: int
    input_bits: ClassVar[int] = 32
    scales: ClassVar[bool] = False
    copies: ClassVar[int] = 0
    sources: ClassVar[tuple[str, ...]] = (FORMATTED, REFINED, LARGEST_OF, FORMATTED_NM)

    def __post_init__(self) -> None:
        require(1 <= self.n <= self.m <= 64, f"N of M weights: 1 to M of at most 64, not {self.n} of {self.m}")

    @property
    def name(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def density(self) -> float:
        return self.n / self.m

    @property
    def weight_bits(self) -> float:
        """Of each that is left, with its place among the M."""
        return 32.0 + math.ceil(math.log2(self.m))

    def code(self, layer: str) -> str:
        return f"FormattedNM({layer}, {self.n}, {self.m})"


def made(n: str, m: str) -> Structured:
    return Structured(int(n), int(m))
