"""Text for people: numbers with units, names of folders."""

from __future__ import annotations

from pathlib import Path

from evosearch.text import clean

ROOM = 56  # characters of a text that a line has room for


def count(number: float) -> str:
    """A count as people read it: 812, 9,120, 41.2 k, 11.2 M, 3.4 G, 1.23 T, 7.5 P."""
    for unit, size, least in (("P", 1e15, 1e15), ("T", 1e12, 1e12), ("G", 1e9, 1e9), ("M", 1e6, 1e6), ("k", 1e3, 1e4)):
        if abs(number) >= least:
            return f"{number / size:.3g} {unit}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """A duration in its two largest units: 4.2 s, 2 min 11 s, 3 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def figure(value: float | None) -> str:
    """A fitness with four decimals, or four digits where it is large or tiny; `none` where there is no score."""
    if value is None:
        return "none"
    return f"{value:.4f}" if value == 0 or 1e-4 <= abs(value) < 1e9 else f"{value:.4g}"


def near(folder: Path) -> Path:
    """A folder as a person would name it: from where they are, if it lies below."""
    folder, here = folder.absolute(), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def short(key: str) -> str:
    """The first eight digits of a key: enough to tell a run's candidates apart."""
    return key[:8]


def shortened(text: str) -> str:
    """The beginning of a text that is longer than a line has room for."""
    return text if len(text) <= ROOM else f"{text[: ROOM - 3]}..."


__all__ = ["clean", "count", "duration", "figure", "near", "short", "shortened"]
