"""Layers without weights that keep the shape: identity and the nonlinearities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.cost import Cost
from evosearch.layers.base import Form, Leaf, Shape, WrittenLeaf, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


class Pointwise(WrittenLeaf):
    """One line of code, no weights, the shape stays."""

    code: ClassVar[str]
    float32: ClassVar[bool] = False  # whether CUDA's autocast computes it in float32

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line(self.code, x, shape=node.output, keeps=self.saves, float32=self.float32)


@register("identity")
@dataclass(frozen=True)
class Identity(Leaf):
    def shape(self, x: Shape) -> Shape:
        return x

    def cost(self, node: Node) -> Cost:
        return Cost()

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        return ()

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return x


@register("leaky_relu")
@dataclass(frozen=True)
class LeakyReLU(Pointwise):
    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "F.leaky_relu({}, 0.01)"


@register("relu")
@dataclass(frozen=True)
class ReLU(Pointwise):
    keeps_zero: ClassVar[bool] = True
    saves: ClassVar[str] = "out"
    code: ClassVar[str] = "F.relu({})"


@register("gelu")
@dataclass(frozen=True)
class GELU(Pointwise):
    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "F.gelu({})"


@register("silu")
@dataclass(frozen=True)
class SiLU(Pointwise):
    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "F.silu({})"


@register("tanh")
@dataclass(frozen=True)
class Tanh(Pointwise):
    keeps_zero: ClassVar[bool] = True
    saves: ClassVar[str] = "out"
    code: ClassVar[str] = "torch.tanh({})"


@register("softmax")
@dataclass(frozen=True)
class Softmax(Pointwise):
    """Over the last axis."""

    saves: ClassVar[str] = "out"
    float32: ClassVar[bool] = True
    code: ClassVar[str] = "F.softmax({}, dim=-1)"
