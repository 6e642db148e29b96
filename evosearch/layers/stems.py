"""Stems: what stands before a network's body, made from the data that it will read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Leaf, Shape, ShapeError, require

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@dataclass(frozen=True)
class PiecewiseLinear(Leaf):
    """(D,) -> (numbers,): a table's columns as a network reads them best.

    A column of numbers with edges e0 < e1 < ... < eT becomes T numbers, one for each bin: 0 below the bin, 1 above it,
    in it the share of the way through (Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular Deep
    Learning", section 3.2; there the outermost bins go on beyond their edges, here they end, so that no outlier can be
    larger than what was trained on). A column that says whether a word stands there becomes 0 or 1.

    edges: for each column of numbers its number and its edges, in the units that the network is given, ascending.
    words: the numbers of the 0/1 columns; above 0 is 1, however they are scaled.
    """

    name: ClassVar[str] = "piecewise_linear"
    edges: tuple[tuple[int, tuple[float, ...]], ...]
    words: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for column, edges in self.edges:
            require(len(edges) >= 2, f"column {column} has {len(edges)} edges; a bin has two")
            require(
                all(low < high for low, high in pairwise(edges)),
                f"the edges of column {column} do not ascend",
            )
        require(bool(self.edges or self.words), "at least one column")

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes == 1 and want_axes in (None, 1)

    def shape(self, x: Shape) -> Shape:
        if len(x) != 1:
            raise ShapeError("piecewise_linear: {} is no row of a table", x)
        columns = [*(column for column, _ in self.edges), *self.words]
        if max(columns) >= x[0]:
            raise ShapeError("piecewise_linear: column {} of {} columns", max(columns), x[0])
        return (sum(len(edges) - 1 for _, edges in self.edges) + len(self.words),)

    def params(self, x: Shape) -> int:
        return 0

    def saved(self, x: Shape) -> int:
        return 0  # nothing before it is trained

    def title(self, x: Shape) -> str:
        return "piecewise linear"

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        parts = []
        if self.edges:
            parts.append(self._numbers(x, build))
        if self.words:
            columns = build.buffer(f"torch.tensor({list(self.words)})", "words")
            code = f"({{}}[:, {columns}] > 0).to({{}}.dtype)"
            parts.append(build.line(code, x, x, shape=(len(self.words),)))
        if len(parts) == 1:
            return parts[0]
        return build.line("torch.cat([{}, {}], dim=1)", *parts, shape=node.output)

    def _numbers(self, x: str, build: Builder) -> str:
        bins = [(column, *bin_) for column, edges in self.edges for bin_ in pairwise(edges)]
        columns = build.buffer(f"torch.tensor({[column for column, _, _ in bins]})", "columns")
        lows = build.buffer(f"torch.tensor({[low for _, low, _ in bins]})", "lows")
        widths = build.buffer(f"torch.tensor({[float(f'{high - low:.6g}') for _, low, high in bins]})", "widths")
        shape = (len(bins),)
        x = build.line(f"{{}}[:, {columns}]", x, shape=shape)
        return build.line(f"(({{}} - {lows}) / {widths}).clamp(0, 1)", x, shape=shape)
