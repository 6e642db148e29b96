"""Convolutions and pooling, with "same" padding: of images (C H W), some of sequences (S D)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Derived, Shape, ShapeError, WrittenLeaf, larger, register, require
from evosearch.layers.library.masked import batch_norm

if TYPE_CHECKING:
    from evosearch.layers.base import Emission, Leaf
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


def _image(name: str, x: Shape) -> Shape:
    if len(x) != 3:
        raise ShapeError("{}: {} is not an image", name, x)
    return x


@register("conv")
@dataclass(frozen=True)
class Conv(WrittenLeaf):
    """(C, H, W) -> (width, H, W): a convolution with bias; the kernel is odd. With a stride s, H and W over s, up."""

    mixes_channels: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True
    scales: ClassVar[bool] = True

    width: int
    kernel: int
    stride: int = 1

    def __post_init__(self) -> None:
        require(self.width >= 1, f"the width is at least 1, not {self.width}")
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the kernel is odd, not {self.kernel}")
        require(self.stride >= 1, f"the stride is at least 1, not {self.stride}")

    def grows(self, small: Leaf) -> bool:
        return larger(self, small, ("width", "kernel"))

    def shape(self, x: Shape) -> Shape:
        _, height, width = _image("conv", x)
        return (self.width, (height - 1) // self.stride + 1, (width - 1) // self.stride + 1)

    def params(self, x: Shape) -> int:
        return (x[0] * self.kernel**2 + 1) * self.width

    def flops(self, x: Shape) -> int:
        return 2 * x[0] * self.kernel**2 * math.prod(self.shape(x))

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        settings = f"{self.kernel}, stride={self.stride}, padding={self.kernel // 2}"
        module = build.module(f"nn.Conv2d({node.inputs[0]}, {self.width}, {settings})", "conv")
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")


@register("depthwise")
@dataclass(frozen=True)
class Depthwise(WrittenLeaf):
    """(C, H, W) -> (C, H, W): one odd kernel for each channel, with bias."""

    vanishes: ClassVar[bool] = True
    scales: ClassVar[bool] = True

    kernel: int

    def __post_init__(self) -> None:
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the kernel is odd, not {self.kernel}")

    def channelwise(self, x: Shape) -> bool:
        return True

    def grows(self, small: Leaf) -> bool:
        return larger(self, small, ("kernel",))

    def shape(self, x: Shape) -> Shape:
        return _image("depthwise", x)

    def params(self, x: Shape) -> int:
        return x[0] * (self.kernel**2 + 1)

    def flops(self, x: Shape) -> int:
        return 2 * self.kernel**2 * math.prod(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        channels = node.inputs[0]
        settings = f"{self.kernel}, padding={self.kernel // 2}, groups={channels}"
        module = build.module(f"nn.Conv2d({channels}, {channels}, {settings})", "depthwise")
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")


@register("conv_norm_relu")
@dataclass(frozen=True)
class ConvNormReLU(WrittenLeaf):
    """(C, H, W) -> (width, H, W), (S, D) -> (S, width): convolution without bias, batch norm, ReLU; the kernel is odd.

    With a stride s, H, W and S over s, up. Over a sequence the kernel moves along S.
    """

    keeps_steps: ClassVar[bool] = True
    mixes_channels: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True

    width: int
    kernel: int
    stride: int = 1

    def __post_init__(self) -> None:
        require(self.width >= 1, f"the width is at least 1, not {self.width}")
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the kernel is odd, not {self.kernel}")
        require(self.stride >= 1, f"the stride is at least 1, not {self.stride}")

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes > 1 and want_axes in (None, axes)

    def grows(self, small: Leaf) -> bool:
        return larger(self, small, ("width", "kernel"))

    def shape(self, x: Shape) -> Shape:
        if len(x) == 1:
            raise ShapeError("{}: {} has no places", self.name, x)
        places = [(size - 1) // self.stride + 1 for size in (x[1:] if len(x) == 3 else x[:1])]
        return (self.width, *places) if len(x) == 3 else (*places, self.width)

    def arguments(self) -> tuple[object, ...]:
        """Without a stride of 1: the keys from before there was one stay."""
        return (self.width, self.kernel) if self.stride == 1 else (self.width, self.kernel, self.stride)

    def params(self, x: Shape) -> int:
        return (self._window(x) + 2) * self.width

    def flops(self, x: Shape) -> int:
        return 2 * self._window(x) * math.prod(self.shape(x))

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        inputs, output = node.inputs, node.output
        if len(inputs) == 3:
            return self._write(x, inputs[0], output, build)
        x = build.line("{}.transpose(1, 2)", x, shape=inputs[::-1], view=True)
        x = self._write(x, inputs[1], output[::-1], build)
        return build.line("{}.transpose(1, 2)", x, shape=output, view=True)

    def _write(self, x: str, channels: int, output: Shape, build: Builder) -> str:
        """The three lines, with channels first."""
        axes = len(output) - 1
        stride = f"stride={self.stride}, " if self.stride > 1 else ""
        settings = f"{self.kernel}, {stride}padding={self.kernel // 2}, bias=False"
        conv = build.module(f"nn.Conv{axes}d({channels}, {output[0]}, {settings})", "conv")
        x = build.line(f"{conv}({{}})", x, shape=output, keeps="in", stride=self.stride)
        x = batch_norm(x, axes, output[0], build)
        return build.line("F.relu({})", x, shape=output, keeps="out")

    def _window(self, x: Shape) -> int:
        """Numbers under the kernel at one place."""
        return x[0] * self.kernel**2 if len(x) == 3 else x[1] * self.kernel


@register("same_conv_norm_relu")
@dataclass(frozen=True)
class SameConvNormReLU(Derived):
    """A `conv_norm_relu` as wide as its input: the shape stays, so that it may stand in a residual connection."""

    keeps_steps: ClassVar[bool] = True

    kernel: int

    def __post_init__(self) -> None:
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the kernel is odd, not {self.kernel}")

    def at(self, x: Shape) -> ConvNormReLU:
        return ConvNormReLU(x[0] if len(x) == 3 else x[-1], self.kernel)

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes > 1 and want_axes in (None, axes)


class Pool(WrittenLeaf):
    """(C, H, W) -> (C, H // size, W // size)."""

    keeps_zero: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True
    function: ClassVar[str]
    returns_places: ClassVar[bool] = False  # whether backward needs where in each window the output was
    size: int

    def __post_init__(self) -> None:
        require(self.size >= 1, f"the window is at least 1, not {self.size}")

    def channelwise(self, x: Shape) -> bool:
        return True

    def shape(self, x: Shape) -> Shape:
        channels, height, width = _image(self.name, x)
        if min(height, width) < self.size:
            raise ShapeError("{}: {} is smaller than a window of {}", self.name, x, self.size)
        return (channels, height // self.size, width // self.size)

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        extra = math.prod(node.output) if self.returns_places else 0
        return build.line(f"{self.function}({{}}, {self.size})", x, shape=node.output, keeps="in", extra=extra)


@register("max_pool")
@dataclass(frozen=True)
class MaxPool(Pool):
    """(C, H, W) -> (C, H // size, W // size): the largest of windows that do not overlap."""

    size: int
    function: ClassVar[str] = "F.max_pool2d"
    returns_places: ClassVar[bool] = True


@register("avg_pool")
@dataclass(frozen=True)
class AvgPool(Pool):
    """(C, H, W) -> (C, H // size, W // size): means of windows that do not overlap."""

    size: int
    function: ClassVar[str] = "F.avg_pool2d"


@register("smooth")
@dataclass(frozen=True)
class Smooth(WrittenLeaf):
    """Average over an odd window around each place, the shape stays; places outside the image do not count."""

    keeps_zero: ClassVar[bool] = True
    kernel: int

    def __post_init__(self) -> None:
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the kernel is odd, not {self.kernel}")

    def shape(self, x: Shape) -> Shape:
        return _image("smooth", x)

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        settings = f"{self.kernel}, stride=1, padding={self.kernel // 2}, count_include_pad=False"
        return build.line(f"F.avg_pool2d({{}}, {settings})", x, shape=node.output, keeps="in")
