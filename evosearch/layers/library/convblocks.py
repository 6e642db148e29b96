"""Blocks of DenseNet, SqueezeNet, ShuffleNet, ConvNeXt, ConvMixer and PoolFormer."""

from __future__ import annotations

from dataclasses import dataclass

from evosearch.layers.base import Shape, ShapeError, register, require, width
from evosearch.layers.block import Block, Body, Composed, both, chain, residual
from evosearch.layers.library.activations import GELU, Identity, ReLU
from evosearch.layers.library.combinators import Branching
from evosearch.layers.library.conv_free import ConvNormAct, Convolution, DepthwiseConv, DepthwiseNormAct
from evosearch.layers.library.convolution import AvgPool, Smooth
from evosearch.layers.library.elementwise import Subtract
from evosearch.layers.library.linear import Linear
from evosearch.layers.library.merges import Cat
from evosearch.layers.library.norms import BatchNorm, GroupNorm, LayerNorm, LayerScale
from evosearch.layers.library.reshapes import ChannelShuffle
from evosearch.layers.library.routing import Col2im, Im2col, Routing
from evosearch.layers.library.splits import Group


@register("patches")
@dataclass(frozen=True)
class Patches(Block):
    """(C, H, W) -> (width, H / size, W / size): a convolution with bias whose windows do not overlap."""

    width: int
    size: int

    def __post_init__(self) -> None:
        require(self.width >= 1 and self.size >= 1, f"{self.width} wide patches of {self.size}: at least 1 each")

    def body(self, x: Shape) -> Body:
        return Composed(Routing(Im2col(self.size, self.size, 0), Col2im()), (Linear(self.width),))


@register("convnext_block")
@dataclass(frozen=True)
class ConvNeXtBlock(Block):
    """Depthwise k x k, layer norm, 1x1 to four times the width, GELU, 1x1 back, scaled (Liu et al. 2022)."""

    kernel: int = 7
    ratio: int = 4

    def body(self, x: Shape) -> Body:
        wide, back = Convolution(self.ratio * width(x), 1, bias=1), Convolution(width(x), 1, bias=1)
        return residual(DepthwiseConv(self.kernel, bias=1), LayerNorm(), wide, GELU(), back, LayerScale(1e-6))


@register("dense_layer")
@dataclass(frozen=True)
class DenseLayer(Block):
    """`growth` new channels behind those that are there (DenseNet-B, Huang et al. 2017)."""

    growth: int

    def __post_init__(self) -> None:
        require(self.growth >= 1, f"at least 1 new channel, not {self.growth}")

    def body(self, x: Shape) -> Body:
        narrow, new = Convolution(4 * self.growth, 1), Convolution(self.growth, 3)
        return both(Cat(1), Identity(), chain(BatchNorm(), ReLU(), narrow, BatchNorm(), ReLU(), new))


@register("transition")
@dataclass(frozen=True)
class Transition(Block):
    """Half the channels at half the size (DenseNet-C)."""

    def body(self, x: Shape) -> Body:
        return chain(BatchNorm(), ReLU(), Convolution(width(x) // 2, 1), AvgPool(2))


@register("fire")
@dataclass(frozen=True)
class Fire(Block):
    """1x1 to `squeeze` channels, then 1x1 and 3x3 side by side, each to `expand` (SqueezeNet, Iandola et al. 2016)."""

    squeeze: int
    expand: int

    def body(self, x: Shape) -> Body:
        one, three = Convolution(self.expand, 1, bias=1), Convolution(self.expand, 3, bias=1)
        sides = both(Cat(1), chain(one, ReLU()), chain(three, ReLU()))
        return chain(Convolution(self.squeeze, 1, bias=1), ReLU(), sides)


@register("shuffle_down")
@dataclass(frozen=True)
class ShuffleDown(Block):
    """ShuffleNetV2's unit of stride 2: both halves of the output come from the whole input (Ma et al. 2018)."""

    width: int

    def body(self, x: Shape) -> Body:
        if self.width % 2:
            raise ShapeError("an even width, not {}", self.width)
        half = self.width // 2
        left = chain(DepthwiseNormAct(3, 2), ConvNormAct(half, 1))
        right = chain(ConvNormAct(half, 1), DepthwiseNormAct(3, 2), ConvNormAct(half, 1))
        return chain(both(Cat(1), left, right), ChannelShuffle(2))


@register("shuffle_unit")
@dataclass(frozen=True)
class ShuffleUnit(Block):
    """ShuffleNetV2's unit of stride 1: half of the channels pass by, then all are shuffled."""

    def body(self, x: Shape) -> Body:
        half = width(x) // 2
        right = chain(ConvNormAct(half, 1), DepthwiseNormAct(3), ConvNormAct(half, 1))
        return chain(Composed(Branching(Group(2, 1), Cat(1)), (Identity(), right)), ChannelShuffle(2))


@register("convmixer_block")
@dataclass(frozen=True)
class ConvMixerBlock(Block):
    """Depthwise k x k on the input, then 1x1, each with bias, GELU and batch norm (Trockman and Kolter 2022)."""

    kernel: int = 9

    def body(self, x: Shape) -> Body:
        spread = residual(DepthwiseConv(self.kernel, bias=1), GELU(), BatchNorm())
        return chain(spread, Convolution(width(x), 1, bias=1), GELU(), BatchNorm())


@register("poolformer_block")
@dataclass(frozen=True)
class PoolFormerBlock(Block):
    """Means of 3x3 windows minus the input as token mixer, then 1x1 to `ratio` times and back (Yu et al. 2022)."""

    ratio: int = 4

    def body(self, x: Shape) -> Body:
        pool = both(Subtract(), Smooth(3), Identity())
        wide, back = Convolution(self.ratio * width(x), 1, bias=1), Convolution(width(x), 1, bias=1)
        scaled = LayerScale(1e-5)
        return chain(residual(GroupNorm(1), pool, scaled), residual(GroupNorm(1), wide, GELU(), back, scaled))
