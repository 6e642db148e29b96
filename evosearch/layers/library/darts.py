"""DARTS (Liu et al., ICLR 2019): its operations, its cells as words, and the network that cells are stacked in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from evosearch.layers.base import (
    Node,
    Operation,
    Shape,
    Word,
    WrittenLeaf,
    register,
    require,
    size,
)
from evosearch.layers.block import Block, Body, chain, tree
from evosearch.layers.library.activations import Identity, ReLU
from evosearch.layers.library.conv_free import Convolution, DepthwiseConv
from evosearch.layers.library.norms import BatchNorm
from evosearch.layers.library.pools import AvgWindow, MaxWindow
from evosearch.layers.library.reshapes import image
from evosearch.layers.stacked import Stacked, require_earlier, require_read, sorted_reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission, Form
    from evosearch.layers.builder import Builder


@register("relu_depthwise_norm")
@dataclass(frozen=True)
class ReLUDepthwiseNorm(Block):
    """ReLU, a depthwise convolution, 1x1, batch norm, the width stays: DARTS's dilated convolution with dilation 2."""

    kernel: int
    stride: int = 1
    dilation: int = 1

    def __post_init__(self) -> None:
        DepthwiseConv(self.kernel, self.stride, self.dilation)

    def body(self, x: Shape) -> Body:
        spread = DepthwiseConv(self.kernel, self.stride, self.dilation)
        return chain(ReLU(), spread, Convolution(image(self, x)[0], 1), BatchNorm())


@register("separable_twice")
@dataclass(frozen=True)
class SeparableTwice(Block):
    """`relu_depthwise_norm` twice, the stride in the first: the separable convolution of NASNet and DARTS."""

    kernel: int
    stride: int = 1

    def body(self, x: Shape) -> Body:
        del x
        return chain(ReLUDepthwiseNorm(self.kernel, self.stride), ReLUDepthwiseNorm(self.kernel))


@register("factorized_reduce")
@dataclass(frozen=True)
class FactorizedReduce(WrittenLeaf):
    """(C, H, W) -> (width, H / 2, W / 2), rounded up: ReLU, half the width from even places by 1x1, half from odd ones,
    batch norm."""

    width: int

    def __post_init__(self) -> None:
        require(self.width >= 2 and self.width % 2 == 0, f"the width is even, not {self.width}")

    def shape(self, x: Shape) -> Shape:
        return (self.width, (image(self, x)[1] + 1) // 2, (x[2] + 1) // 2)

    def params(self, x: Shape) -> int:
        return x[0] * self.width + 2 * self.width

    def flops(self, x: Shape) -> int:
        return 2 * x[0] * size(self.shape(x))

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        settings = f"{node.inputs[0]}, {self.width // 2}, 1, stride=2, bias=False"
        even, odd = build.module(f"nn.Conv2d({settings})", "conv"), build.module(f"nn.Conv2d({settings})", "conv")
        norm = build.module(f"nn.BatchNorm2d({self.width})", "norm")
        x = build.line("F.relu({})", x, shape=node.inputs, keeps="out")
        half = (self.width // 2, *node.output[1:])
        first = build.line(f"{even}({{}})", x, shape=half, keeps="in")
        moved = f"F.pad({{}}, (0, {node.inputs[2] % 2}, 0, {node.inputs[1] % 2}))[:, :, 1:, 1:]"
        second = build.line(f"{odd}({moved})", x, shape=half, extra=size(node.inputs))
        x = build.line("torch.cat([{}, {}], dim=1)", first, second, shape=node.output)
        return build.line(f"{norm}({{}})", x, shape=node.output, keeps="in")


def _skip(channels: int, stride: int) -> Body:
    return FactorizedReduce(channels) if stride > 1 else Identity()


# By the names of DARTS's genotypes: what an operation is at a width and a stride.
OPERATIONS: Mapping[str, Callable[[int, int], Body]] = MappingProxyType(
    {
        "max_pool_3x3": lambda _, stride: MaxWindow(3, stride),
        "avg_pool_3x3": lambda _, stride: AvgWindow(3, stride, 0),
        "skip_connect": _skip,
        "sep_conv_3x3": lambda _, stride: SeparableTwice(3, stride),
        "sep_conv_5x5": lambda _, stride: SeparableTwice(5, stride),
        "dil_conv_3x3": lambda _, stride: ReLUDepthwiseNorm(3, stride, 2),
        "dil_conv_5x5": lambda _, stride: ReLUDepthwiseNorm(5, stride, 2),
    }
)
STEMS = ("cifar", "imagenet")


@register("darts_edge")
@dataclass(frozen=True)
class Edge(Word):
    """An operation on one of what is there: 0 and 1 are the outputs of the two cells before, 2 and up are nodes.

    operation: "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5", "max_pool_3x3", "avg_pool_3x3" or
    "skip_connect".
    """

    operation: str
    source: int = 0

    def __post_init__(self) -> None:
        require_read(self, OPERATIONS)


@register("darts_node")
@dataclass(frozen=True)
class Pair(Word):
    """The sum of two edges."""

    left: Edge
    right: Edge


@register("darts_cell")
@dataclass(frozen=True)
class Cell(Word):
    """Four nodes, each from two edges; the output holds all of them side by side."""

    second: Pair
    third: Pair
    fourth: Pair
    fifth: Pair

    def __post_init__(self) -> None:
        require_earlier(self.nodes, "node")

    @property
    def nodes(self) -> tuple[Pair, ...]:
        return (self.second, self.third, self.fourth, self.fifth)


@register("darts")
@dataclass(frozen=True)
class Network(Stacked):
    """A stem and `layers` cells, at a third and two thirds of them one that halves the image and doubles the width.

    channels: of the first cells; a cell puts out four times as many. stem: "cifar", or "imagenet" for one that divides
    the sides by 8. Each cell reads the two before it.
    """

    normal: Cell
    reduction: Cell
    channels: int = 16
    layers: int = 8
    stem: str = "cifar"

    def __post_init__(self) -> None:
        require(self.channels >= 2 and self.channels % 2 == 0, f"the channels are even, not {self.channels}")
        require(self.layers >= 1, f"at least 1 cell, not {self.layers}")
        require(self.stem in STEMS, f"the stem is one of {', '.join(STEMS)}, not {self.stem!r}")

    def shape(self, x: Shape) -> Shape:
        return _plan(self, image(self, x))[1][-1].output

    def planned(self, x: Shape) -> list[Node]:
        stems, cells = _plan(self, image(self, x))
        return [*stems, *(part for cell in cells for part in (*cell.entries, *(edge for edge, _ in cell.edges)))]

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """The edges of a node in one order: they are added."""
        del parts
        pairs = map(sorted_reads, (*self.normal.nodes, *self.reduction.nodes))
        return (Operation(self.name, (*pairs, self.channels, self.layers, self.stem, node.inputs), node.output),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        stems, cells = _plan(self, node.inputs)
        before = last = yield stems[0], x
        for stem in stems[1:]:
            before, last = last, (yield stem, last)
        for cell in cells:
            states = [(yield cell.entries[0], before), (yield cell.entries[1], last)]
            shape = cell.edges[0][0].output
            for (left, source), (right, other) in zip(cell.edges[::2], cell.edges[1::2], strict=True):
                first = yield left, states[source]
                second = yield right, states[other]
                states.append(build.line("{} + {}", first, second, shape=shape))
            before, last = last, build.line("torch.cat([{}, {}, {}, {}], dim=1)", *states[2:], shape=cell.output)
        return last


class _Planned(NamedTuple):
    """A cell at its shapes. entries: what brings the two inputs to its width. edges: with their sources, by nodes."""

    entries: tuple[Node, Node]
    edges: tuple[tuple[Node, int], ...]
    output: Shape


@lru_cache(maxsize=2000)
def _plan(network: Network, x: Shape) -> tuple[tuple[Node, ...], tuple[_Planned, ...]]:
    """The stem and the cells. Raises ShapeError."""
    width = network.channels
    shapes, stems = [x], []
    for step in _stem(network.stem, width):
        stems.append(tree(step, shapes[-1]))
        shapes.append(stems[-1].output)
    before, last = shapes[-2] if len(stems) > 1 else shapes[-1], shapes[-1]
    cells = []
    for number in range(network.layers):
        halves = number in (network.layers // 3, 2 * network.layers // 3)
        width *= 1 + halves
        cells.append(_planned(network.reduction if halves else network.normal, before, last, width, halves=halves))
        before, last = last, cells[-1].output
    return tuple(stems), tuple(cells)


def _stem(kind: str, channels: int) -> list[Body]:
    if kind == "cifar":
        return [chain(Convolution(3 * channels, 3), BatchNorm())]
    second = chain(Convolution(channels, 3, 2), BatchNorm())
    return [chain(Convolution(channels // 2, 3, 2), BatchNorm(), ReLU(), second), chain(ReLU(), second)]


def _planned(cell: Cell, before: Shape, last: Shape, width: int, *, halves: bool) -> _Planned:
    reduce = before[1:] != last[1:]  # the cell before the last halved
    enter = chain(ReLU(), Convolution(width, 1), BatchNorm())
    entries = tree(FactorizedReduce(width) if reduce else enter, before), tree(enter, last)
    shapes = [entry.output for entry in entries]
    edges = []
    for node in cell.nodes:
        for edge in (node.left, node.right):
            stride = 2 if halves and edge.source < 2 else 1
            edges.append((tree(OPERATIONS[edge.operation](width, stride), shapes[edge.source]), edge.source))
        shapes.append(edges[-1][0].output)
    return _Planned(entries, tuple(edges), (4 * width, *shapes[-1][1:]))
