"""Where the package raises errors that a person can see, and which of these places a piece of code has reached.

A place is a `raise` statement in evosearch/ of something in the EvosearchError tree. It is reached when such an error
is made while the statement runs, or has come from it when a command ends.
"""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import FrameType, TracebackType
from typing import Any

import pytest

from evosearch import cli, errors
from evosearch.errors import EvosearchError
from tests.conftest import ROOT

PACKAGE = ROOT / "evosearch"

# What else is raised: a caller's mistake, a way to leave a loop, a step of the command line.
NOT_OURS = frozenset(
    {
        "AssertionError", "AttributeError", "ImportError", "KeyError", "NotImplementedError", "OSError", "RuntimeError",
        "TypeError", "ValueError", "Stopped", "TooLarge", "_OutOfRange", "Exit", "_Unreadable",
    }
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Site:
    """A `raise` statement: its file below evosearch/, the function it stands in, and what it raises, as written."""

    file: str
    function: str
    raises: str

    def __str__(self) -> str:
        return f"{self.file}: {self.function}: {self.raises}"


@cache
def sites() -> dict[tuple[str, int], Site]:
    """Each place by file and line; a statement of several lines has several."""
    found: dict[tuple[str, int], Site] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_bytes()
        lines = source.splitlines(keepends=True)
        for function, node in _raises(ast.parse(source), ""):
            if node.exc is not None and _called(node.exc) not in NOT_OURS:
                name = str(path.relative_to(PACKAGE))
                site = Site(name, function, " ".join(_written(lines, node.exc).split()))
                found |= {(str(path), line): site for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return found


def _written(lines: Sequence[bytes], node: ast.expr) -> str:
    """Its text. (`ast.get_source_segment` parts all of the source into lines for each node.)"""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    *above, last = lines[node.lineno - 1 : node.end_lineno]
    return b"".join([*above, last[: node.end_col_offset]])[node.col_offset :].decode()


def _raises(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Raise]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue  # no statement stands in an expression
        inner = function
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inner = f"{function}.{child.name}" if function else child.name
        if isinstance(child, ast.Raise):
            yield function, child
        yield from _raises(child, inner)


def _called(raised: ast.expr) -> str:
    """The name of what is raised: of the class, or of the function that makes it."""
    while isinstance(raised, ast.Call):
        raised = raised.func
    return raised.attr if isinstance(raised, ast.Attribute) else raised.id if isinstance(raised, ast.Name) else ""


@contextlib.contextmanager
def reached() -> Iterator[set[Site]]:
    """The places that code in this block reaches, in this process."""
    known, found = sites(), set[Site]()

    def look(frame: FrameType | None) -> None:
        while frame is not None:
            site = known.get((frame.f_code.co_filename, frame.f_lineno))
            if site is not None:
                found.add(site)
            frame = frame.f_back

    def trace(error: BaseException | None) -> None:
        seen: set[int] = set()
        waiting = [error]
        while waiting:
            one = waiting.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
            at: TracebackType | None = one.__traceback__
            while at is not None:
                site = known.get((at.tb_frame.f_code.co_filename, at.tb_lineno))
                if site is not None:
                    found.add(site)
                at = at.tb_next

    def init(self: EvosearchError, *arguments: Any) -> None:
        Exception.__init__(self, *arguments)
        look(sys._getframe(1))

    fail = cli._fail

    def telling(message: str, code: int) -> int:
        trace(sys.exc_info()[1])
        return fail(message, code)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(errors.EvosearchError, "__init__", init)
        patch.setattr(cli, "_fail", telling)
        yield found
