"""Residual blocks of convolutions: ResNet, ResNeXt, RegNet, and their relatives."""

from __future__ import annotations

from dataclasses import dataclass

from evosearch.layers.base import Shape, register, require, width
from evosearch.layers.block import Block, Body, Composed, chain
from evosearch.layers.library.activations import ReLU
from evosearch.layers.library.combinators import Branching
from evosearch.layers.library.conv_free import ConvNormAct, Convolution
from evosearch.layers.library.mbconv import SqueezeExcite, divisible
from evosearch.layers.library.merges import Cat
from evosearch.layers.library.norms import BatchNorm, InstanceNorm
from evosearch.layers.library.pools import MaxWindow
from evosearch.layers.library.skips import Skip, SkipPool
from evosearch.layers.library.splits import Group

NORMS = ("bn", "ibn")


@register("basic_block")
@dataclass(frozen=True)
class BasicBlock(Block):
    """Two 3x3 convolutions with batch norm beside the input (He et al. 2016, figure 5 left)."""

    width: int
    stride: int = 1

    def body(self, x: Shape) -> Body:
        inner = chain(ConvNormAct(self.width, 3, self.stride), ConvNormAct(self.width, 3, act="none"))
        return chain(Composed(Skip(), (inner,)), ReLU())


@register("bottleneck")
@dataclass(frozen=True)
class Bottleneck(Block):
    """1x1, 3x3, 1x1 to four times the width, beside the input (He et al. 2016, figure 5 right; the stride at the 3x3).

    groups, base: ResNeXt's, the 3x3 has width * base / 64 * groups channels in so many groups (Xie et al. 2017).
    norm: "bn", or "ibn" for IBN-Net's, where the first norm is half by instance (Pan et al. 2018).
    """

    width: int
    stride: int = 1
    groups: int = 1
    base: int = 64
    norm: str = "bn"

    def __post_init__(self) -> None:
        require(self.norm in NORMS, f"the norm is one of {', '.join(NORMS)}, not {self.norm!r}")

    def body(self, x: Shape) -> Body:
        inner = self.width * self.base // 64 * self.groups
        first: Body = ConvNormAct(inner, 1)
        if self.norm == "ibn":
            halves = Composed(Branching(Group(2, 1), Cat(1)), (InstanceNorm(), BatchNorm()))
            first = chain(Convolution(inner, 1), halves, ReLU())
        second = ConvNormAct(inner, 3, self.stride, groups=self.groups)
        return chain(Composed(Skip(), (chain(first, second, ConvNormAct(4 * self.width, 1, act="none")),)), ReLU())


@register("pooled_bottleneck")
@dataclass(frozen=True)
class PooledBottleneck(Block):
    """A bottleneck whose 3x3 is a maximum over windows, without weights (Han et al. 2022, "parameter-free layers")."""

    width: int
    stride: int = 1

    def body(self, x: Shape) -> Body:
        inner = chain(ConvNormAct(self.width, 1), MaxWindow(3, self.stride), ConvNormAct(4 * self.width, 1, act="none"))
        return chain(Composed(Skip(), (inner,)), ReLU())


@register("regnet_block")
@dataclass(frozen=True)
class RegNetBlock(Block):
    """A bottleneck that keeps its width, in groups of `group` channels (Radosavovic et al. 2020).

    squeeze: the share of the input's channels that squeeze-and-excitation has inside (RegNetY: 0.25), 0 for none.
    """

    width: int
    stride: int = 1
    group: int = 8
    squeeze: float = 0.0

    def __post_init__(self) -> None:
        require(self.group >= 1, f"groups have at least 1 channel, not {self.group}")
        require(0 <= self.squeeze <= 1, f"the share is 0 to 1, not {self.squeeze}")

    def body(self, x: Shape) -> Body:
        groups = max(1, self.width // self.group)
        steps: list[Body] = [ConvNormAct(self.width, 1), ConvNormAct(self.width, 3, self.stride, groups=groups)]
        if self.squeeze:
            steps.append(SqueezeExcite(round(self.squeeze * width(x))))
        return chain(Composed(Skip(), (chain(*steps, ConvNormAct(self.width, 1, act="none")),)), ReLU())


@register("se_bottleneck")
@dataclass(frozen=True)
class SEBottleneck(Block):
    """ResNet-RS's bottleneck: squeeze-and-excitation to a quarter of its output behind it, a mean of 2x2 before the
    projection (Bello et al. 2021).

    squeeze: what share of the output, 16 for a sixteenth. pool: 0 for no mean (SE-ResNet, Hu et al. 2018, has both).
    """

    width: int
    stride: int = 1
    squeeze: int = 4
    pool: int = 1

    def __post_init__(self) -> None:
        require(self.squeeze >= 1, f"squeezed to a whole or less, not to 1 / {self.squeeze}")
        require(self.pool in (0, 1), f"pool is 0 or 1, not {self.pool}")

    def body(self, x: Shape) -> Body:
        out = 4 * self.width
        inner = chain(
            ConvNormAct(self.width, 1),
            ConvNormAct(self.width, 3, self.stride),
            ConvNormAct(out, 1, act="none"),
            SqueezeExcite(divisible(out / self.squeeze)),
        )
        return chain(Composed(SkipPool() if self.pool else Skip(), (inner,)), ReLU())
