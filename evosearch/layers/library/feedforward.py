"""Perceptrons over the last axis in other forms: without bias, low-rank, gated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require, size
from evosearch.layers.block import Block, Body, both, chain, residual
from evosearch.layers.library.activations import GELU, activation
from evosearch.layers.library.elementwise import Multiply
from evosearch.layers.library.linear import Linear, Projection
from evosearch.layers.library.masked import mask_of
from evosearch.layers.library.norm import Norm
from evosearch.layers.library.reshapes import column

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("linear_free")
@dataclass(frozen=True)
class LinearFree(Projection):
    """(..., d) -> (..., width), without bias."""

    keeps_zero: ClassVar[bool] = True

    def params(self, x: Shape) -> int:
        return x[-1] * self.width

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        module = build.module(f"nn.Linear({node.inputs[-1]}, {self.width}, bias=False)", "linear")
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")


@register("linear_low")
@dataclass(frozen=True)
class LowRankLinear(Block):
    """A linear layer as two, of a rank that gives `ratio` of its weights (MCUFormer, Liang et al. 2023)."""

    width: int
    ratio: float = 0.5

    def __post_init__(self) -> None:
        require(0 < self.ratio <= 1, f"the ratio is above 0 and at most 1, not {self.ratio}")
        Linear(self.width)

    def body(self, x: Shape) -> Body:
        rank = max(1, round(self.ratio * x[-1] * self.width / (x[-1] + self.width)))
        return chain(LinearFree(rank), Linear(self.width))


@register("glu")
@dataclass(frozen=True)
class GatedUnit(Block):
    """act(W1 x) * (W2 x), then back to the width, without biases (Shazeer 2020); act "silu" is SwiGLU.

    bias: 1 for one in all three.
    """

    hidden: int
    act: str = "silu"
    bias: int = 0

    def __post_init__(self) -> None:
        activation(self.act)
        LinearFree(self.hidden)
        require(self.bias in (0, 1), f"bias is 0 or 1, not {self.bias}")

    def body(self, x: Shape) -> Body:
        linear = Linear if self.bias else LinearFree
        gate = chain(linear(self.hidden), activation(self.act))
        return chain(both(Multiply(), gate, linear(self.hidden)), linear(x[-1]))


@register("activator")
@dataclass(frozen=True)
class Activator(Block):
    """A gated unit with norms in place of attention, then a perceptron (Abdullah and Aydin 2024; no norm is shared).

    gated_only: 1 for no perceptron.
    """

    hidden: int
    gated_only: int = 0

    def __post_init__(self) -> None:
        Linear(self.hidden)
        require(self.gated_only in (0, 1), f"gated_only is 0 or 1, not {self.gated_only}")

    def body(self, x: Shape) -> Body:
        gate = chain(Linear(self.hidden), GELU(), Norm())
        gated = residual(Norm(), both(Multiply(), gate, chain(Linear(self.hidden), Norm())), Linear(x[-1]))
        if self.gated_only:
            return gated
        return chain(gated, residual(Norm(), Linear(self.hidden), GELU(), Linear(x[-1])))


ATTENTIVE = '''
def attentive_statistics(x, scores):
    """Mean and standard deviation over the rows of a column, weighted by the softmax of the scores: (N, 2 D)."""
    weights = torch.softmax(scores, dim=1)
    mean = (weights * x).sum(1)
    variance = (weights * x.square()).sum(1) - mean.square()
    return torch.cat([mean, variance.clamp(min=1e-7).sqrt()], dim=1)
'''


@register("attentive_pool")
@dataclass(frozen=True)
class AttentivePool(WrittenLeaf):
    """(S, D) -> (2 D,): mean and deviation over the rows, weighted by a small perceptron (Okabe et al. 2018).

    bias: 0 for a perceptron without (as in EfficientTDNN).
    """

    hidden: int = 128
    bias: int = 1

    def __post_init__(self) -> None:
        require(self.hidden >= 1, f"at least 1 hidden feature, not {self.hidden}")
        require(self.bias in (0, 1), f"bias is 0 or 1, not {self.bias}")

    def arguments(self) -> tuple[object, ...]:
        """Without a bias of 1: the keys from before it was asked for stay."""
        return (self.hidden,) if self.bias else (self.hidden, self.bias)

    def shape(self, x: Shape) -> Shape:
        if column(self, x)[0] < 2:
            raise ShapeError("attentive_pool: {} has one row", x)
        return (2 * x[1],)

    def params(self, x: Shape) -> int:
        return 2 * x[1] * self.hidden + self.bias * (self.hidden + x[1])

    def flops(self, x: Shape) -> int:
        return 4 * size(x) * self.hidden

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (s, d), h = node.inputs, self.hidden
        build.helper(ATTENTIVE)
        rest = "" if self.bias else ", bias=False"
        first = build.module(f"nn.Linear({d}, {h}{rest})", "linear")
        second = build.module(f"nn.Linear({h}, {d}{rest})", "linear")
        scores = build.line(f"torch.tanh({first}({{}}))", x, shape=(s, h), keeps="in", extra=s * h)
        scores = build.line(f"{second}({{}})", scores, shape=(s, d), keeps="in")
        if mask := mask_of(x, build):
            scores = build.line("{}.masked_fill(~{}.unsqueeze(2), -torch.inf)", scores, mask, shape=(s, d))
        code = "attentive_statistics({}, {})"
        return build.line(code, x, scores, shape=node.output, extra=6 * s * d + 4 * d)
