"""Number formats and sparsity of weights: what becomes of a linear or convolution layer in a part `as(w4a8; ...)`.

Each is one file with one class, `Modifier`'s: the text by which sentences call it, what it writes into the source, and
what it spares. The classes that they write stand in the network's own file, so that an export needs nothing of ours.
"""

from __future__ import annotations

import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Protocol

# The sources' base class. Its weight is what the layer computes with, in whatever format; so `self.conv1.weight` is.
FORMATTED = '''
class Formatted(nn.Module):
    """A linear or convolution layer whose weight, and what it reads, go through functions of a subclass."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    @property
    def weight(self):
        return self.of_weight(self.layer.weight)

    @property
    def bias(self):
        return self.layer.bias

    def of_weight(self, weight):
        return weight

    def of_input(self, x):
        return x

    def forward(self, x):
        x, weight, layer = self.of_input(x), self.weight, self.layer
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, layer.bias)
        conv = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[weight.dim()]
        return conv(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
'''


class Modifier(Protocol):
    """A format. It is made with its text's matched groups, and `name` is the whole text.

    weight_bits: of each weight that is stored, what says where it stands included. input_bits: of each number read.
    density: share of the weights that are stored, and computed with. scales: whether every output channel has a
    trained number of its own. copies: of what a layer reads, that backward holds besides. sources: classes and
    functions that stand in the file.
    """

    @property
    def name(self) -> str: ...
    @property
    def weight_bits(self) -> float: ...
    @property
    def input_bits(self) -> int: ...
    @property
    def density(self) -> float: ...
    @property
    def scales(self) -> bool: ...
    @property
    def copies(self) -> int: ...
    @property
    def sources(self) -> tuple[str, ...]: ...

    def code(self, layer: str) -> str:
        """The code that makes a module in the place of a linear or convolution layer, from the code of that one."""


@dataclass(frozen=True)
class Spared:
    """What formats change of a network's costs; see evosearch.cost. params: trained numbers that come with them."""

    params: int = 0
    activations: int = 0
    bits: int = 0
    bitops: int = 0

    def __add__(self, other: Spared) -> Spared:
        return Spared(
            self.params + other.params,
            self.activations + other.activations,
            self.bits + other.bits,
            self.bitops + other.bitops,
        )


@cache
def named(text: str) -> Modifier:
    """The modifier of a text such as `w4a8`. Raises ValueError that says which there are."""
    modules = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    for module in modules:
        if match := re.fullmatch(module.TEXT, text):
            made: Modifier = module.made(*match.groups())
            return made
    raise ValueError(f"no format {text!r}; there are {', '.join(module.EXAMPLE for module in modules)}")


__all__ = ["FORMATTED", "Modifier", "Spared", "named"]
