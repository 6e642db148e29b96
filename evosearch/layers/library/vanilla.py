"""VanillaNet: two 1x1 convolutions with a ReLU between them that training takes away, so that they become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, register, require, size, width
from evosearch.layers.block import Block, Body, chain
from evosearch.layers.library.activations import Pointwise
from evosearch.layers.library.bigconv import SeriesActivation
from evosearch.layers.library.conv_free import Convolution
from evosearch.layers.library.convolution import MaxPool
from evosearch.layers.library.norms import BatchNorm

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("fading_relu")
@dataclass(frozen=True)
class FadingReLU(Pointwise):
    """max(x, t x) with t the share of training that is done: ReLU at first, nothing once trained (Chen et al. 2023)."""

    keeps_zero: ClassVar[bool] = True

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        code = f"torch.maximum({{0}}, {{0}} * {build.progress()}.to({{0}}.dtype))"
        return build.line(code, x, shape=node.output, keeps="in", extra=size(node.inputs))


@register("vanilla_block")
@dataclass(frozen=True)
class VanillaBlock(Block):
    """1x1, a ReLU that fades, 1x1 to the width, a maximum over `stride` x `stride`, a series activation.

    The form that is trained (VanillaNet, Chen et al. 2023): once the ReLU has faded, the two convolutions with their
    norms are one. n: of `series_activation`. Windows do not overlap.
    """

    width: int
    stride: int = 2
    n: int = 3

    def __post_init__(self) -> None:
        require(self.stride >= 1, f"the stride is at least 1, not {self.stride}")
        Convolution(self.width, 1)
        SeriesActivation(self.n)

    def body(self, x: Shape) -> Body:
        first, second = Convolution(width(x), 1, bias=1), Convolution(self.width, 1, bias=1)
        pool: tuple[Body, ...] = (MaxPool(self.stride),) if self.stride > 1 else ()
        act = SeriesActivation(self.n)
        return chain(first, BatchNorm(), FadingReLU(), second, BatchNorm(), *pool, act)
