"""What was asked for lately: memories that let go of the oldest, so that a long run holds no more than it uses."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")


class Recent(dict[K, "V | None"]):
    """A memory in two generations: `memory[key]` is what was put there, None where that is forgotten or never was.

    What is put in or found belongs to the younger generation. When that is full it becomes the older one, and what the
    older one held is forgotten: so what is asked for again and again stays, and a look that finds something takes what
    a dict takes. Look a key up before you put it in: a look in vain is when generations change.

    most: entries of a generation.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._older: dict[K, V | None] = {}

    def __missing__(self, key: K) -> V | None:
        found = self._older.get(key)
        if len(self) >= self._most:
            self._age()
        if found is not None:
            self[key] = found
        return found

    def _age(self) -> None:
        self._older = dict(self)
        super().clear()

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._older = {}


class Weighed(Recent[K, V]):
    """A memory whose entries count as much as they weigh. most: weight of a generation. weigh: of a key."""

    def __init__(self, most: int, weigh: Callable[[K], int]) -> None:
        super().__init__(sys.maxsize)
        self._heaviest, self._weigh, self._weight = most, weigh, 0

    def __setitem__(self, key: K, value: V | None) -> None:
        weight = self._weigh(key)
        if self._weight + weight > self._heaviest:
            self._age()
            self._weight = 0
        self._weight += weight
        super().__setitem__(key, value)

    def clear(self) -> None:
        super().clear()
        self._weight = 0
