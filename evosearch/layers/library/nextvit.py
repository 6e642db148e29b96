"""Next-ViT: blocks that convolve and blocks that attend, then convolve (Li et al. 2022, arXiv 2207.05501)."""

from __future__ import annotations

from dataclasses import dataclass

from evosearch.layers.base import Shape, register, require, width
from evosearch.layers.block import Block, Body, both, chain, residual
from evosearch.layers.library.activations import Identity, ReLU
from evosearch.layers.library.attention import PooledAttention
from evosearch.layers.library.conv_free import Convolution
from evosearch.layers.library.convolution import AvgPool
from evosearch.layers.library.mbconv import divisible
from evosearch.layers.library.merges import Cat
from evosearch.layers.library.norms import BatchNorm


@register("head_conv")
@dataclass(frozen=True)
class HeadConvolution(Block):
    """A 3x3 convolution in groups of `head` channels, batch norm, ReLU, 1x1 across them ("multi-head convolutional
    attention", Li et al. 2022)."""

    head: int = 32

    def __post_init__(self) -> None:
        require(self.head >= 1, f"a head has at least 1 channel, not {self.head}")

    def body(self, x: Shape) -> Body:
        c = width(x)
        grouped = Convolution(c, 3, groups=max(1, c // self.head))
        return chain(grouped, BatchNorm(), ReLU(), Convolution(c, 1))


def _entry(before: int, after: int, stride: int) -> list[Body]:
    """What brings an image to a width and size: nothing, or means of 2x2 and a 1x1 convolution with batch norm."""
    pool: list[Body] = [AvgPool(stride)] if stride > 1 else []
    return [*pool, Convolution(after, 1), BatchNorm()] if pool or before != after else []


def _perceptron(channels: int, ratio: int, head: int) -> Body:
    hidden = divisible(channels * ratio, head)
    wide, back = Convolution(hidden, 1, bias=1), Convolution(channels, 1, bias=1)
    return residual(BatchNorm(), wide, ReLU(), back)


@register("next_conv")
@dataclass(frozen=True)
class NextConvolution(Block):
    """Next-ViT's convolution block: `head_conv`, then a perceptron of three times the width, each beside its input."""

    width: int
    stride: int = 1
    head: int = 32

    def __post_init__(self) -> None:
        Convolution(self.width, 1, self.stride)
        HeadConvolution(self.head)

    def body(self, x: Shape) -> Body:
        entry = _entry(width(x), self.width, self.stride)
        return chain(*entry, residual(HeadConvolution(self.head)), _perceptron(self.width, 3, self.head))


@register("next_attention")
@dataclass(frozen=True)
class NextAttention(Block):
    """Next-ViT's attention block: three quarters of the channels attend, a quarter made from these convolves.

    reduce: of `pooled_attention`. head: channels of a head. A perceptron of twice the width is behind both.
    """

    width: int
    stride: int = 1
    reduce: int = 1
    head: int = 32

    def __post_init__(self) -> None:
        Convolution(self.width, 1, self.stride)
        HeadConvolution(self.head)
        require(self._attends() < self.width, f"a width of {self.width} leaves no channels beside heads of {self.head}")
        PooledAttention(1, self.reduce)

    def _attends(self) -> int:
        return divisible(self.width * 0.75, self.head)

    def body(self, x: Shape) -> Body:
        attends = self._attends()
        heads = PooledAttention(attends // self.head, self.reduce)
        entry = _entry(width(x), attends, self.stride)
        convolves = chain(*_entry(attends, self.width - attends, 1), residual(HeadConvolution(self.head)))
        attending = residual(BatchNorm(), heads)
        return chain(*entry, attending, both(Cat(1), Identity(), convolves), _perceptron(self.width, 2, self.head))
