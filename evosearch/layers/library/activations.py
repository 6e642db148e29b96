"""Layers without weights that keep the shape: identity and the nonlinearities."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from evosearch.cost import Cost
from evosearch.layers.base import Form, Leaf, Shape, ShapeError, WrittenLeaf, register, require, size, width

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


class Pointwise(WrittenLeaf):
    """One line of code, no weights, the shape stays."""

    keeps_steps: ClassVar[bool] = True
    code: ClassVar[str]
    float32: ClassVar[bool] = False  # whether CUDA's autocast computes it in float32

    def channelwise(self, x: Shape) -> bool:
        return True

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line(self.code, x, shape=node.output, keeps=self.saves, float32=self.float32)


@register("identity")
@dataclass(frozen=True)
class Identity(Leaf):
    """The input as it is."""

    keeps_steps: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True

    def channelwise(self, x: Shape) -> bool:
        return True

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
    """x above zero, 0.01 x below."""

    keeps_zero: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True
    code: ClassVar[str] = "F.leaky_relu({}, 0.01)"


@register("relu")
@dataclass(frozen=True)
class ReLU(Pointwise):
    """max(x, 0)."""

    keeps_zero: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True
    saves: ClassVar[str] = "out"
    code: ClassVar[str] = "F.relu({})"


@register("gelu")
@dataclass(frozen=True)
class GELU(Pointwise):
    """x times the normal distribution function of x (Hendrycks and Gimpel 2016)."""

    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "F.gelu({})"


@register("silu")
@dataclass(frozen=True)
class SiLU(Pointwise):
    """x sigmoid(x), also called swish."""

    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "F.silu({})"


@register("tanh")
@dataclass(frozen=True)
class Tanh(Pointwise):
    """The hyperbolic tangent."""

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

    def channelwise(self, x: Shape) -> bool:
        return False


@register("softmax_over")
@dataclass(frozen=True)
class SoftmaxOver(WrittenLeaf):
    """Over a dimension counted from 1 after the batch axis."""

    axis: int

    def __post_init__(self) -> None:
        require(self.axis in (1, 2, 3), f"the dimension is 1, 2 or 3, not {self.axis}")

    def shape(self, x: Shape) -> Shape:
        if self.axis > len(x):
            raise ShapeError("softmax_over: {} has no dimension {}", x, self.axis)
        return x

    def params(self, x: Shape) -> int:
        return 0

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """Over the last axis it is `softmax`."""
        return Softmax().canonical(node, parts) if self.axis == len(node.inputs) else super().canonical(node, parts)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line(f"F.softmax({{}}, dim={self.axis})", x, shape=node.output, keeps="out", float32=True)


@register("sigmoid")
@dataclass(frozen=True)
class Sigmoid(Pointwise):
    """1 / (1 + exp(-x))."""

    saves: ClassVar[str] = "out"
    code: ClassVar[str] = "torch.sigmoid({})"


@register("hard_sigmoid")
@dataclass(frozen=True)
class HardSigmoid(Pointwise):
    """relu6(x + 3) / 6."""

    code: ClassVar[str] = "F.hardsigmoid({})"


@register("hard_swish")
@dataclass(frozen=True)
class HardSwish(Pointwise):
    """x relu6(x + 3) / 6 (Howard et al. 2019)."""

    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "F.hardswish({})"


@register("relu6")
@dataclass(frozen=True)
class ReLU6(Pointwise):
    """min(max(x, 0), 6)."""

    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "F.relu6({})"


@register("elu")
@dataclass(frozen=True)
class ELU(Pointwise):
    """x above zero, exp(x) - 1 below (Clevert et al. 2015)."""

    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "F.elu({})"


@register("softplus")
@dataclass(frozen=True)
class Softplus(Pointwise):
    """log(1 + exp(x))."""

    float32: ClassVar[bool] = True
    code: ClassVar[str] = "F.softplus({})"


@register("mish")
@dataclass(frozen=True)
class Mish(Pointwise):
    """x tanh(softplus(x)) (Misra 2019)."""

    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "F.mish({})"


@register("exp")
@dataclass(frozen=True)
class Exp(Pointwise):
    """The exponential function."""

    saves: ClassVar[str] = "out"
    float32: ClassVar[bool] = True
    code: ClassVar[str] = "torch.exp({})"


@register("abs")
@dataclass(frozen=True)
class Abs(Pointwise):
    """The absolute value."""

    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "torch.abs({})"


@register("square")
@dataclass(frozen=True)
class Square(Pointwise):
    """x times x."""

    keeps_zero: ClassVar[bool] = True
    float32: ClassVar[bool] = True
    code: ClassVar[str] = "torch.square({})"


@register("log1p")
@dataclass(frozen=True)
class LogPlusOne(Pointwise):
    """log(1 + |x|)."""

    keeps_zero: ClassVar[bool] = True

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        code, extra = "torch.log1p({}.abs())", size(node.inputs)  # |x| beside x
        return build.line(code, x, shape=node.output, keeps="in", extra=extra, float32=True)


@register("sin")
@dataclass(frozen=True)
class Sin(Pointwise):
    """The sine."""

    keeps_zero: ClassVar[bool] = True
    code: ClassVar[str] = "torch.sin({})"


@register("cos")
@dataclass(frozen=True)
class Cos(Pointwise):
    """The cosine."""

    code: ClassVar[str] = "torch.cos({})"


@register("neg")
@dataclass(frozen=True)
class Negative(Pointwise):
    """-x."""

    keeps_zero: ClassVar[bool] = True
    saves: ClassVar[str] = ""
    code: ClassVar[str] = "-{}"


@register("prelu")
@dataclass(frozen=True)
class PReLU(WrittenLeaf):
    """Leaky ReLU with a learned slope for each channel or feature, 0.25 at first (He et al. 2015)."""

    keeps_steps: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = True

    def channelwise(self, x: Shape) -> bool:
        return True

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return width(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        inputs = node.inputs
        module = build.module(f"nn.PReLU({width(inputs)})", "prelu")
        code = f"{module}({{}})" if len(inputs) != 2 else f"{module}({{}}.transpose(1, 2)).transpose(1, 2)"
        return build.line(code, x, shape=node.output, keeps="in")


ACTIVATIONS: Mapping[str, type[Leaf]] = MappingProxyType(
    {
        "relu": ReLU,
        "relu6": ReLU6,
        "silu": SiLU,
        "hswish": HardSwish,
        "gelu": GELU,
        "leaky": LeakyReLU,
        "none": Identity,
    }
)  # by the names that blocks take


def activation(name: str) -> Leaf:
    """The activation of a name that a block takes; raises ValueError, which lists them."""
    require(name in ACTIVATIONS, f"an activation is one of {', '.join(ACTIVATIONS)}, not {name!r}")
    return ACTIVATIONS[name]()
