"""Which file of `evosearch.layers.library` registers which name, as their text says: nothing is imported.

So a word is written as `@register("name")` with the name as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parent / "library"
_REGISTERS = re.compile(r'^@register\("(\w+)"\)', re.MULTILINE)


@cache
def modules() -> Mapping[str, str]:
    """The module of each bundled name."""
    found: dict[str, str] = {}
    for path in sorted(LIBRARY.glob("*.py")):
        for name in _REGISTERS.findall(path.read_text(encoding="utf-8")):
            found[name] = f"evosearch.layers.library.{path.stem}"
    return found
