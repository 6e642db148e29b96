"""Convolutions in other forms: central differences, re-parametrised large kernels, series activations, causal ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require, size, width
from evosearch.layers.block import Block, Body, Composed, chain, residual
from evosearch.layers.library.activations import GELU, ReLU
from evosearch.layers.library.conv_free import Convolution, DepthwiseConv
from evosearch.layers.library.mbconv import SqueezeExcite
from evosearch.layers.library.merges import Add
from evosearch.layers.library.norms import GRN, BatchNorm, LayerScale
from evosearch.layers.library.reshapes import column, image
from evosearch.layers.library.skips import Parallel, Skip

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("central_difference")
@dataclass(frozen=True)
class CentralDifference(WrittenLeaf):
    """(C, H, W) -> (width, H / stride, W / stride): a convolution minus theta times its kernel's sum at the centre.

    Without bias (Yu et al. 2020, "Searching central difference convolutional networks").
    """

    width: int
    kernel: int = 3
    stride: int = 1
    theta: float = 0.7

    def __post_init__(self) -> None:
        Convolution(self.width, self.kernel, self.stride)
        require(0 <= self.theta <= 1, f"theta is 0 to 1, not {self.theta}")

    def shape(self, x: Shape) -> Shape:
        return Convolution(self.width, self.kernel, self.stride).shape(image(self, x))

    def params(self, x: Shape) -> int:
        return x[0] * self.width * self.kernel**2

    def flops(self, x: Shape) -> int:
        return 2 * x[0] * size(self.shape(x)) * (self.kernel**2 + 1)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        settings = f"{node.inputs[0]}, {self.width}, {self.kernel}, stride={self.stride}, padding={self.kernel // 2}"
        conv = build.module(f"nn.Conv2d({settings}, bias=False)", "conv")
        whole = build.line(f"{conv}({{}})", x, shape=node.output, keeps="in")
        kernel = f"{conv}.weight.sum((2, 3), keepdim=True)"
        code = f"{{1}} - {self.theta!r} * F.conv2d({{0}}, {kernel}, stride={self.stride})"
        return build.line(code, x, whole, shape=node.output, extra=size(node.inputs))


@register("difference_norm_relu")
@dataclass(frozen=True)
class DifferenceNormReLU(Block):
    """`central_difference`, batch norm, ReLU: the layer of CDCN (Yu et al. 2020)."""

    width: int
    kernel: int = 3
    stride: int = 1
    theta: float = 0.7

    def __post_init__(self) -> None:
        CentralDifference(self.width, self.kernel, self.stride, self.theta)

    def body(self, x: Shape) -> Body:
        del x
        return chain(CentralDifference(self.width, self.kernel, self.stride, self.theta), BatchNorm(), ReLU())


BRANCHES: Mapping[int, tuple[tuple[int, int], ...]] = MappingProxyType(
    {
        17: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5), (3, 7)),
        15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
        13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
        11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
        9: ((5, 1), (5, 2), (3, 3), (3, 4)),
        7: ((5, 1), (3, 2), (3, 3)),
        5: ((3, 1), (3, 2)),
    }
)  # beside a large kernel: (kernel, dilation), after UniRepLKNet's code


@register("reparam_kernel")
@dataclass(frozen=True)
class ReparametrisedKernel(Block):
    """A large depthwise kernel and dilated small ones beside it, each with batch norm, summed (Ding et al. 2024).

    All of them together are one large kernel: what is trained so can be deployed as one convolution.
    """

    kernel: int

    def __post_init__(self) -> None:
        require(self.kernel in BRANCHES, f"the kernel is one of {', '.join(map(str, BRANCHES))}, not {self.kernel}")

    def body(self, x: Shape) -> Body:
        del x
        small = [chain(DepthwiseConv(kernel, 1, dilation), BatchNorm()) for kernel, dilation in BRANCHES[self.kernel]]
        return Composed(Parallel(Add()), (chain(DepthwiseConv(self.kernel), BatchNorm()), *small))


@register("lark")
@dataclass(frozen=True)
class LargeKernelBlock(Block):
    """UniRepLKNet's block: a depthwise kernel (re-parametrised from 7 up), squeeze-and-excitation, a perceptron with
    global response norm (Ding et al. 2024). Of a column the kernel moves along the rows."""

    kernel: int

    def __post_init__(self) -> None:
        require(self.kernel == 3 or self.kernel in BRANCHES, f"3 or a kernel of reparam_kernel, not {self.kernel}")

    def body(self, x: Shape) -> Body:
        c = width(x)
        spread: Body = ReparametrisedKernel(self.kernel) if self.kernel >= 7 else DepthwiseConv(self.kernel)
        wide, back = Convolution(4 * c, 1, bias=1), Convolution(c, 1)
        return residual(
            spread, BatchNorm(), SqueezeExcite(max(1, c // 4)), wide, GELU(), GRN(), back, BatchNorm(), LayerScale(1e-6)
        )


@register("series_activation")
@dataclass(frozen=True)
class SeriesActivation(Block):
    """ReLU, then a depthwise sum over the 2n + 1 x 2n + 1 places around, batch norm (VanillaNet, Chen et al. 2023)."""

    n: int = 3

    def __post_init__(self) -> None:
        require(self.n >= 1, f"n is at least 1, not {self.n}")

    def body(self, x: Shape) -> Body:
        del x
        return chain(ReLU(), DepthwiseConv(2 * self.n + 1), BatchNorm())


@register("causal_conv")
@dataclass(frozen=True)
class CausalConv(WrittenLeaf):
    """(S, D) -> (S, width): each step reads itself and those before it, `dilation` apart, with bias (WaveNet, TCN).

    groups: the features fall into so many, each convolved on its own.
    """

    keeps_steps: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True

    width: int
    kernel: int
    dilation: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        least = min(self.width, self.kernel, self.dilation, self.groups)
        require(least >= 1, "width, kernel, dilation and groups are at least 1")

    def arguments(self) -> tuple[object, ...]:
        """Without groups of 1: the keys from before there were any stay."""
        given = super().arguments()
        return given if self.groups > 1 else given[:-1]

    def shape(self, x: Shape) -> Shape:
        if column(self, x)[1] % self.groups or self.width % self.groups:
            raise ShapeError("causal_conv: {} groups divide neither {} nor {}", self.groups, x, self.width)
        return (x[0], self.width)

    def params(self, x: Shape) -> int:
        return self.width * (x[1] // self.groups * self.kernel + 1)

    def flops(self, x: Shape) -> int:
        return 2 * x[0] * (x[1] // self.groups) * self.kernel * self.width

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (s, d), before = node.inputs, self.dilation * (self.kernel - 1)
        dilation = f", dilation={self.dilation}" if self.dilation > 1 else ""
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        conv = build.module(f"nn.Conv1d({d}, {self.width}, {self.kernel}{dilation}{groups})", "conv")
        code = f"{conv}(F.pad({{}}.transpose(1, 2), ({before}, 0))).transpose(1, 2)"
        return build.line(code, x, shape=node.output, extra=d * (s + before))


@register("tcn_block")
@dataclass(frozen=True)
class TemporalBlock(Block):
    """Two causal convolutions with batch norm and ReLU beside the input (Bai et al. 2018, there with weight norm)."""

    width: int
    kernel: int = 3
    dilation: int = 1

    def body(self, x: Shape) -> Body:
        del x
        conv = CausalConv(self.width, self.kernel, self.dilation)
        return chain(Composed(Skip(), (chain(conv, BatchNorm(), ReLU(), conv, BatchNorm(), ReLU()),)), ReLU())


@register("axis_conv")
@dataclass(frozen=True)
class AxisConv(WrittenLeaf):
    """(C, H, W) -> same: a kernel for each channel along one axis, 1 for H and 2 for W, without bias."""

    kernel: int
    axis: int

    def __post_init__(self) -> None:
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the kernel is odd, not {self.kernel}")
        require(self.axis in (1, 2), f"the axis is 1 or 2, not {self.axis}")

    def shape(self, x: Shape) -> Shape:
        return image(self, x)

    def params(self, x: Shape) -> int:
        return x[0] * self.kernel

    def flops(self, x: Shape) -> int:
        return 2 * self.kernel * size(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        c, k = node.inputs[0], self.kernel
        kernel, padding = ((k, 1), (k // 2, 0)) if self.axis == 1 else ((1, k), (0, k // 2))
        conv = build.module(f"nn.Conv2d({c}, {c}, {kernel}, padding={padding}, groups={c}, bias=False)", "conv")
        return build.line(f"{conv}({{}})", x, shape=node.output, keeps="in")


@register("separable")
@dataclass(frozen=True)
class Separable(Block):
    """A k x k convolution as a sum of `rank` products of one-way ones (canonical form, arXiv 2304.04964)."""

    width: int
    kernel: int
    rank: int

    def body(self, x: Shape) -> Body:
        del x
        last = Convolution(self.width, 1, bias=1)
        return chain(Convolution(self.rank, 1), AxisConv(self.kernel, 1), AxisConv(self.kernel, 2), last)
