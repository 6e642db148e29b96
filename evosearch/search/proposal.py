"""A candidate on its way to its evaluation and back, and the identity by which a search knows it again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation
    from evosearch.individual import Individual
    from evosearch.score import Score

FULL, FIRST = 1.0, 0  # a candidate's fidelity and repeat where nothing else is said
OUTSIDE = "from outside"  # the operator of a candidate that nobody here made; no file can have that name


class Candidate(NamedTuple):
    """What a strategy would have evaluated next; the search decides whether it may be.

    operator: what made it; its tally counts it. parents: the first one is what its score is compared with.
    state: of the adaptive policy that chose the operator; None where none did, and then nothing is credited.
    given: it is one of the run's seeds, which is passed over in silence where it has had its turn.
    fidelity: share of a full evaluation, above 0 to 1. repeat: from 0; each is another evaluation of the same network,
        with a seed of its own. The same key at another fidelity or repeat is another candidate.
    due: its turn has come, whatever is expected of it: it is not screened, as a promotion to a higher fidelity is not.
    """

    derivation: Derivation
    operator: str
    parents: tuple[Individual, ...] = ()
    state: str | None = None
    given: bool = False
    fidelity: float = FULL
    repeat: int = FIRST
    due: bool = False


class Draft(NamedTuple):
    """A candidate that may be proposed. key: canonical, 32 hex digits. identity: what the archive would know it by."""

    candidate: Candidate
    key: str
    identity: bytes


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate handed out for evaluation.

    number: from 0, in the order proposed. key: canonical key, 32 hex digits. parents: their numbers. operator: what
    made it. seed: for its evaluation; depends on the search's seed, the key, the fidelity and the repeat alone.
    state: of the adaptive policy that chose the operator; None where none did. fidelity, repeat: as a Candidate's.
    expected: of a screened one, the quantile that its first objective was expected to have among the scores so far,
    0 to 1 and larger is better, and the prediction's deviation.
    """

    number: int
    derivation: Derivation
    key: str
    text: str
    parents: tuple[int, ...]
    operator: str
    seed: int
    state: str | None = None
    fidelity: float = FULL
    repeat: int = FIRST
    expected: tuple[float, float] | None = None

    def pack(self) -> dict[str, Any]:
        """As plain values for msgpack, the derivation as its text; what is usual is left out from fidelity on."""
        packed = {
            "number": self.number,
            "key": self.key,
            "text": self.text,
            "parents": list(self.parents),
            "operator": self.operator,
            "seed": self.seed,
            "state": self.state,
        }
        if self.fidelity != FULL or self.repeat != FIRST:
            packed |= {"fidelity": self.fidelity, "repeat": self.repeat}
        if self.expected is not None:
            packed["expected"] = list(self.expected)
        return packed

    @classmethod
    def unpack(cls, data: Mapping[str, Any], space: Space) -> Proposal:
        """From plain values. What else a record carries is left out."""
        return cls(
            data["number"],
            space.parse(data["text"]),
            data["key"],
            data["text"],
            tuple(data["parents"]),
            data["operator"],
            data["seed"],
            data["state"],
            data.get("fidelity", FULL),
            data.get("repeat", FIRST),
            tuple(data["expected"]) if data.get("expected") else None,
        )


@dataclass(slots=True)
class InFlight:
    """A proposal whose score is not folded in yet.

    parent: values of the individual that its score is compared with. outcome: signed values, None for a failure; valid
    once `told`. score: kept where the search's history is, for its cost and curve.
    """

    proposal: Proposal
    parent: tuple[float, ...] | None
    told: bool = False
    outcome: tuple[float, ...] | None = None
    score: Score | None = None


class Evaluated(NamedTuple):
    """A proposal and the result of its evaluation. individual: None for a failure."""

    proposal: Proposal
    individual: Individual | None


def identify(space: Space, derivation: Derivation) -> tuple[str, str | None]:
    """(key, None), or ("", the name of the limit that is exceeded). Nothing is built. Raises ShapeError."""
    if space.input is None:
        over = derivation.size > space.limits.max_nodes
        return ("", "max_nodes") if over else (space.text_key(derivation), None)
    architecture = space.read(derivation)
    limit = space.within(architecture)
    return ("", limit) if limit else (architecture.key, None)


def identity(key: str, fidelity: float = FULL, repeat: int = FIRST) -> bytes:
    """What the archive knows an evaluation by, 16 bytes: the key itself at full fidelity the first time.

    Raises ValueError for a fidelity or a repeat that is none.
    """
    if fidelity == FULL and repeat == FIRST:
        return bytes.fromhex(key)
    if not 0 < fidelity <= 1 or repeat < 0:
        raise ValueError(
            f"fidelity {fidelity}, repeat {repeat}: a candidate's fidelity is above 0 and at most 1, its repeat a "
            "whole number from 0"
        )
    return hashlib.blake2b(f"{key}:{fidelity!r}:{repeat}".encode(), digest_size=16).digest()
