"""What every strategy promises, checked on searches with made-up scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from evosearch.cost import Cost
from evosearch.errors import OperatorError, SpaceExhausted
from evosearch.operators import global_generators
from evosearch.score import Score
from evosearch.search.search import Search
from evosearch.search.settings import SearchSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evosearch.architecture import Space
    from evosearch.operators import Operators
    from evosearch.search.proposal import Proposal


def conform(
    name: str,
    space: Space,
    operators: Operators,
    *,
    own: Mapping[str, Any] | None = None,
    budget: int = 60,
    seed: int = 0,
) -> int:
    """Run searches of `budget` candidates with a strategy, and check its contract; the number of proposals it made.

    Whatever order results arrive in, the proposals are the same; a search that was packed and restored, with results
    in flight, goes on as it would have; every candidate is a derivation in the language; global generators are left
    alone. One score in seven is a failure. own: the strategy's own settings, where it does not run without.

    Raises OperatorError that says which promise was broken.
    """
    settings = SearchSettings(strategy=name, budget=budget, population=max(2, budget // 5), lookahead=4, seed=seed)
    before = global_generators()
    plain = _Driven(space, settings, operators, own)
    plain.run()
    broken = operators.get("strategy", name).path
    for proposal in plain.proposals:
        if space.parse(proposal.text) is not proposal.derivation:
            raise OperatorError(f"{broken}: strategy {name!r} made what is not in the language: {proposal.text}")
    shuffled = _Driven(space, settings, operators, own)
    shuffled.run(np.random.default_rng(seed))
    if shuffled.proposals != plain.proposals:
        raise OperatorError(
            f"{broken}: strategy {name!r} proposes otherwise where results come in another order; "
            "its state may follow from what is folded in alone, and its draws from the rng it is given"
        )
    restored = _Driven(space, settings, operators, own)
    try:
        restored.run(np.random.default_rng(seed), restoring=True)
    except (TypeError, KeyError) as error:
        raise OperatorError(
            f"{broken}: strategy {name!r} is not restored: {type(error).__name__}: {error}; "
            "pack gives plain values, and unpack takes them"
        ) from error
    if restored.proposals != plain.proposals or restored.search.state() != plain.search.state():
        raise OperatorError(
            f"{broken}: strategy {name!r} does not go on as it would have from what pack gave; "
            "pack all that candidates and fold depend on"
        )
    if global_generators() != before:
        raise OperatorError(f"{broken}: strategy {name!r} drew from a global generator; draw from the rng it is given")
    return len(plain.proposals)


class _Driven:
    """A search, the results it waits for, and its journal."""

    def __init__(
        self, space: Space, settings: SearchSettings, operators: Operators, own: Mapping[str, Any] | None
    ) -> None:
        self.space, self.settings, self.operators, self.own = space, settings, operators, own
        self.search = Search(space, settings, operators, own=own)
        self.proposals: list[Proposal] = []
        self.journal: list[dict[str, Any]] = []

    def run(self, rng: np.random.Generator | None = None, *, restoring: bool = False) -> None:
        """To its end. rng: results come late and out of order. restoring: now and then from what was packed."""
        waiting: list[Proposal] = []
        while not self.search.done:
            try:
                proposal = self.search.ask()
            except SpaceExhausted:
                proposal = None
            if proposal is not None:
                self.proposals.append(proposal)
                self.journal.append({"kind": "proposal", **proposal.pack()})
                waiting.append(proposal)
            if waiting and (proposal is None or rng is None or rng.random() < 0.3):
                told = waiting.pop(0 if rng is None else int(rng.integers(len(waiting))))
                score = _score(told)
                self.journal.append({"kind": "score", "number": told.number, **score.pack()})
                self.search.tell(told.number, score)
            if restoring and rng is not None and rng.random() < 0.2:
                self._restore()

    def _restore(self) -> None:
        state = msgpack.unpackb(msgpack.packb(self.search.state()))
        self.search = Search.restore(
            self.space, self.settings, self.operators, state, own=self.own, journal=self.journal
        )


def _score(proposal: Proposal) -> Score:
    """A made-up score that depends on what was evaluated alone."""
    if proposal.seed % 7 == 0:
        return Score(proposal.key, "crashed", error="made up")
    fitness = proposal.seed % 1000 / 1000
    cost = Cost(params=len(proposal.text))
    return Score(proposal.key, "ok", {"fitness": fitness}, curve=(fitness / 2, fitness), cost=cost, seed=proposal.seed)
