"""One way to write an architecture text: on one line where it fits, else a part a line, indented by nesting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evosearch.errors import ArchitectureError
from evosearch.grammar.sentences import parse, render

if TYPE_CHECKING:
    from evosearch.grammar.core import Grammar

OPEN: Final = {"(": ")", "[": "]", "{": "}"}
SEPARATORS: Final = frozenset(",;")
INDENT: Final = 2
DEEPEST: Final = 40  # levels that are indented further; below, a text nested thousands deep would be mostly blanks


def layout(grammar: Grammar, text: str, width: int = 100) -> str:
    """The text as `evolve fmt` writes it; it parses to the same derivation.

    Raises ArchitectureError for a text that is not in the language.
    A grammar in which white space means something keeps its sentences on one line.
    """
    derivation = parse(grammar, text)
    plain = render(grammar, derivation)
    broken = _broken(plain, width)
    try:
        return broken if parse(grammar, broken) is derivation else plain
    except ArchitectureError:  # not an accident: white space is not ignored in this language
        return plain


def _broken(text: str, width: int) -> str:
    """The text with a line break behind every opening bracket and separator of a group that is wider than a line."""
    ends = _ends(text)
    written: list[str] = []
    column = depth = at = 0
    while at < len(text):
        char, end = text[at], ends.get(at)
        if end is not None and column + end - at < width:  # the whole group fits: as it stands
            written.append(text[at : end + 1])
            column += end + 1 - at
            at = end + 1
            continue
        if char in OPEN.values() and depth:
            depth -= 1
            column = _new_line(written, depth)
        written.append(char)
        column += 1
        if end is not None:
            depth += 1
        if end is not None or (char in SEPARATORS and depth):
            column = _new_line(written, depth)
        at += 1
    return "".join(written)


def _new_line(written: list[str], depth: int) -> int:
    blanks = INDENT * min(depth, DEEPEST)
    written.append("\n" + " " * blanks)
    return blanks


def _ends(text: str) -> dict[int, int]:
    """Where each bracket's group ends. Brackets that have no partner (they are text) have no entry."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for at, char in enumerate(text):
        if char in OPEN:
            opened.append(at)
        elif opened and char == OPEN[text[opened[-1]]]:
            ends[opened.pop()] = at
    return ends
