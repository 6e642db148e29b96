"""The bundled words: layers, and what layers take as arguments. One file is one idea; a new word is a new file.

Nothing is imported before a grammar uses it: `layers.names` knows which file registers which name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from evosearch.layers.base import registered
from evosearch.layers.names import modules


class _Names(Mapping[str, type]):
    """The class of each name. Asking for one imports its file."""

    def __getitem__(self, name: str) -> type:
        return registered(import_module(modules()[name]))[name]

    def __contains__(self, name: object) -> bool:
        return name in modules()

    def __iter__(self) -> Iterator[str]:
        return iter(modules())

    def __len__(self) -> int:
        return len(modules())


NAMES: Mapping[str, type] = _Names()
