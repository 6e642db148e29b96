"""A share of each layer's weights is 0: the smallest ones, chosen anew in every step, or random ones, chosen once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evosearch.layers.base import require
from evosearch.layers.modifiers import FORMATTED
from evosearch.layers.modifiers.structured import REFINED

TEXT, EXAMPLE = r"(sparse|random)(0\.\d+)", "sparse0.9"

FORMATTED_SPARSE = '''
class FormattedSparse(Formatted):
    """The largest weights of a layer are left; gradients reach all of them, so that one may come back."""

    def __init__(self, layer, share):
        super().__init__(layer)
        self.left = max(1, round((1 - share) * layer.weight.numel()))

    def of_weight(self, weight):
        size = weight.detach().abs().flatten()
        mask = torch.zeros_like(size).scatter_(0, size.topk(self.left).indices, 1.0).reshape(weight.shape)
        return Refined.apply(weight, mask) if self.training else weight * mask
'''
FORMATTED_RANDOM = '''
class FormattedRandom(Formatted):
    """Weights of which random ones are left, chosen when the network is made: what any choice has to beat."""

    def __init__(self, layer, share):
        super().__init__(layer)
        left = max(1, round((1 - share) * layer.weight.numel()))
        mask = torch.zeros(layer.weight.numel())
        mask[torch.randperm(len(mask))[:left]] = 1.0
        self.register_buffer("mask", mask.reshape(layer.weight.shape))

    def of_weight(self, weight):
        return weight * self.mask.to(weight.dtype)
'''


@dataclass(frozen=True)
class Masks:
    how: str
    share: str
    input_bits: ClassVar[int] = 32
    scales: ClassVar[bool] = False
    copies: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require(0 < float(self.share) < 1, f"the share of zeros is above 0 and below 1, not {self.share}")

    @property
    def name(self) -> str:
        return f"{self.how}{self.share}"

    @property
    def density(self) -> float:
        return 1 - float(self.share)

    @property
    def weight_bits(self) -> float:
        """Of each that is left, with its part of a bit for every weight that says where it stands."""
        return 32.0 + 1 / self.density

    @property
    def sources(self) -> tuple[str, ...]:
        return (FORMATTED, REFINED, FORMATTED_SPARSE if self.how == "sparse" else FORMATTED_RANDOM)

    def code(self, layer: str) -> str:
        return f"Formatted{self.how.capitalize()}({layer}, {float(self.share)!r})"


def made(how: str, share: str) -> Masks:
    return Masks(how, share)
