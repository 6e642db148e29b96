"""Dropout of whole branches and channels, and layers that are not trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, register, width
from evosearch.layers.builder import DROP_PATH
from evosearch.layers.library.dropout import Dropping
from evosearch.layers.library.linear import Projection

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("drop_path")
@dataclass(frozen=True)
class DropPath(Dropping):
    """Stochastic depth, for the end of a residual branch (Huang et al. 2016)."""

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper(DROP_PATH)
        code = f"drop_path({{}}, {self.rate!r}, {len(node.inputs)}, self.training)"
        return build.line(code, x, shape=node.output, extra=1)


@register("drop_channels")
@dataclass(frozen=True)
class DropChannels(Dropping):
    """Each channel is zero with probability `rate` while training, the others are scaled up (Tompson et al. 2015)."""

    def shape(self, x: Shape) -> Shape:
        if len(x) == 1:
            raise ShapeError("drop_channels: {} has no places", x)
        return x

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        axes = len(node.inputs) - 1
        module = build.module(f"nn.Dropout{axes}d({self.rate!r})", "dropout", trained=False)
        code = f"{module}({{}})" if axes == 2 else f"{module}({{}}.transpose(1, 2)).transpose(1, 2)"
        return build.line(code, x, shape=node.output, extra=width(node.inputs))


@register("fixed_linear")
@dataclass(frozen=True)
class FixedLinear(Projection):
    """(..., d) -> (..., width): a random projection that is never trained (hourglass networks, arXiv 2510.01796)."""

    keeps_zero: ClassVar[bool] = True

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d = node.inputs[-1]
        weight = build.buffer(f"torch.randn({self.width}, {d}) * {d} ** -0.5", "projection", drawn=True)
        return build.line(f"F.linear({{0}}, {weight}.to({{0}}.dtype))", x, shape=node.output)
