"""The bundled words: layers, and what layers take as arguments. One file is one idea; a new word is a new file.

Nothing is imported before a grammar uses it: `NAMES` knows from the files' text which of them registers which name,
so a word is written as `@register("name")` with the name as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from evosearch.layers.base import registered

_REGISTERS = re.compile(r'^@register\("(\w+)"\)', re.MULTILINE)


@cache
def _modules() -> Mapping[str, str]:
    """The module of each name, by scanning this folder."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for name in _REGISTERS.findall(path.read_text(encoding="utf-8")):
            found[name] = f"{__name__}.{path.stem}"
    return found


class _Names(Mapping[str, type]):
    """The class of each name. Asking for one imports its file."""

    def __getitem__(self, name: str) -> type:
        return registered(import_module(_modules()[name]))[name]

    def __contains__(self, name: object) -> bool:
        return name in _modules()

    def __iter__(self) -> Iterator[str]:
        return iter(_modules())

    def __len__(self) -> int:
        return len(_modules())


NAMES: Mapping[str, type] = _Names()
