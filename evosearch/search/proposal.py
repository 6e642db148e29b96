"""A candidate on its way to its evaluation, and the key by which a search knows it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate handed out for evaluation.

    number: from 0, in the order proposed. key: canonical key, 32 hex digits. parents: their numbers. operator: what
    made it. seed: for its evaluation; depends on the search's seed and the key alone. state: of the adaptive policy
    that chose the operator; None where none did.
    """

    number: int
    derivation: Derivation
    key: str
    text: str
    parents: tuple[int, ...]
    operator: str
    seed: int
    state: str | None = None

    def pack(self) -> dict[str, Any]:
        """As plain values for msgpack, the derivation as its text."""
        return {
            "number": self.number,
            "key": self.key,
            "text": self.text,
            "parents": list(self.parents),
            "operator": self.operator,
            "seed": self.seed,
            "state": self.state,
        }


def identify(space: Space, derivation: Derivation) -> tuple[str, str | None]:
    """(key, None), or ("", the name of the limit that is exceeded). Nothing is built. Raises ShapeError."""
    if space.input is None:
        over = derivation.size > space.limits.max_nodes
        return ("", "max_nodes") if over else (space.text_key(derivation), None)
    architecture = space.read(derivation)
    limit = space.within(architecture)
    return ("", limit) if limit else (architecture.key, None)
