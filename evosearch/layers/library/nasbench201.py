"""NAS-Bench-201 (Dong & Yang, ICLR 2020): its edges, its cell, and the network that its cells are stacked in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.cost import Cost
from evosearch.layers.base import (
    Combinator,
    Form,
    Leaf,
    Operation,
    Part,
    Shape,
    ShapeError,
    Want,
    WrittenLeaf,
    register,
    require,
)
from evosearch.layers.forms import Zero, digest, join, sum_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

CELLS = 5  # cells of a stage
WIDTHS = (16, 32, 64)  # channels of each stage


@register("none")
@dataclass(frozen=True)
class Nothing(Leaf):
    """Zero, whatever comes in."""

    def shape(self, x: Shape) -> Shape:
        return x

    def cost(self, node: Node) -> Cost:
        return Cost()

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        return (Zero(node.output),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line("torch.zeros_like({})", x, shape=node.output)


@register("relu_conv_norm")
@dataclass(frozen=True)
class ReLUConvNorm(WrittenLeaf):
    """ReLU, convolution without bias, batch norm; the shape stays."""

    vanishes: ClassVar[bool] = True

    kernel: int

    def __post_init__(self) -> None:
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the kernel is odd, not {self.kernel}")

    def shape(self, x: Shape) -> Shape:
        if len(x) != 3:
            raise ShapeError("nor_conv: {} is not an image", x)
        return x

    def params(self, x: Shape) -> int:
        return _conv_params(x[0], x[0], self.kernel)

    def flops(self, x: Shape) -> int:
        return 2 * x[0] * self.kernel**2 * math.prod(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return _relu_conv_norm(x, node.inputs[0], node.output, self.kernel, 1, build)


@register("nasbench201_cell")
@dataclass(frozen=True)
class Cell(Combinator):
    """The complete DAG on four nodes: six edges, a node is the sum of what comes in. The shape stays.

    The parts are the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3, as in the benchmark's strings. Its form, like the benchmark's
    own rule, writes a node that is used twice twice: it does not tell one convolution used twice from two of a kind.
    edges: from which node to which, in the order of the parts.
    """

    edges: ClassVar[tuple[tuple[int, int], ...]] = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

    def shape(
        self, x: Shape, e01: Part, e02: Part, e12: Part, e03: Part, e13: Part, e23: Part, *, want: Want = None
    ) -> Shape:
        for edge in (e01, e02, e12, e03, e13, e23):
            if edge(x, x) != x:
                raise ShapeError("an edge of a cell must keep {}", x)
        return x

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        e01, e02, e12, e03, e13, e23 = parts
        x = node.inputs
        second = sum_of([e02, join(e01, e12)], x, x)
        return sum_of([e03, join(e01, e13), join(second, e23)], x, x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        e01, e02, e12, e03, e13, e23 = node.parts
        nodes = [x]
        for edges in ((e01,), (e02, e12), (e03, e13, e23)):
            terms = []
            for edge, start in zip(edges, nodes, strict=True):
                if not isinstance(edge.layer, Nothing):
                    terms.append((yield edge, start))
            if terms:
                total = (
                    terms[0]
                    if len(terms) == 1
                    else build.line(" + ".join(["{}"] * len(terms)), *terms, shape=node.output)
                )
            else:
                total = build.line("torch.zeros_like({})", x, shape=node.output)
            nodes.append(total)
        return nodes[-1]


@register("nasbench201")
@dataclass(frozen=True)
class Network(Combinator):
    """The network without its head: a convolution to 16 channels, three stages of five cells with a residual
    block of stride 2 before the second and third, batch norm, ReLU. (C, H, W) -> (64, H / 4, W / 4).
    """

    def shape(self, x: Shape, cell: Part, *, want: Want = None) -> Shape:
        if len(x) != 3 or x[1] % 4 or x[2] % 4:
            raise ShapeError("nasbench201: {} is not an image with sides that divide by 4", x)
        _, height, width = x
        for stage, channels in enumerate(WIDTHS):
            here = (channels, height >> stage, width >> stage)
            if cell(here, here) != here:
                raise ShapeError("a cell must keep {}", here)
        return here

    def cost(self, node: Node) -> Cost:
        total = Cost()
        channels, positions = node.inputs[0], math.prod(node.inputs[1:])
        width = WIDTHS[0]
        params, flops = _conv_params(channels, width, 3), 2 * 9 * channels * width * positions
        saved = (channels + width) * positions  # of the stem: the image, and its norm's input
        for number, part in enumerate(node.parts):
            total = total + part.cost * CELLS
            if number:
                before, width, positions = width, WIDTHS[number], positions // 4
                params += _conv_params(before, width, 3) + _conv_params(width, width, 3) + before * width
                flops += 2 * positions * (9 * before * width + 9 * width * width + before * width)
                # ReLU and convolution (before), pooling (before), the norms, the second ReLU and convolution, 1x1
                saved += positions * (3 * 4 * before + before + 4 * width)
        last = node.output
        return total + Cost(params + 2 * last[0], flops, saved + 2 * math.prod(last), 20)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        return (Operation("nasbench201", (node.inputs, *map(digest, parts)), node.output),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        channels = node.inputs[0]
        for number, cell in enumerate(node.parts):
            here = cell.inputs
            if number == 0:
                conv = build.module(f"nn.Conv2d({channels}, {here[0]}, 3, padding=1, bias=False)", "stem")
                norm = build.module(f"nn.BatchNorm2d({here[0]})", "norm")
                x = build.line(f"{conv}({{}})", x, shape=here, keeps="in")
                x = build.line(f"{norm}({{}})", x, shape=here, keeps="in")
            else:
                x = _reduction(x, channels, here, build)
            for _ in range(CELLS):
                x = yield cell, x
            channels = here[0]
        norm = build.module(f"nn.BatchNorm2d({channels})", "norm")
        x = build.line(f"{norm}({{}})", x, shape=node.output, keeps="in")
        return build.line("F.relu({})", x, shape=node.output, keeps="out")


def _conv_params(before: int, width: int, kernel: int) -> int:
    """Of a convolution without bias and its norm."""
    return (before * kernel**2 + 2) * width


def _relu_conv_norm(x: str, before: int, output: Shape, kernel: int, stride: int, build: Builder) -> str:
    settings = f"{kernel}, stride={stride}, padding={kernel // 2}, bias=False"
    conv = build.module(f"nn.Conv2d({before}, {output[0]}, {settings})", "conv")
    norm = build.module(f"nn.BatchNorm2d({output[0]})", "norm")
    x = build.line("F.relu({})", x, shape=build.shape(x), keeps="out")
    x = build.line(f"{conv}({{}})", x, shape=output, keeps="in")
    return build.line(f"{norm}({{}})", x, shape=output, keeps="in")


def _reduction(x: str, before: int, output: Shape, build: Builder) -> str:
    """The residual block between stages: two ReLU-conv-norm, the first with stride 2; beside them average pooling and
    a 1x1 convolution."""
    main = _relu_conv_norm(x, before, output, 3, 2, build)
    main = _relu_conv_norm(main, output[0], output, 3, 1, build)
    shortcut = build.module(f"nn.Conv2d({before}, {output[0]}, 1, bias=False)", "shortcut")
    side = build.line("F.avg_pool2d({}, 2)", x, shape=(before, *output[1:]), keeps="in")
    side = build.line(f"{shortcut}({{}})", side, shape=output, keeps="in")
    return build.line("{} + {}", side, main, shape=output)
