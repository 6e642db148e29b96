"""Inverted residual blocks of mobile networks, and squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from evosearch.layers.base import Leaf, Shape, register, require, width
from evosearch.layers.block import Block, Body, both, chain, residual
from evosearch.layers.library.activations import HardSigmoid, HardSwish, Identity, Sigmoid, activation
from evosearch.layers.library.conv_free import ConvNormAct, Convolution, DepthwiseNormAct
from evosearch.layers.library.elementwise import Multiply
from evosearch.layers.library.feedforward import LinearFree
from evosearch.layers.library.pools import GlobalPool, Squeeze

GATES: Mapping[str, type[Leaf]] = MappingProxyType({"sigmoid": Sigmoid, "hsigmoid": HardSigmoid})
SQUEEZES = ("none", "in4", "mid4", "mid4s")


def divisible(value: float, by: int = 8) -> int:
    """The multiple of `by` nearest to a width, and not below nine tenths of it (MobileNetV2's rule)."""
    near = max(by, int(value + by / 2) // by * by)
    return near + by if near < 0.9 * value else near


@register("squeeze_excite")
@dataclass(frozen=True)
class SqueezeExcite(Block):
    """Each channel times a gate made from all channels' means, by two 1x1 convolutions with bias (Hu et al. 2018)."""

    hidden: int
    act: str = "relu"
    gate: str = "sigmoid"

    def __post_init__(self) -> None:
        require(self.hidden >= 1, f"at least 1 hidden channel, not {self.hidden}")
        require(self.gate in GATES, f"the gate is one of {', '.join(GATES)}, not {self.gate!r}")
        activation(self.act)

    def body(self, x: Shape) -> Body:
        narrow, wide = Convolution(self.hidden, 1, bias=1), Convolution(width(x), 1, bias=1)
        gate = chain(Squeeze(), narrow, activation(self.act), wide, GATES[self.gate]())
        return both(Multiply(), Identity(), gate)


def squeezed(kind: str, entering: int, hidden: float, act: str) -> list[Body]:
    """The squeeze-and-excitation of a mobile block: a quarter of its input ("in4", EfficientNet), of its inner width
    rounded to eights behind a hard sigmoid ("mid4", MobileNetV3), or of its inner width ("mid4s")."""
    if kind == "in4":
        return [SqueezeExcite(max(1, entering // 4), act)]
    if kind == "mid4":
        return [SqueezeExcite(divisible(divisible(hidden) / 4), "relu", "hsigmoid")]
    if kind == "mid4s":
        return [SqueezeExcite(max(1, int(hidden / 4)))]
    return []


@register("mbconv")
@dataclass(frozen=True)
class MBConv(Block):
    """1x1 to `expand` times the input, depthwise k x k, squeeze-and-excitation, 1x1 to the width (Sandler et al. 2018).

    The input is added where the shape stays. se: "none", or see `squeezed`. With expand 1 there is no first 1x1, unless
    `always` is 1 (FBNet).
    """

    expand: float
    width: int
    kernel: int
    stride: int = 1
    act: str = "relu6"
    se: str = "none"
    always: int = 0

    def __post_init__(self) -> None:
        require(self.expand > 0, f"the expansion is above 0, not {self.expand}")
        require(self.se in SQUEEZES, f"squeeze-and-excitation is one of {', '.join(SQUEEZES)}, not {self.se!r}")
        require(self.always in (0, 1), f"always is 0 or 1, not {self.always}")
        ConvNormAct(self.width, self.kernel, self.stride, act=self.act)

    def body(self, x: Shape) -> Body:
        entering = width(x)
        hidden = divisible(entering * self.expand)
        expands = self.expand != 1 or self.always
        steps: list[Body] = [ConvNormAct(hidden, 1, act=self.act)] if expands else []
        steps.append(DepthwiseNormAct(self.kernel, self.stride, self.act))
        steps += squeezed(self.se, entering, entering * self.expand, self.act)
        steps.append(ConvNormAct(self.width, 1, act="none"))
        return residual(*steps) if self.stride == 1 and entering == self.width else chain(*steps)


@register("fused_mbconv")
@dataclass(frozen=True)
class FusedMBConv(Block):
    """One k x k convolution to `expand` times the input, then 1x1 to the width (Tan and Le 2021)."""

    expand: float
    width: int
    kernel: int
    stride: int = 1
    act: str = "silu"

    def __post_init__(self) -> None:
        require(self.expand > 0, f"the expansion is above 0, not {self.expand}")
        ConvNormAct(self.width, self.kernel, self.stride, act=self.act)

    def body(self, x: Shape) -> Body:
        hidden = divisible(width(x) * self.expand)
        first = ConvNormAct(hidden, self.kernel, self.stride, act=self.act)
        steps = (first, ConvNormAct(self.width, 1, act="none"))
        return residual(*steps) if self.stride == 1 and width(x) == self.width else chain(*steps)


@register("tucker")
@dataclass(frozen=True)
class Tucker(Block):
    """1x1 to a share of the input, k x k to a share of the width, 1x1 to the width (MobileDets, Xiong et al. 2021).

    enter, leave: the shares. The input is added where the shape stays.
    """

    enter: float
    width: int
    leave: float
    kernel: int = 3
    stride: int = 1
    act: str = "relu6"

    def __post_init__(self) -> None:
        require(self.enter > 0 and self.leave > 0, f"shares above 0, not {self.enter} and {self.leave}")
        ConvNormAct(self.width, self.kernel, self.stride, act=self.act)

    def body(self, x: Shape) -> Body:
        first = ConvNormAct(divisible(width(x) * self.enter), 1, act=self.act)
        core = ConvNormAct(divisible(self.width * self.leave), self.kernel, self.stride, act=self.act)
        steps = (first, core, ConvNormAct(self.width, 1, act="none"))
        return residual(*steps) if self.stride == 1 and width(x) == self.width else chain(*steps)


@register("same_mbconv")
@dataclass(frozen=True)
class SameMBConv(Block):
    """An inverted residual block as wide as its input, with squeeze-and-excitation to a quarter of that (CoAtNet's)."""

    expand: float
    kernel: int
    act: str = "gelu"

    def body(self, x: Shape) -> Body:
        return MBConv(self.expand, width(x), self.kernel, 1, self.act, "in4")


@register("ofa_stem")
@dataclass(frozen=True)
class OnceForAllStem(Block):
    """What stands before the units of once-for-all's MobileNetV3 space (Cai et al. 2020)."""

    def body(self, x: Shape) -> Body:
        del x
        return chain(ConvNormAct(16, 3, 2, "hswish"), MBConv(1, 16, 3, 1, "relu"))


@register("ofa_top")
@dataclass(frozen=True)
class OnceForAllTop(Block):
    """What stands behind them."""

    def body(self, x: Shape) -> Body:
        del x
        return chain(ConvNormAct(960, 1, act="hswish"), GlobalPool(), LinearFree(1280), HardSwish())
