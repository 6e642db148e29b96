"""Layers of a person's own, held to what a layer must give: what is wrong is told by file, line and function.

A layer's methods are asked by sampler, reader and builder, deep in each. So the class itself is guarded when its file
is loaded: what its methods raise, and what they give that none may give, is a LayerError. Nothing else changes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from evosearch.errors import ArchitectureError, GrammarError, LayerError, ShapeError
from evosearch.layers.base import is_bundled
from evosearch.layers.shapes import Shape, show
from evosearch.text import blamed, clean

if TYPE_CHECKING:
    from collections.abc import Callable

PASSED = {"body": ValueError}  # a block says by it that it cannot stand (Block.body)
MISTAKEN = (ArchitectureError, GrammarError)  # of a text that a layer itself had read
SHOWN = 80  # characters of what was given


def guard(cls: type) -> None:
    """Guard the methods by which evosearch asks the class, its own and those of its bases in the same file."""
    asked = {name for base in cls.__mro__ if is_bundled(base) for name in vars(base) if not name.startswith("_")}
    for base in cls.__mro__:
        for name, method in list(vars(base).items()):
            own = base.__module__ == cls.__module__ and inspect.isfunction(method)
            if own and name in asked and not hasattr(method, "guarded"):
                setattr(base, name, _guarded(method, name))


def where(function: Callable[..., Any]) -> dict[str, Any]:
    """File and line of a function, as LayerError takes them."""
    code = inspect.unwrap(function).__code__
    return {"file": code.co_filename, "line": code.co_firstlineno}


def _told(error: Exception) -> bool:
    """Whether an error is one by which layers speak: evosearch's, but not what is wrong with a text or a grammar."""
    return is_bundled(type(error)) and (isinstance(error, ShapeError | LayerError) or not isinstance(error, MISTAKEN))


def _guarded(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    passed = PASSED.get(name, ())
    wanted, holds = WANTED.get(name, ("", lambda _: True))

    @functools.wraps(method)
    def guarded(self: Any, *given: Any, **named: Any) -> Any:
        try:
            found = method(self, *given, **named)
        except Exception as error:
            if isinstance(error, passed) or _told(error):
                raise
            raise _raised(error, method) from error
        if not holds(found):
            at = f" at {show(given[0])}" if given and _is_shape(given[0]) else ""
            said = clean(repr(found))[:SHOWN]
            raise LayerError(f"{method.__qualname__}: it gave {said}{at}; it gives {wanted}", **where(method))
        return _watched(found, method) if isinstance(found, Generator) else found

    guarded.guarded = True  # type: ignore[attr-defined]
    return guarded


def _watched(written: Generator[Any, Any, Any], method: Callable[..., Any]) -> Generator[Any, Any, Any]:
    try:
        return (yield from written)
    except Exception as error:
        if _told(error):
            raise
        raise _raised(error, method) from error


def _raised(error: Exception, method: Callable[..., Any]) -> LayerError:
    cure = "; where it cannot stand, it raises ShapeError" if method.__name__ == "shape" else ""
    return LayerError(f"{method.__qualname__}: {blamed(error)}{cure}", **where(method))


def _is_shape(value: object) -> TypeGuard[Shape]:
    return isinstance(value, tuple) and 1 <= len(value) <= 3 and all(_is_count(size) and size > 0 for size in value)


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


COUNT = ("a whole number, 0 or more", _is_count)
WANTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "shape": ("a tuple of sizes, as (channels, height, width)", _is_shape),
    "params": COUNT,
    "flops": COUNT,
    "saved": COUNT,
    "emit": ("the variable that build.line gave", lambda found: isinstance(found, str | Generator)),
    "module": ("a torch module", lambda found: callable(found) and hasattr(found, "parameters")),
}


__all__ = ["guard", "where"]
