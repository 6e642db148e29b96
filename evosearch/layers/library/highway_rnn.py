"""Recurrences with more than one layer in a step, and the block around a cheap one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, WrittenLeaf, register, require
from evosearch.layers.block import Block, Body, Composed, chain, residual
from evosearch.layers.library.activations import SiLU
from evosearch.layers.library.bigconv import CausalConv
from evosearch.layers.library.combinators import Branching
from evosearch.layers.library.elementwise import Multiply
from evosearch.layers.library.linear import Linear
from evosearch.layers.library.norms import RMSNorm
from evosearch.layers.library.recurrent import DiagonalGRU
from evosearch.layers.library.reshapes import column
from evosearch.layers.library.splits import Group

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

HIGHWAY = '''
def highway_recurrence(x, weights, width, length):
    """h = t tanh(R h) + (1 - t) h so often a step as there are weights; the input joins the first. x: (N, S, 2 w)."""
    h, states = torch.zeros_like(x[:, 0, :width]), []
    for step in range(length):
        for number, layer in enumerate(weights):
            seen = layer(h) + x[:, step] if number == 0 else layer(h)
            h = torch.lerp(h, torch.tanh(seen[:, :width]), torch.sigmoid(seen[:, width:]))
        states.append(h)
    return torch.stack(states, 1)
'''


@register("rhn")
@dataclass(frozen=True)
class RecurrentHighway(WrittenLeaf):
    """(S, D) -> (S, width): `depth` highway layers in each step (Zilly et al. 2017, with coupled gates)."""

    keeps_steps: ClassVar[bool] = True

    width: int
    depth: int = 2

    def __post_init__(self) -> None:
        require(self.width >= 1 and self.depth >= 1, f"{self.width} wide, {self.depth} deep: at least 1 each")

    def shape(self, x: Shape) -> Shape:
        return (column(self, x)[0], self.width)

    def params(self, x: Shape) -> int:
        return 2 * (x[1] * self.width + self.depth * (self.width**2 + self.width))

    def flops(self, x: Shape) -> int:
        return 4 * x[0] * (x[1] * self.width + self.depth * self.width**2)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (s, d), w = node.inputs, self.width
        build.helper(HIGHWAY)
        enter = build.module(f"nn.Linear({d}, {2 * w}, bias=False)", "enter")
        layers = [build.module(f"nn.Linear({w}, {2 * w})", "step") for _ in range(self.depth)]
        x = build.line(f"{enter}({{}})", x, shape=(s, 2 * w), keeps="in")
        extra = 6 * s * w * self.depth  # each step's input, tanh, gate, and all three for the mixture
        code = f"highway_recurrence({{}}, [{', '.join(layers)}], {w}, {s})"
        return build.line(code, x, shape=node.output, extra=extra)


@register("rnn_block")
@dataclass(frozen=True)
class RecurrentBlock(Block):
    """A diagonal GRU behind a short causal convolution, gated, beside its input (the block of ParaRNN, 2025)."""

    heads: int = 4
    kernel: int = 4

    def __post_init__(self) -> None:
        DiagonalGRU(self.heads)
        CausalConv(1, self.kernel)

    def body(self, x: Shape) -> Body:
        d = column(self, x)[1]
        cell = chain(CausalConv(d, self.kernel, 1, d), SiLU(), DiagonalGRU(self.heads), RMSNorm())
        gated = Composed(Branching(Group(2, 2), Multiply()), (cell, SiLU()))
        return residual(RMSNorm(), Linear(2 * d), gated, Linear(d))
