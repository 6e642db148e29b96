"""How a network reads the columns of a table: what is here stands before all other layers, on the table itself.

An `Encoding` gives a vector: columns of numbers are encoded; columns that say whether a word stands there become 0 or
1, however they were scaled, behind the others. A linear layer behind them holds an embedding of each word.
`FeatureTokens` gives a column, whose rows are the table's columns.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Self

from evosearch.layers.base import Leaf, Shape, ShapeError, register, require
from evosearch.layers.columns import Columns, usual

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

FARTHEST = 4.0  # deviations from the mean beyond which a number counts as one there: outliers are not extrapolated


@dataclass(frozen=True)
class ReadsTable(Leaf):
    """What reads a table's columns. Its arguments tell it apart, its columns do not: they are one in a whole search."""

    axes: ClassVar[int]  # of what it gives

    columns: Columns | None = field(default=None, init=False, compare=False, repr=False)

    def of(self, columns: Columns) -> Self:
        """The same for a table with such columns."""
        made = copy.copy(self)
        object.__setattr__(made, "columns", columns)  # a new object, which nobody has seen yet
        return made

    @abstractmethod
    def given(self, columns: Columns) -> Shape:
        """What it gives for such columns; a size of 0 where there is nothing to read."""

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes == 1 and want_axes in (None, self.axes)

    def table(self, x: Shape) -> Columns:
        """What the columns of an input of shape `x` hold; where no table is there, numbers."""
        return usual(x[0]) if self.columns is None else self.columns

    def shape(self, x: Shape) -> Shape:
        if len(x) != 1:
            raise ShapeError("{}: {} is no row of a table", self.name, x)
        columns = self.table(x)
        if max((*columns.numbers, *columns.words), default=0) >= x[0]:
            raise ShapeError("{}: {} is not the table that was read", self.name, x)
        if not (output := self.given(columns))[0]:
            raise ShapeError("{}: the table has no column that varies", self.name)
        return output


@dataclass(frozen=True)
class Encoding(ReadsTable):
    """(D,) -> (numbers,)."""

    axes: ClassVar[int] = 1

    @abstractmethod
    def sizes(self, columns: Columns) -> tuple[int, ...]:
        """What each column of numbers becomes."""

    @abstractmethod
    def numbers(self, x: str, columns: Columns, build: Builder) -> str:
        """Write the code that encodes the columns of numbers of variable `x`, all side by side."""

    def given(self, columns: Columns) -> Shape:
        return (sum(self.sizes(columns)) + len(columns.words),)

    def params(self, x: Shape) -> int:
        return 0

    def saved(self, x: Shape) -> int:
        return 0  # nothing before it is trained

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        columns = self.table(node.inputs)
        parts = [self.numbers(x, columns, build)] if columns.numbers else []
        if columns.words:
            parts.append(_words(x, columns, build))
        if len(parts) == 1:
            return parts[0]
        return build.line("torch.cat([{}, {}], dim=1)", *parts, shape=node.output)


def _chosen(x: str, columns: Columns, build: Builder) -> str:
    """The columns of numbers alone."""
    chosen = build.buffer(f"torch.tensor({list(columns.numbers)})", "numbers")
    return build.line(f"{{}}[:, {chosen}]", x, shape=(len(columns.numbers),))


def _clipped(x: str, columns: Columns, build: Builder) -> str:
    """The columns of numbers alone, at most so many deviations from the mean."""
    return build.line(f"{{}}.clamp(-{FARTHEST}, {FARTHEST})", _chosen(x, columns, build), shape=(len(columns.numbers),))


def _ranked(x: str, columns: Columns, build: Builder) -> str:
    """The columns of numbers alone, as the normal deviates of their ranks."""
    ranked, count = columns.ranked(), len(columns.numbers)
    most = max(map(len, ranked)) - 1  # steps; those that a column lacks have no height
    lows, widths, heights = [list[list[float]]() for _ in range(3)]
    for column in ranked:
        steps = [(low, high - low, z - y) for (low, y), (high, z) in pairwise(column)]
        steps += [(0.0, 1.0, 0.0)] * (most - len(steps))
        for part, values in zip((lows, widths, heights), zip(*steps, strict=True), strict=True):
            part.append([float(f"{value:.6g}") for value in values])
    firsts = build.buffer(f"torch.tensor({[column[0][1] for column in ranked]})", "firsts")
    low, width, height = (
        build.buffer(f"torch.tensor({values})", name)
        for values, name in ((lows, "lows"), (widths, "widths"), (heights, "heights"))
    )
    x = _chosen(x, columns, build)
    x = build.line(f"(({{}}[:, :, None] - {low}) / {width}).clamp(0, 1)", x, shape=(count, most))
    return build.line(f"({{}} * {height}).sum(2) + {firsts}", x, shape=(count,))


def _words(x: str, columns: Columns, build: Builder) -> str:
    """The columns of words alone, 1 where the word stands there."""
    words = build.buffer(f"torch.tensor({list(columns.words)})", "words")
    return build.line(f"({{}}[:, {words}] > 0).to({{}}.dtype)", x, x, shape=(len(columns.words),))


@register("plain_numbers")
@dataclass(frozen=True)
class PlainNumbers(Encoding):
    """Numbers as they are, centred and scaled, at most four deviations from the mean."""

    def sizes(self, columns: Columns) -> tuple[int, ...]:
        return (1,) * len(columns.numbers)

    def numbers(self, x: str, columns: Columns, build: Builder) -> str:
        return _clipped(x, columns, build)


@register("piecewise_linear")
@dataclass(frozen=True)
class PiecewiseLinear(Encoding):
    """A number as so many numbers, one for each bin: 0 below the bin, 1 above it, in it the share of the way through.

    Bins hold as many rows each (Gorishniy et al. 2022, arXiv 2203.05556, sections 3.2 and 3.2.1). There the outermost
    bins go on beyond their edges; here they end, so that no outlier can be larger than what was trained on.
    """

    bins: int

    def __post_init__(self) -> None:
        require(self.bins >= 1, f"at least 1 bin, not {self.bins}")

    def sizes(self, columns: Columns) -> tuple[int, ...]:
        return tuple(len(edges) - 1 for edges in columns.edges(self.bins))

    def numbers(self, x: str, columns: Columns, build: Builder) -> str:
        bins = [
            (column, low, high)
            for column, edges in zip(columns.numbers, columns.edges(self.bins), strict=True)
            for low, high in pairwise(edges)
        ]
        chosen = build.buffer(f"torch.tensor({[column for column, _, _ in bins]})", "numbers")
        lows = build.buffer(f"torch.tensor({[low for _, low, _ in bins]})", "lows")
        widths = build.buffer(f"torch.tensor({[float(f'{high - low:.6g}') for _, low, high in bins]})", "widths")
        shape = (len(bins),)
        x = build.line(f"{{}}[:, {chosen}]", x, shape=shape)
        return build.line(f"(({{}} - {lows}) / {widths}).clamp(0, 1)", x, shape=shape)


@register("periodic")
@dataclass(frozen=True)
class Periodic(Encoding):
    """A number as `width` numbers: a linear layer and ReLU of the cosines and sines of its multiples.

    The multiples are learned, 2 pi times `frequencies` factors for each column that begin as N(0, scale); each column
    has a linear layer of its own ("PLR" of Gorishniy et al. 2022, arXiv 2203.05556, section 3.3).
    """

    frequencies: int
    scale: float
    width: int

    def __post_init__(self) -> None:
        require(self.frequencies >= 1, f"at least 1 frequency, not {self.frequencies}")
        require(self.scale > 0, f"the scale is above 0, not {self.scale}")
        require(self.width >= 1, f"the width is at least 1, not {self.width}")

    def read(self, x: str, columns: Columns, build: Builder) -> str:
        """Write the code of the numbers of which there are waves."""
        return _clipped(x, columns, build)

    def sizes(self, columns: Columns) -> tuple[int, ...]:
        return (self.width,) * len(columns.numbers)

    def params(self, x: Shape) -> int:
        return len(self.table(x).numbers) * (self.frequencies + 2 * self.frequencies * self.width + self.width)

    def flops(self, x: Shape) -> int:
        return len(self.table(x).numbers) * 2 * 2 * self.frequencies * self.width

    def saved(self, x: Shape) -> int:
        count = len(self.table(x).numbers)
        # The angles twice, for cosine and sine; both for the linear layer; the output for ReLU; the numbers.
        return count * (2 * self.frequencies + 2 * self.frequencies + self.width + 1)

    def numbers(self, x: str, columns: Columns, build: Builder) -> str:
        count, frequencies, width = len(columns.numbers), self.frequencies, self.width
        factors = build.module(f"nn.Parameter({self.scale!r} * torch.randn({count}, {frequencies}))", "factors")
        reach = (2 * frequencies) ** -0.5
        start = f"torch.empty({count}, {2 * frequencies}, {width}).uniform_(-{reach:.6g}, {reach:.6g})"
        mix = build.module(f"nn.Parameter({start})", "mix")
        bias = build.module(f"nn.Parameter(torch.zeros({count}, {width}))", "bias")
        x = self.read(x, columns, build)
        angles = (count, frequencies)
        x = build.line(f"2 * torch.pi * {{}}[:, :, None] * {factors}", x, shape=angles, keeps="in")
        cosines = build.line("{}.cos()", x, shape=angles, keeps="in")
        sines = build.line("{}.sin()", x, shape=angles, keeps="in")
        x = build.line("torch.cat([{}, {}], dim=2)", cosines, sines, shape=(count, 2 * frequencies))
        shape = (count, width)
        x = build.line(f"torch.einsum('bnk,nkd->bnd', {{}}, {mix}) + {bias}", x, shape=shape, keeps="in")
        x = build.line("F.relu({})", x, shape=shape, keeps="out")
        return build.line("{}.flatten(1)", x, shape=(count * width,), view=True)


@register("rank_periodic")
@dataclass(frozen=True)
class RankPeriodic(Periodic):
    """As `periodic`, of the normal deviates of numbers' ranks: for columns with tails, gaps and values that repeat.

    Between known values deviates are linear, beyond them they end (scikit-learn's QuantileTransformer is the like).
    Gorishniy et al. transform their columns so before any network reads them (arXiv 2203.05556, section 4.1).
    """

    def read(self, x: str, columns: Columns, build: Builder) -> str:
        return _ranked(x, columns, build)


WORD_TOKENS = '''
def word_tokens(x, rows, sizes):
    """For each category the row of the word that stands there. x: (N, words) of 0 and 1; sizes: words of each."""
    return torch.stack([part @ below for part, below in zip(x.split(sizes, 1), rows.split(sizes))], 1)
'''


@register("feature_tokens")
@dataclass(frozen=True)
class FeatureTokens(ReadsTable):
    """(D,) -> (columns, width): each column of a table as a row of `width` numbers, for attention between columns.

    A number times a learned row, or the learned row of a word, and a bias for each column (the feature tokenizer of
    Gorishniy et al. 2021, arXiv 2106.11959, section 3.3). The words of one category, of which an example has one at
    most, are one row.
    """

    width: int
    axes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require(self.width >= 1, f"the width is at least 1, not {self.width}")

    def given(self, columns: Columns) -> Shape:
        return (len(columns.numbers) + len(columns.parted), self.width)

    def params(self, x: Shape) -> int:
        columns = self.table(x)
        return (2 * len(columns.numbers) + len(columns.words) + len(columns.parted)) * self.width

    def flops(self, x: Shape) -> int:
        return 2 * len(self.table(x).words) * self.width

    def saved(self, x: Shape) -> int:
        columns = self.table(x)
        return len(columns.numbers) + len(columns.words)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        columns, width = self.table(node.inputs), self.width
        reach = width**-0.5
        start = f"{width}).uniform_(-{reach:.6g}, {reach:.6g})"
        rows = []
        if columns.numbers:
            count = len(columns.numbers)
            factors = build.module(f"nn.Parameter(torch.empty({count}, {start})", "factors")
            numbers = _clipped(x, columns, build)
            rows.append(build.line(f"{{}}[:, :, None] * {factors}", numbers, shape=(count, width), keeps="in"))
        if columns.words:
            build.helper(WORD_TOKENS)
            table = build.module(f"nn.Parameter(torch.empty({len(columns.words)}, {start})", "rows")
            code = f"word_tokens({{}}, {table}, {list(columns.parted)})"
            words = _words(x, columns, build)
            rows.append(build.line(code, words, shape=(len(columns.parted), width), keeps="in"))
        bias = build.module(f"nn.Parameter(torch.empty({node.output[0]}, {start})", "bias")
        if len(rows) == 1:
            return build.line(f"{{}} + {bias}", *rows, shape=node.output)
        return build.line(f"torch.cat([{{}}, {{}}], dim=1) + {bias}", *rows, shape=node.output)
