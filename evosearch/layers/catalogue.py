"""What a grammar may say: every word with its arguments, its parts, the shapes it takes and gives, its parameters.

All of it is asked of the classes. What a word does at a shape is found by trying: the first values of its arguments
that it takes there.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from itertools import islice, product
from types import MappingProxyType
from typing import Any, get_origin

from evosearch.layers.base import Combinator, Leaf, Shape, Word
from evosearch.layers.columns import ReadsColumns, usual
from evosearch.layers.library import NAMES
from evosearch.layers.vocabulary import called, field_types, part_counts

USUAL: Mapping[str, Shape] = MappingProxyType({"image": (16, 32, 32), "column": (64, 16), "vector": (16,)})
# Where no arguments let a layer stand at the usual shape.
OTHER: Mapping[str, Shape] = MappingProxyType({"column": (64, 24)})
# Values that are tried for an argument, likely ones first.
NUMBERS = (3, 2, 16, 1, 4, 5, 8, 32, 0)
WIDTHS = (16, *NUMBERS)  # of an argument called so
SHARES = (0.1, 0.5, 1.0)
MOST_TRIED = 2000
MOST_WORDS = 20  # of one class, as an argument


@dataclass(frozen=True)
class Trial:
    """A word at an input shape: the arguments it was tried with, the output shape, and its own parameters."""

    arguments: tuple[str, ...]
    input: Shape
    output: Shape
    params: int


@dataclass(frozen=True)
class Entry:
    """A word of the vocabulary.

    kind: layer; combinator, which has parts; or word, an argument of these. arguments: (name, what it must be) in the
    sentence's order. parts: how many it takes, as words say it. about: the class's docstring. uses: by mode; those
    that it does not stand in are left out.
    """

    name: str
    kind: str
    arguments: tuple[tuple[str, str], ...]
    parts: str
    about: str
    uses: Mapping[str, Trial]

    @property
    def summary(self) -> str:
        """The first sentence of what it is, with whatever it has in brackets."""
        paragraph = self.about.partition("\n\n")[0].replace("\n", " ")
        ends = [*(found.start() for found in re.finditer(r"(?<!al\.)(?<=[.;]) ", paragraph)), len(paragraph)]
        sentences = (paragraph[:end] for end in ends)
        return next((one for one in sentences if one.count("(") == one.count(")")), paragraph).rstrip(".;")

    def call(self) -> str:
        """`branching(split, merge; 2 parts)`."""
        inside = "; ".join(part for part in (", ".join(name for name, _ in self.arguments), self.parts) if part)
        return f"{self.name}({inside})" if inside else self.name


def catalogue(own: Mapping[str, type] | None = None) -> list[Entry]:
    """All words, by name; own: a person's (see `load_layers`), which go before bundled ones of the same name."""
    classes = {**NAMES, **(own or {})}
    return [entry(name, classes[name]) for name in sorted(classes)]


def entry(name: str, cls: type) -> Entry:
    """What the class says of itself."""
    hints = field_types(cls)
    arguments = tuple((f.name, called(hints[f.name])) for f in fields(cls) if f.init)
    kind = "word" if issubclass(cls, Word) else "combinator" if issubclass(cls, Combinator) else "layer"
    uses = {mode: use for mode, shape in USUAL.items() if (use := _use(cls, shape)) is not None}
    if not uses:
        uses = {mode: use for mode, shape in OTHER.items() if (use := _use(cls, shape)) is not None}
    about = inspect.cleandoc(cls.__doc__ or "")
    return Entry(name, kind, arguments, _parts(cls), "" if about.startswith(f"{cls.__name__}(") else about, uses)


def _parts(cls: type) -> str:
    least, most = part_counts(cls)
    if not most:
        return ""
    if most == float("inf"):
        return f"{least or 1} parts or more" if least > 1 else "any number of parts"
    return f"{least} part{'s' if least > 1 else ''}"


def _use(cls: type, x: Shape) -> Trial | None:
    """The first use of a layer at a shape; None where no values that are tried let it stand there."""
    if issubclass(cls, Word):
        return None
    parts = [_same] * (max(1, part_counts(cls)[0]) if issubclass(cls, Combinator) else 0)
    reads_columns = issubclass(cls, ReadsColumns)  # of each instance the protocol would take as long as all else
    for values in islice(_fillings(cls), MOST_TRIED):
        try:
            layer: Any = cls(*values)
            if reads_columns:
                layer = layer.of(usual(x[-1]))
            output = layer.shape(x, *parts)
            params = layer.params(x) if isinstance(layer, Leaf) else 0
        except Exception:  # noqa: BLE001 - tried with values and shapes that it need not take, however it says so
            continue
        return Trial(tuple(map(_said, values)), x, tuple(output), params)
    return None


def _same(x: Shape, want: object = None) -> Shape:
    """A part that keeps its input's shape."""
    del want
    return x


def _fillings(cls: type) -> Iterator[tuple[Any, ...]]:
    """Values for the arguments of a class, likely ones first."""
    hints = field_types(cls)
    return product(*(list(_values(hints[f.name], cls, f)) for f in fields(cls) if f.init))


def _values(kind: Any, cls: type, of: Field[Any]) -> Iterator[Any]:
    if of.default is not MISSING:
        yield of.default
    if kind is int:
        yield from WIDTHS if of.name == "width" else NUMBERS
    elif kind is float:
        yield from SHARES
    elif kind is str:
        yield from re.findall(r'"([^"]+)"', cls.__doc__ or "")
    elif get_origin(kind) is tuple:
        yield ()
    elif isinstance(kind, type) and issubclass(kind, Word):
        for name in sorted(NAMES):
            if issubclass(NAMES[name], kind):
                yield from _made(NAMES[name])


@cache
def _made(cls: type) -> tuple[Any, ...]:
    """The first instances of a word's class, of the values that it takes."""
    found: list[Any] = []
    for values in islice(_fillings(cls), MOST_TRIED):
        if len(found) == MOST_WORDS:
            break
        try:
            found.append(cls(*values))
        except Exception:  # noqa: BLE001 - as above
            continue
    return tuple(found)


def _said(value: Any) -> str:
    """A value as a person would write it: `group(2,1)`."""
    if not isinstance(value, Word):
        return str(value)
    inside = ",".join(_said(getattr(value, f.name)) for f in fields(value) if f.init)  # type: ignore[arg-type]
    return f"{value.name}({inside})" if inside else value.name


__all__ = ["Entry", "Trial", "catalogue", "entry"]
