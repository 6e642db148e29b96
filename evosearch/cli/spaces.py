"""From what a person types to a Space: a grammar by name, an input shape, layers of their own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.errors import UsageError

if TYPE_CHECKING:
    from evosearch.architecture import Space
    from evosearch.grammar.core import Grammar
    from evosearch.layers.base import Leaf, Shape


def load_grammar(name: str) -> Grammar:
    """The grammar of a name on the search path, or of a file."""
    from evosearch import grammar as language

    return language.load(name)


def parse_shape(text: str) -> Shape:
    """`3x32x32` as (3, 32, 32). Raises UsageError."""
    sizes = text.lower().replace(",", "x").split("x")
    if not 1 <= len(sizes) <= 3 or not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise UsageError(f"--input {text}: say CxHxW for images, SxD for columns, D for vectors, as in 3x32x32")
    return tuple(int(size) for size in sizes)


def open_space(
    grammar: Grammar,
    input: str | None = None,
    layers: Iterable[Path | str] = (),
    head: Leaf | None = None,
    **limits: int | None,
) -> Space:
    """The grammar at an input shape: the one asked for, else the usual one of its mode. head: behind it, if any."""
    from evosearch import space
    from evosearch.architecture import Limits

    given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    shape = None if input is None else parse_shape(input)
    return space.open_space(grammar, layers, shape, Limits(**given), head)
