"""Pooling: overlapping windows, and over all places at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require, size, width
from evosearch.layers.library.masked import mask_of, masked_max, masked_mean, max_pool, zero_behind

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


class Pooling(WrittenLeaf):
    """Of an image or a column; no weights."""

    keeps_zero: ClassVar[bool] = True

    def channelwise(self, x: Shape) -> bool:
        return True

    def params(self, x: Shape) -> int:
        return 0

    def _places(self, x: Shape) -> Shape:
        if len(x) == 1:
            raise ShapeError("{}: {} has no places", self.name, x)
        return x


class Window(Pooling):
    """(C, H, W) -> (C, H / stride, W / stride), (S, D) -> (S / stride, D), rounded up; windows of an odd size."""

    keeps_steps: ClassVar[bool] = True
    function: ClassVar[str]
    returns_places: ClassVar[bool] = False
    kernel: int
    stride: int

    def __post_init__(self) -> None:
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the window is odd, not {self.kernel}")
        require(self.stride >= 1, f"the stride is at least 1, not {self.stride}")

    def shape(self, x: Shape) -> Shape:
        if len(self._places(x)) == 2:
            return ((x[0] - 1) // self.stride + 1, x[1])
        return (x[0], (x[1] - 1) // self.stride + 1, (x[2] - 1) // self.stride + 1)

    def settings(self) -> str:
        """Of torch's function."""
        return f"{self.kernel}, stride={self.stride}, padding={self.kernel // 2}"

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        axes = len(node.inputs) - 1
        if axes == 2:
            code = f"{self.function}{axes}d({{}}, {self.settings()})"
        else:
            code = f"{self.function}{axes}d({{}}.transpose(1, 2), {self.settings()}).transpose(1, 2)"
        if self.returns_places:
            extra, stride = size(node.output), self.stride
            return max_pool(code, x, 1, build, shape=node.output, stride=stride, extra=extra)
        if mask := mask_of(x, build):
            x = zero_behind(x, mask, build)
        return build.line(code, x, shape=node.output, keeps="in", stride=self.stride)


@register("max_window")
@dataclass(frozen=True)
class MaxWindow(Window):
    """The largest of the window around each place, every `stride` places."""

    kernel: int
    stride: int = 1
    function: ClassVar[str] = "F.max_pool"
    returns_places: ClassVar[bool] = True


@register("avg_window")
@dataclass(frozen=True)
class AvgWindow(Window):
    """The mean of the window around each place, every `stride` places; what is outside counts as zeros, or not at all
    where `zeros` is 0.
    """

    kernel: int
    stride: int = 1
    zeros: int = 1
    function: ClassVar[str] = "F.avg_pool"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.zeros in (0, 1), f"zeros is 0 or 1, not {self.zeros}")

    def arguments(self) -> tuple[object, ...]:
        """Without zeros of 1: the keys from before they were asked for stay."""
        return (self.kernel, self.stride) if self.zeros else (self.kernel, self.stride, self.zeros)

    def settings(self) -> str:
        return super().settings() + ("" if self.zeros else ", count_include_pad=False")


@register("global_pool")
@dataclass(frozen=True)
class GlobalPool(Pooling):
    """(C, H, W) -> (C,), (S, D) -> (D,): the mean over all places, or those that a mask says are there."""

    def shape(self, x: Shape) -> Shape:
        return (width(self._places(x)),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        if mask := mask_of(x, build):
            return masked_mean(x, mask, build)
        axes = "(2, 3)" if len(node.inputs) == 3 else "1"
        return build.line(f"{{}}.mean(dim={axes})", x, shape=node.output)


@register("global_max")
@dataclass(frozen=True)
class GlobalMax(Pooling):
    """(C, H, W) -> (C,), (S, D) -> (D,): the maximum over all places, or those that a mask says are there."""

    def shape(self, x: Shape) -> Shape:
        return (width(self._places(x)),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        if mask := mask_of(x, build):
            return masked_max(x, mask, build)
        axes = "(2, 3)" if len(node.inputs) == 3 else "1"
        return build.line(f"{{}}.amax(dim={axes})", x, shape=node.output, keeps="in", extra=size(node.output))


@register("squeeze")
@dataclass(frozen=True)
class Squeeze(Pooling):
    """The mean over all places, which stay as one: (C, H, W) -> (C, 1, 1), (S, D) -> (1, D)."""

    def shape(self, x: Shape) -> Shape:
        return (x[0], 1, 1) if len(self._places(x)) == 3 else (1, x[1])

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        if mask := mask_of(x, build):
            return build.line("{}.unsqueeze(1)", masked_mean(x, mask, build), shape=node.output, view=True)
        axes = "(2, 3)" if len(node.inputs) == 3 else "1"
        return build.line(f"{{}}.mean(dim={axes}, keepdim=True)", x, shape=node.output)


@register("adaptive_pool")
@dataclass(frozen=True)
class AdaptivePool(Pooling):
    """(C, H, W) -> (C, size, size): means over windows of as equal a size as can be."""

    size: int

    def __post_init__(self) -> None:
        require(self.size >= 1, f"the size is at least 1, not {self.size}")

    def shape(self, x: Shape) -> Shape:
        if len(x) != 3:
            raise ShapeError("adaptive_pool: {} is not an image", x)
        return (x[0], self.size, self.size)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line(f"F.adaptive_avg_pool2d({{}}, {self.size})", x, shape=node.output, keeps="in")


@register("avg_pool_column")
@dataclass(frozen=True)
class AvgPoolColumn(Pooling):
    """(S, D) -> (S // size, D): means of windows that do not overlap."""

    size: int

    def __post_init__(self) -> None:
        require(self.size >= 1, f"the window is at least 1, not {self.size}")

    def shape(self, x: Shape) -> Shape:
        if len(x) != 2 or x[0] < self.size:
            raise ShapeError("avg_pool_column: {} has no window of {}", x, self.size)
        return (x[0] // self.size, x[1])

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        code = f"F.avg_pool1d({{}}.transpose(1, 2), {self.size}).transpose(1, 2)"
        return build.line(code, x, shape=node.output, keeps="in")
