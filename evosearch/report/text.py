"""Text for people: numbers with units, and nothing in it that could move a terminal's cursor."""

from __future__ import annotations

import traceback

# Direction overrides are printable and can make a line read as what it does not say.
OVERRIDES = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """The text without control characters and direction overrides; newline and tab stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c in "\n\t" or (c.isprintable() and c not in OVERRIDES))


def blamed(error: BaseException) -> str:
    """What went wrong in code that is not evosearch's, in one line: the error, and the place it was raised at."""
    said = f"{type(error).__name__}: {error}".strip()
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    return clean(" ".join(said.split())) + where


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


def short(key: str) -> str:
    """The first eight digits of a key: enough to tell a run's candidates apart."""
    return key[:8]


def shortened(text: str, length: int = 56) -> str:
    """The beginning of a text that is longer than a line has room for."""
    return text if len(text) <= length else f"{text[: length - 3]}..."
