"""Convolutions of images and sequences in every form that published networks need; without bias unless asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require, size, width
from evosearch.layers.block import Block, Body, chain
from evosearch.layers.library.activations import activation
from evosearch.layers.library.convolution import Conv, Depthwise
from evosearch.layers.library.masked import mask_of, zero_behind
from evosearch.layers.library.norms import BatchNorm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission, Form
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("conv_free")
@dataclass(frozen=True)
class Convolution(WrittenLeaf):
    """(C, H, W) -> (width, H / stride, W / stride), (S, D) -> (S / stride, width), rounded up; the kernel is odd.

    groups: the channels fall into so many, each convolved on its own. dilation: steps between what the kernel reads.
    bias: 1 for one.
    """

    keeps_steps: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True

    width: int
    kernel: int
    stride: int = 1
    groups: int = 1
    dilation: int = 1
    bias: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.stride, self.groups, self.dilation) < 1:  # asked first: blocks make very many of them
            for name in ("width", "stride", "groups", "dilation"):
                require(getattr(self, name) >= 1, f"{name} is at least 1, not {getattr(self, name)}")
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the kernel is odd, not {self.kernel}")
        require(self.bias in (0, 1), f"bias is 0 or 1, not {self.bias}")

    def shape(self, x: Shape) -> Shape:
        if len(x) == 1:
            raise ShapeError("{}: {} has no places", self.name, x)
        if width(x) % self.groups or self.width % self.groups:
            raise ShapeError("{}: {} groups divide neither {} nor {}", self.name, self.groups, x, self.width)
        if len(x) == 3:
            return (self.width, (x[1] - 1) // self.stride + 1, (x[2] - 1) // self.stride + 1)
        return ((x[0] - 1) // self.stride + 1, self.width)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """Where `conv` or `depthwise` say it, in an image and with bias, it is theirs."""
        if len(node.inputs) == 3 and self.bias and self.dilation == 1:
            if self.groups == 1:
                return Conv(self.width, self.kernel, self.stride).canonical(node, parts)
            if self.groups == self.width == node.inputs[0] and self.stride == 1:
                return Depthwise(self.kernel).canonical(node, parts)
        return super().canonical(node, parts)

    def params(self, x: Shape) -> int:
        return self.width * (self._window(x) + self.bias)

    def flops(self, x: Shape) -> int:
        return 2 * self._window(x) * size(self.shape(x))

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        axes = len(node.inputs) - 1
        settings = [str(width(node.inputs)), str(self.width), str(self.kernel)]
        settings += [f"stride={self.stride}"] * (self.stride > 1)
        settings += [f"padding={self.dilation * (self.kernel // 2)}"] * (self.kernel > 1)
        settings += [f"dilation={self.dilation}"] * (self.dilation > 1)
        settings += [f"groups={self.groups}"] * (self.groups > 1)
        settings += ["bias=False"] * (not self.bias)
        module = build.module(f"nn.Conv{axes}d({', '.join(settings)})", "conv")
        code = f"{module}({{}})" if axes == 2 else f"{module}({{}}.transpose(1, 2)).transpose(1, 2)"
        if self.kernel > 1 and (mask := mask_of(x, build)):
            x = zero_behind(x, mask, build)  # as what is outside the series
        return build.line(code, x, shape=node.output, keeps="in", stride=self.stride)

    def _window(self, x: Shape) -> int:
        """Numbers that one output is made of."""
        return int(width(x) // self.groups * self.kernel ** (len(x) - 1))


@register("depthwise_conv")
@dataclass(frozen=True)
class DepthwiseConv(Block):
    """One kernel for each channel, the width stays."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    bias: int = 0

    def body(self, x: Shape) -> Body:
        return Convolution(width(x), self.kernel, self.stride, width(x), self.dilation, self.bias)


@register("conv_norm_act")
@dataclass(frozen=True)
class ConvNormAct(Block):
    """A convolution without bias, batch norm and an activation; act "none" is none."""

    width: int
    kernel: int
    stride: int = 1
    act: str = "relu"
    groups: int = 1
    dilation: int = 1

    def __post_init__(self) -> None:
        Convolution(self.width, self.kernel, self.stride, self.groups, self.dilation)
        activation(self.act)

    def body(self, x: Shape) -> Body:
        conv = Convolution(self.width, self.kernel, self.stride, self.groups, self.dilation)
        return chain(conv, BatchNorm(), activation(self.act))


@register("depthwise_norm_act")
@dataclass(frozen=True)
class DepthwiseNormAct(Block):
    """A depthwise convolution without bias, batch norm and an activation."""

    kernel: int
    stride: int = 1
    act: str = "none"
    dilation: int = 1

    def __post_init__(self) -> None:
        Convolution(1, self.kernel, self.stride, 1, self.dilation)
        activation(self.act)

    def body(self, x: Shape) -> Body:
        return ConvNormAct(width(x), self.kernel, self.stride, self.act, width(x), self.dilation)
