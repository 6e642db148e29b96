"""The names by which grammars call layers and words, and by which canonical forms tell their classes apart."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from evosearch.plugins import MODULES

LIBRARY = Path(__file__).parent / "library"
OPERATIONS = frozenset({"sum", "zero"})  # of bundled forms, and no word's name
DIGEST = "__evosearch_digest__"  # a module's name for the digest of the layer file that it is
WRITES = ("emit", "module", "write")  # the methods that say what is computed
_REGISTERS = re.compile(r'^@register\("(\w+)"\)', re.MULTILINE)


@cache
def modules() -> Mapping[str, str]:
    """Which module registers which bundled name, as the files' text says: nothing is imported.

    So a word is written as `@register("name")` with the name as it stands.
    """
    found: dict[str, str] = {}
    for path in sorted(LIBRARY.glob("*.py")):
        for name in _REGISTERS.findall(path.read_text(encoding="utf-8")):
            found[name] = f"evosearch.layers.library.{path.stem}"
    return found


def is_bundled(cls: type) -> bool:
    """Whether a class is evosearch's, and not a person's own."""
    return cls.__module__.partition(".")[0] == "evosearch"


class Named:
    """A layer or a word: what a grammar may name, and a form names.

    A class of a person's own that writes its own code does not say by inheritance that it computes what a bundled class
    does: of what it inherits, it has the form that names the class itself.
    """

    name: ClassVar[str] = ""
    stands_for_others: ClassVar[bool]  # whether its form is that of the layers that it is made of
    _origin: ClassVar[str]  # of a class of a person's own: what its file is told by

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if is_bundled(cls):
            return
        module = sys.modules.get(cls.__module__)
        cls._origin = vars(module).get(DIGEST, cls.__module__) if module else cls.__module__
        for statement in ("canonical", "form"):
            stating = [base for base in cls.__mro__ if statement in vars(base)]
            if not stating or not is_bundled(stating[0]):
                continue
            below = cls.__mro__[: cls.__mro__.index(stating[0])]
            writes = any(name in vars(base) for base in below for name in WRITES)
            naming = [base for base in stating if not vars(base).get("stands_for_others", vars(base).get("name"))]
            if writes and naming and naming[0] is not stating[0]:
                setattr(cls, statement, vars(naming[0])[statement])


def operation(cls: type[Named]) -> str:
    """The name by which forms know a layer or word: no other class has it.

    That is the name under which it is registered. A class of a person's own that took it from a bundled one, from a
    class that it is derived from, or that has none, has its own name and what its file is told by behind it.
    """
    if is_bundled(cls):
        return cls.name
    stated: str = vars(cls).get("name", "")
    taken = stated in modules() or stated in OPERATIONS or vars(cls).get("_replaced", False)
    if stated and not taken:
        return stated
    if not cls.name and cls.__module__.startswith(MODULES):
        return ""  # a network's head, of which a space has one
    return f"{cls.name}@{cls._origin}.{cls.__qualname__}"
