"""Convolutions of several lengths side by side, for series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Derived, Shape, ShapeError, WrittenLeaf, register, require
from evosearch.layers.library.masked import batch_norm, max_pool

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("inception")
@dataclass(frozen=True)
class Inception(WrittenLeaf):
    """(S, D) -> (S, 4 width): InceptionTime's module (Fawaz et al. 2020, section 3.1).

    A 1x1 convolution to `width` (left out where D is 1); on it convolutions of the kernel, a half and a quarter of it
    (odd ones); beside them a maximum over three steps and a 1x1 convolution of the input; each `width` wide, without
    bias. All four together go through batch norm and ReLU.
    """

    keeps_steps: ClassVar[bool] = True

    width: int
    kernel: int

    def __post_init__(self) -> None:
        require(self.width >= 1, f"the width is at least 1, not {self.width}")
        require(self.kernel >= 5 and self.kernel % 2 == 1, f"the kernel is odd and at least 5, not {self.kernel}")

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes == 2 and want_axes in (None, 2)

    def shape(self, x: Shape) -> Shape:
        if len(x) != 2:
            raise ShapeError("inception: {} is not a sequence", x)
        return (x[0], 4 * self.width)

    def params(self, x: Shape) -> int:
        return self._weights(x[1]) + 8 * self.width

    def flops(self, x: Shape) -> int:
        return 2 * x[0] * self._weights(x[1])

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (steps, channels), width = node.inputs, self.width
        narrow = (width, steps)
        x = build.line("{}.transpose(1, 2)", x, shape=(channels, steps), view=True)
        entry, entered = x, channels
        if channels > 1:
            module = build.module(f"nn.Conv1d({channels}, {width}, 1, bias=False)", "narrow")
            entry, entered = build.line(f"{module}({{}})", x, shape=narrow, keeps="in"), width
        branches = []
        for kernel in self._kernels():
            module = build.module(f"nn.Conv1d({entered}, {width}, {kernel}, padding={kernel // 2}, bias=False)", "conv")
            branches.append(build.line(f"{module}({{}})", entry, shape=narrow, keeps="in"))
        size = (channels, steps)
        pooled = max_pool("F.max_pool1d({}, 3, 1, 1)", x, 2, build, shape=size, extra=steps * channels)
        module = build.module(f"nn.Conv1d({channels}, {width}, 1, bias=False)", "pooled")
        branches.append(build.line(f"{module}({{}})", pooled, shape=narrow, keeps="in"))
        wide = (4 * width, steps)
        x = build.line("torch.cat([{}, {}, {}, {}], dim=1)", *branches, shape=wide)
        x = batch_norm(x, 1, 4 * width, build)
        x = build.line("F.relu({})", x, shape=wide, keeps="out")
        return build.line("{}.transpose(1, 2)", x, shape=node.output, view=True)

    def _kernels(self) -> tuple[int, int, int]:
        return (self.kernel, self.kernel // 2 | 1, self.kernel // 4 | 1)

    def _weights(self, channels: int) -> int:
        """Of all convolutions; each stands at every step."""
        narrowing = channels * self.width if channels > 1 else 0
        entered = self.width if channels > 1 else 1
        return narrowing + entered * self.width * sum(self._kernels()) + channels * self.width


@register("same_inception")
@dataclass(frozen=True)
class SameInception(Derived):
    """An `inception` as wide as its input, (S, D) -> (S, D) with D a multiple of 4: it may stand in a residual one."""

    keeps_steps: ClassVar[bool] = True

    kernel: int

    def __post_init__(self) -> None:
        Inception(1, self.kernel)  # which says what is wrong with the kernel

    def at(self, x: Shape) -> Inception:
        if len(x) != 2 or x[1] % 4:
            raise ShapeError("inception: {} is not a sequence whose width is a multiple of 4", x)
        return Inception(x[1] // 4, self.kernel)

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes == 2 and want_axes in (None, 2)
