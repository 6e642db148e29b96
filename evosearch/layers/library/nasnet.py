"""NASNet (Zoph et al., CVPR 2018): its operations, its cells as words, and the network that cells are stacked in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from evosearch.layers.base import Node, Operation, Shape, Word, register, require
from evosearch.layers.block import Body, chain, tree
from evosearch.layers.library.activations import Identity, ReLU
from evosearch.layers.library.conv_free import Convolution, DepthwiseConv
from evosearch.layers.library.darts import FactorizedReduce
from evosearch.layers.library.norms import BatchNorm
from evosearch.layers.library.pools import AvgWindow, MaxWindow
from evosearch.layers.library.reshapes import image
from evosearch.layers.stacked import Stacked, require_earlier, require_read, sorted_reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission, Form
    from evosearch.layers.builder import Builder

UNREAD = "unread"
STEMS = ("cifar", "imagenet")


def _convolution(width: int, kernel: int = 1, stride: int = 1, dilation: int = 1) -> Body:
    return chain(ReLU(), Convolution(width, kernel, stride, 1, dilation), BatchNorm())


def _separable(kernel: int) -> Callable[[int, int, int], Body]:
    """Depthwise and 1x1 twice; the first has the stride and comes to the width."""

    def made(_: int, width: int, stride: int) -> Body:
        first = chain(ReLU(), DepthwiseConv(kernel, stride), Convolution(width, 1), BatchNorm())
        return chain(first, ReLU(), DepthwiseConv(kernel), Convolution(width, 1), BatchNorm())

    return made


def _pooled(pool: Callable[[int], Body]) -> Callable[[int, int, int], Body]:
    def made(before: int, width: int, stride: int) -> Body:
        return pool(stride) if before == width else chain(pool(stride), Convolution(width, 1), BatchNorm())

    return made


def _identity(before: int, width: int, stride: int) -> Body:
    return Identity() if before == width and stride == 1 else _convolution(width, 1, stride)


# What an operation is that comes from so many channels to so many, at a stride. The two that convolve along one axis
# and then along the other, which no published cell has, are left out.
OPERATIONS: Mapping[str, Callable[[int, int, int], Body]] = MappingProxyType(
    {
        "identity": _identity,
        "sep_3x3": _separable(3),
        "sep_5x5": _separable(5),
        "sep_7x7": _separable(7),
        "avg_3x3": _pooled(lambda stride: AvgWindow(3, stride, 0)),
        "max_3x3": _pooled(lambda stride: MaxWindow(3, stride)),
        "max_5x5": _pooled(lambda stride: MaxWindow(5, stride)),
        "max_7x7": _pooled(lambda stride: MaxWindow(7, stride)),
        "dil_3x3": lambda _, width, stride: _convolution(width, 3, stride, 2),
        "conv_1x1": lambda _, width, stride: _convolution(width, 1, stride),
        "conv_3x3": lambda _, width, stride: _convolution(width, 3, stride),
    }
)


@register("nasnet_input")
@dataclass(frozen=True)
class Input(Word):
    """An operation on a state: 0 is the output of the cell before, 1 that of the cell before it, 2 and up are blocks.

    operation: "identity", "sep_3x3", "sep_5x5", "sep_7x7", "avg_3x3", "max_3x3", "max_5x5", "max_7x7", "dil_3x3",
    "conv_1x1" or "conv_3x3".
    """

    operation: str
    source: int = 0

    def __post_init__(self) -> None:
        require_read(self, OPERATIONS)


@register("nasnet_block")
@dataclass(frozen=True)
class Pair(Word):
    """The sum of two inputs."""

    left: Input
    right: Input


@register("nasnet_cell")
@dataclass(frozen=True)
class Cell(Word):
    """Five blocks; the output holds states side by side.

    joined: "unread" for the blocks that no block reads, as in the paper; or states' digits, where its code has more.
    """

    first: Pair
    second: Pair
    third: Pair
    fourth: Pair
    fifth: Pair
    joined: str = UNREAD

    def __post_init__(self) -> None:
        require_earlier(self.blocks, "block")
        require(
            self.joined == UNREAD or (self.joined.isdecimal() and int(max(self.joined)) < 2 + len(self.blocks)),
            f'what is joined is "unread" or the digits of states, not {self.joined!r}',
        )

    @property
    def blocks(self) -> tuple[Pair, ...]:
        return (self.first, self.second, self.third, self.fourth, self.fifth)

    @property
    def output(self) -> tuple[int, ...]:
        """The states that the output holds."""
        if self.joined != UNREAD:
            return tuple(int(digit) for digit in self.joined)
        read = {one.source for block in self.blocks for one in (block.left, block.right)}
        return tuple(state for state in range(2, 2 + len(self.blocks)) if state not in read)


@register("nasnet")
@dataclass(frozen=True)
class Network(Stacked):
    """A stem, three stages of `repeat` normal cells with a reduction cell between them, and ReLU.

    channels: of the first stage's states; a reduction halves the image and doubles them. first: channels of the stem's
    convolution. stem: "cifar", or "imagenet" for a stride of 2 and two reduction cells of a quarter and half the width.
    Each cell reads the two before it.
    """

    normal: Cell
    reduction: Cell
    channels: int = 12
    repeat: int = 1
    first: int = 32
    stem: str = "cifar"

    def __post_init__(self) -> None:
        require(self.channels >= 4 and self.channels % 4 == 0, f"the channels divide by 4, not {self.channels}")
        require(self.repeat >= 1, f"at least 1 cell in a stage, not {self.repeat}")
        require(self.first >= 1, f"at least 1 channel in the stem, not {self.first}")
        require(self.stem in STEMS, f"the stem is one of {', '.join(STEMS)}, not {self.stem!r}")
        require(min(self.reduction.output) > 1, "a reduction cell puts out blocks alone: its inputs are twice as large")

    def shape(self, x: Shape) -> Shape:
        """Without a plan: the sampler asks for many more shapes than for costs."""
        factor = 4 if self.stem == "cifar" else 32
        _, height, width = image(self, x)
        return (4 * self.channels * len(self.normal.output), -(-height // factor), -(-width // factor))

    def planned(self, x: Shape) -> list[Node]:
        stem, cells = _plan(self, image(self, x))
        return [stem, *(part for cell in cells for part in (*cell.entries, *cell.inputs)), _last(cells)]

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """The inputs of a block in one order: they are added."""
        del parts
        cells = [(tuple(map(sorted_reads, cell.blocks)), cell.output) for cell in (self.normal, self.reduction)]
        arguments = (*cells, self.channels, self.repeat, self.first, self.stem, node.inputs)
        return (Operation(self.name, arguments, node.output),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        stem, cells = _plan(self, node.inputs)
        before = last = yield stem, x
        for planned in cells:
            states = [(yield planned.entries[0], last), (yield planned.entries[1], before)]
            for (left, right), block in zip(planned.pairs(), planned.cell.blocks, strict=True):
                first = yield left, states[block.left.source]
                second = yield right, states[block.right.source]
                states.append(build.line("{} + {}", first, second, shape=left.output))
            joined = [states[state] for state in planned.cell.output]
            before, last = last, joined[0]
            if len(joined) > 1:
                listed = ", ".join(["{}"] * len(joined))
                last = build.line(f"torch.cat([{listed}], dim=1)", *joined, shape=planned.output)
        return (yield _last(cells), last)


class _Planned(NamedTuple):
    """A cell at its shapes. entries: what brings its two inputs to its width. inputs: of its blocks, two for each."""

    cell: Cell
    entries: tuple[Node, Node]
    inputs: tuple[Node, ...]
    output: Shape

    def pairs(self) -> list[tuple[Node, Node]]:
        return list(zip(self.inputs[::2], self.inputs[1::2], strict=True))


def _last(cells: Sequence[_Planned]) -> Node:
    return tree(ReLU(), cells[-1].output)


@lru_cache(maxsize=2000)
def _plan(network: Network, x: Shape) -> tuple[Node, tuple[_Planned, ...]]:
    """The stem's convolution and the cells. Raises ShapeError."""
    large = network.stem == "imagenet"
    stem = tree(chain(Convolution(network.first, 3, 2 if large else 1), BatchNorm()), x)
    width = network.channels
    order = [(True, width // 4), (True, width // 2)] if large else []
    for stage in range(3):
        order += [(True, width << stage)] * (stage > 0) + [(False, width << stage)] * network.repeat
    before = last = stem.output
    cells: list[_Planned] = []
    for number, (halves, channels) in enumerate(order):
        raw = large and number == 0  # there is no cell before: its blocks read the stem as it is
        cell = network.reduction if halves else network.normal
        cells.append(_planned(cell, before, last, channels, halves=halves, raw=raw))
        before, last = last, cells[-1].output
    return stem, tuple(cells)


def _planned(cell: Cell, before: Shape, last: Shape, width: int, *, halves: bool, raw: bool) -> _Planned:
    older: Body = Identity() if raw else _convolution(width) if before[1:] == last[1:] else FactorizedReduce(width)
    entries = tree(_convolution(width), last), tree(older, before)
    states = [entry.output for entry in entries]
    inputs = []
    for block in cell.blocks:
        for read in (block.left, block.right):
            stride = 2 if halves and read.source < 2 else 1
            state = states[read.source]
            inputs.append(_read(read.operation, width, stride, state))
        states.append(inputs[-1].output)
    return _Planned(cell, entries, tuple(inputs), (width * len(cell.output), *states[-1][1:]))


@lru_cache(maxsize=10_000)
def _read(operation: str, width: int, stride: int, x: Shape) -> Node:
    """An operation at a shape: the cells of a stage have the same."""
    return tree(OPERATIONS[operation](x[0], width, stride), x)
