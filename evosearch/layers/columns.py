"""What the columns of a table hold, as layers that encode them need to know it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

QUANTILES = 32  # steps between the smallest and the largest of a column
_TAIL = [0.001, 0.004, 0.015]
SHARES = sorted([*np.linspace(0, 1, QUANTILES + 1), *_TAIL, *(1 - share for share in _TAIL)])  # closer in the tails
OUTERMOST = 0.001  # share of the rows below which no rank goes, nor above the rest
MOST_ROWS = 20_000  # from which quantiles are taken


Array = np.ndarray[Any, np.dtype[Any]]
Ranks = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Columns:
    """The columns of a table as a network is given them: centred and scaled.

    numbers: which columns hold numbers. quantiles: for each of those, QUANTILES + 1 values at equal shares of the rows,
        the smallest first, the largest last; rows that hold a value that comes often are left out.
    words: which columns hold one of two values, as one that says whether a word stands there; above 0 it does.
    categories: how many words in a row are those of one category, of which an example has one at most; where left out,
        each word is a category.
    often: for each column of numbers the values that more rows hold than a quantile's share; where left out, none, and
        no row is left out of the quantiles.
    ranks: for each column of numbers the normal deviates of some values' ranks, (value, deviate), ascending; where left
        out, those of the quantiles.
    A column that holds one value alone is in neither.
    """

    numbers: tuple[int, ...]
    quantiles: tuple[tuple[float, ...], ...]
    words: tuple[int, ...] = ()
    categories: tuple[int, ...] = ()
    often: tuple[tuple[float, ...], ...] = ()
    ranks: tuple[Ranks, ...] = ()

    @property
    def parted(self) -> tuple[int, ...]:
        """How many words each category has."""
        return self.categories or (1,) * len(self.words)

    def edges(self, bins: int) -> list[tuple[float, ...]]:
        """For each column of numbers the edges of bins, ascending: the values that come often, and those of at most so
        many bins that hold as many of the other rows each.
        """
        steps = np.linspace(0, QUANTILES, min(bins, QUANTILES) + 1).round().astype(int)
        often = self.often or ((),) * len(self.quantiles)
        return [
            tuple(sorted({*values, *(found[step] for step in steps if found)}))
            for values, found in zip(often, self.quantiles, strict=True)
        ]

    def ranked(self) -> tuple[Ranks, ...]:
        """For each column of numbers the normal deviate of the rank of each of some values, ascending."""
        return self.ranks or tuple(_ranks(found, np.array(found)) for found in self.quantiles)

    def packed(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "numbers": self.numbers,
            "quantiles": self.quantiles,
            "words": self.words,
            "categories": self.categories,
            "often": self.often,
            "ranks": self.ranks,
        }

    @staticmethod
    def unpacked(data: Mapping[str, Any]) -> Columns:
        """Of what `packed` gave, lists in place of tuples."""
        quantiles = tuple(tuple(map(float, found)) for found in data["quantiles"])
        numbers, words = tuple(map(int, data["numbers"])), tuple(map(int, data["words"]))
        often = tuple(tuple(map(float, found)) for found in data.get("often", ()))
        ranks = tuple(tuple((float(at), float(z)) for at, z in column) for column in data.get("ranks", ()))
        return Columns(numbers, quantiles, words, tuple(map(int, data.get("categories", ()))), often, ranks)


@runtime_checkable
class ReadsColumns(Protocol):
    """A layer that must know what the columns of its input hold: it stands before all others, on the table itself."""

    def of(self, columns: Columns) -> ReadsColumns:
        """The same layer for a table with such columns."""


def columns_of(x: Array) -> Columns:
    """What the columns of the examples x (N, D), centred and scaled, hold."""
    least, most = x.min(0), x.max(0)
    two = ((x == least) | (x == most)).all(0)
    varied = least < most
    numbers = np.flatnonzero(varied & ~two)
    rows = x[:: -(-len(x) // MOST_ROWS)][:, numbers].astype(np.float64)
    words = np.flatnonzero(varied & two)
    parted = [_parted(column) for column in rows.T]
    return Columns(
        tuple(numbers.tolist()),
        tuple(
            _rounded(np.quantile(others, np.linspace(0, 1, QUANTILES + 1))) if len(others) else ()
            for _, others in parted
        ),
        tuple(words.tolist()),
        _categories(words, x[:, words] > 0),
        tuple(_rounded(often) for often, _ in parted),
        tuple(
            _ranks([*often, *(np.quantile(others, SHARES) if len(others) else ())], column)
            for (often, others), column in zip(parted, rows.T, strict=True)
        ),
    )


def _parted(values: Array) -> tuple[Array, Array]:
    """The values that more rows hold than a quantile's share, and what the other rows hold.

    So a column that is mostly zero is told apart as finely where it is not.
    """
    different, counts = np.unique(values, return_counts=True)
    often = different[counts * QUANTILES > len(values)]
    return often, values[~np.isin(values, often)]


def _ranks(landmarks: Iterable[float], values: Array) -> Ranks:
    """The normal deviates of the landmarks' ranks among the values; in the middle of those that are equal to one."""
    at, ascending = np.unique(_rounded(landmarks)), np.sort(_rounded(values))
    ranks = (np.searchsorted(ascending, at, "left") + np.searchsorted(ascending, at, "right")) / (2 * len(values))
    deviates = map(NormalDist().inv_cdf, ranks.clip(OUTERMOST, 1 - OUTERMOST).tolist())
    return tuple(zip(at.tolist(), _rounded(deviates), strict=True))


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    """To six digits, as they stand in a network's code."""
    return tuple(float(f"{value:.6g}") for value in values)


def _categories(words: Array, said: Array) -> tuple[int, ...]:
    """How many neighbouring words each category has: as many as no row says two of. said: (N, words), which are there.

    Two categories that never meet are taken for one, which loses nothing: each word keeps an embedding of its own.
    """
    sizes: list[int] = []
    taken = np.zeros(len(said), bool)
    for place, here in enumerate(said.T):
        if place and words[place] == words[place - 1] + 1 and not (taken & here).any():
            sizes[-1] += 1
            taken |= here
        else:
            sizes.append(1)
            taken = here.copy()
    return tuple(sizes)


@lru_cache(maxsize=64)
def usual(count: int) -> Columns:
    """So many columns of numbers, each spread as the normal distribution: where no table is there to be read."""
    shares = np.linspace(0, 1, QUANTILES + 1).clip(OUTERMOST, 1 - OUTERMOST)
    normal = _rounded(map(NormalDist().inv_cdf, shares.tolist()))
    return Columns(tuple(range(count)), (normal,) * count)


__all__ = ["Columns", "ReadsColumns", "columns_of", "usual"]
