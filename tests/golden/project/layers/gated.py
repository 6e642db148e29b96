"""gated(width): a linear layer whose units are opened and closed by as many others (Dauphin et al. 2017)."""

import math
from dataclasses import dataclass

from evosearch.layers.base import Leaf, register


@register("gated")
@dataclass(frozen=True)
class Gated(Leaf):
    """(..., d) -> (..., width)."""

    width: int

    def shape(self, x):
        return (*x[:-1], self.width)

    def params(self, x):
        return 2 * (x[-1] + 1) * self.width

    def flops(self, x):
        return 2 * math.prod(x) * 2 * self.width

    def emit(self, node, x, build):
        both = build.module(f"nn.Linear({node.inputs[-1]}, {2 * self.width})", "gated")
        return build.line(f"F.glu({both}({{}}))", x, shape=node.output, keeps="in")
