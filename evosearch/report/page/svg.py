"""Scales and marks of the report's charts, as SVG text. Whatever comes from a run passes through `escape`."""

from __future__ import annotations

import html
import json
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from evosearch.moments import share
from evosearch.report.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Kind = Literal["linear", "log", "error"]
Point = tuple[float, float]

LINE = 14  # the height of a label, with room above and below
TINIEST = -323  # the exponent of the smallest power of ten that a double holds
ERROR_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99999)


def escape(text: object) -> str:
    """Text as HTML shows it: no markup, no control characters, no direction overrides."""
    return html.escape(clean(str(text)), quote=True)


@dataclass(frozen=True)
class Scale:
    """From values to places in a drawing.

    kind: linear; log; error, the logarithm of 1 - value, for shares close to 1.
    low, high: values at `start` and `end`; what lies outside is drawn at the edge.
    """

    kind: Kind
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        low, high = self._bent(self.low), self._bent(self.high)
        at = share(self._bent(min(max(value, self.low), self.high)), low, high) if high > low else 0.5
        return self.start + at * (self.end - self.start)

    def _bent(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(value)
        if self.kind == "error":
            return -math.log10(1 - value)
        return value

    def ticks(self, gap: float) -> list[float]:
        """Round values inside the scale that lie at least `gap` apart in the drawing."""
        kept: list[float] = []
        for value in self._candidates():
            if all(abs(self(value) - self(other)) >= gap for other in kept):
                kept.append(value)
        return sorted(kept)

    def _candidates(self) -> list[float]:
        """Round values, the roundest first."""
        if self.kind == "error":
            return [value for value in ERROR_TICKS if self.low <= value <= self.high]
        if self.kind == "log":
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            found = [float(f"{m}e{e}") for m in (1, 3, 2, 5) for e in range(first, last + 1)]  # inf beyond the largest
            return [value for value in found if self.low <= value <= self.high]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        count = max(abs(self.end - self.start) / 60, 2)
        rough = abs(span) / count if math.isfinite(span) else self.high / count - self.low / count
        unit = float(f"1e{max(math.floor(math.log10(rough)), TINIEST)}")
        step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
        if math.isinf(step):
            return [value for value in (0.0, 1e308, -1e308) if self.low <= value <= self.high]
        first = math.ceil(self.low / step - 1e-9)
        return [step * index for index in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def as_json(self) -> str:
        """For the page's script, which maps a pointer to the nearest value."""
        return json.dumps([self.kind, self.low, self.high, round(self.start, 1), round(self.end, 1)])


def fitting(given: Sequence[float] | NDArray[np.float64], start: float, end: float, kind: Kind | None = None) -> Scale:
    """A scale with room for the values.

    Where no kind is asked for: shares that come within a tenth of 1 are spread by their error, positive values over
    more than a factor of 30 by their logarithm, others evenly.
    """
    values = np.asarray(given, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    if kind is None:
        shares = low >= 0 and high <= 1
        kind = "error" if shares and high > 0.9 > low else "log" if low > 0 and high > 30 * low else "linear"
    if kind == "error":
        below = values[values < 1]
        least = 1 - float(below.max()) if below.size else 0.1
        return Scale("error", max(0.0, low - 0.02), 1 - least * (0.5 if high >= 1 else 0.8), start, end)
    if kind == "log":
        above = values[values > 0]
        low = float(above.min()) if above.size else 1.0
        high = max(high, low)
        margin = max((high / low) ** 0.05 if math.isfinite(high / low) else high**0.05 / low**0.05, 1.05)
        return Scale("log", max(low / margin, math.ulp(0.0)), min(high * margin, sys.float_info.max), start, end)
    span = high - low
    margin = (span * 0.05 if math.isfinite(span) else high * 0.05 - low * 0.05) or abs(high) * 0.05 or 1.0
    most = sys.float_info.max
    return Scale("linear", max(low - margin, -most), min(high + margin, most), start, end)


def without_outliers(given: Sequence[float] | NDArray[np.float64], sign: int) -> NDArray[np.float64]:
    """The values that an axis is made for, where larger is better by a positive sign: all but outliers on the bad side.

    An outlier lies beyond Tukey's outer fence, three times the distance of the quartiles beyond the nearer one, as
    logarithms where the values are spread by those. Nothing is left out where half of the values are equal.
    """
    values = np.asarray(given, dtype=np.float64)
    ordered = np.sort(values)
    with np.errstate(all="ignore"):  # differences of the largest numbers there are
        bent = np.log10 if ordered[0] > 0 and ordered[-1] > 30 * ordered[0] else np.asarray
        ends = (0.25, 0.75) if sign > 0 else (0.75, 0.25)
        near, far = bent(ordered[[round(at * (len(ordered) - 1)) for at in ends]])
        fence = near - 3 * (far - near)
        if near == far or not math.isfinite(fence):
            return values
        kept: NDArray[np.float64] = values[sign * (bent(values) - fence) >= 0]
        return kept


def free(at: float, taken: Sequence[Point], low: float, high: float) -> float:
    """The height nearest to `at`, from low to high, where a label touches none of the stretches from one to another."""
    half = LINE / 2
    edges = [at, low, high, *(end for pair in taken for end in (min(pair) - half - 1, max(pair) + half + 1))]
    clear = [
        y for y in edges if low <= y <= high and all(not min(pair) - half < y < max(pair) + half for pair in taken)
    ]
    return min(clear, key=lambda y: abs(y - at), default=at)


def short_number(value: float) -> str:
    """A number on an axis: 0.95, 12 k, 3 M."""
    if value == 0:
        return "0"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.4g}"


def exact(value: float | None) -> str:
    """A measured value: four decimals, or four digits where it is large or tiny."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return f"{value}"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 else f"{value:.4g}"


def place(value: float) -> str:
    """A coordinate with one decimal, which is enough to see."""
    return f"{value:.1f}".removesuffix(".0")


def path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{place(x)} {place(y)}" for x, y in points)


def staircase(points: Sequence[Point], end: float) -> str:
    """A line that keeps its height until the next point, to x = end."""
    x, y = points[0]
    parts = [f"M{place(x)} {place(y)}"]
    parts += [f"H{place(x)}V{place(y)}" for x, y in points[1:]]
    return "".join(parts) + f"H{place(end)}"


def dots(points: Sequence[Point]) -> str:
    """Any number of dots as one path of lines without length, round at their ends: eight bytes a dot."""
    return "".join(f"M{place(x)} {place(y)}h0" for x, y in points)


def axes(x: Scale, y: Scale, x_label: str, y_label: str) -> str:
    """Grid lines, numbers and labels. y runs from the bottom (start) to the top (end)."""
    found = []
    for value in y.ticks(24):
        at = place(y(value))
        found.append(f'<path class="grid" d="M{place(x.start)} {at}H{place(x.end)}"/>')
        found.append(f'<text class="tick" x="{place(x.start - 6)}" y="{at}" dy=".32em" text-anchor="end">')
        found.append(f"{short_number(value)}</text>")
    for value in x.ticks(46):
        at = place(x(value))
        found.append(f'<path class="grid" d="M{at} {place(y.start)}v5"/>')
        found.append(f'<text class="tick" x="{at}" y="{place(y.start + 18)}" text-anchor="middle">')
        found.append(f"{short_number(value)}</text>")
    found.append(f'<path class="axis" d="M{place(x.start)} {place(y.start)}H{place(x.end)}"/>')
    middle = place((x.start + x.end) / 2)
    found.append(f'<text class="label" x="{middle}" y="{place(y.start + 36)}" text-anchor="middle">{escape(x_label)}')
    found.append(f'</text><text class="label" x="4" y="{place(y.end - 10)}">{escape(y_label)}</text>')
    return "".join(found)


def picture(
    width: int, height: int, content: str, *, name: str, text: str, links: bool = False, extra: str = ""
) -> str:
    """An svg element with its text alternative. links: it holds links, so it is a group and not one image."""
    role = "group" if links else "img"
    return (
        f'<svg class="chart {name}" viewBox="0 0 {width} {height}" role="{role}" aria-label="{escape(text)}"{extra}>'
        f"{content}</svg>"
    )


def point(born: int, at: tuple[float, float], words: str, kind: str = "point") -> str:
    """A point that is a link to its candidate."""
    x, y = place(at[0]), place(at[1])
    return (
        f'<a class="{kind}" href="#c{born}" aria-label="{escape(words)}"><circle class="hit" cx="{x}" cy="{y}" r="12"/>'
        f'<circle cx="{x}" cy="{y}" r="5.5"/><title>{escape(words)}</title></a>'
    )


def chart(width: int, height: int, content: str, name: str, text: str, x: Scale, y: Scale, against: str) -> str:
    extra = f' data-against="{against}" data-x="{escape(x.as_json())}" data-y="{escape(y.as_json())}"'
    return picture(width, height, content, name=name, text=text, links=True, extra=extra)
