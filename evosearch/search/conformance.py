"""What every strategy promises, checked on searches with made-up scores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from evosearch.cost import Cost
from evosearch.errors import ConfigError, OperatorError, SpaceExhausted
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
    screen: int = 1,
) -> int:
    """Run searches of `budget` candidates with a strategy, and check its contract; the number of proposals it made.

    Whatever order results arrive in, the proposals are the same; a search that was packed and restored, with results
    in flight, goes on as it would have; every candidate is a derivation in the language; global generators are left
    alone. One score in seven is a failure. own: the strategy's own settings, where it does not run without. screen: as
    in the settings.

    Raises OperatorError that says which promise was broken.
    """
    operator = operators.get("strategy", name)

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise OperatorError(f"{operator.path}: strategy {name!r} {what}")

    settings = SearchSettings(
        strategy=name, budget=budget, population=max(2, budget // 5), lookahead=4, objectives=("+fitness",), seed=seed,
        screen=screen,
    )  # fmt: skip
    try:
        Search(space, settings, operators, own=own)
    except ConfigError:  # some select by several
        settings = replace(settings, objectives=("+fitness", "-length"))
    plain, again, shuffled, restored = (_Driven(space, settings, operators, own) for _ in range(4))
    plain.run()
    before = global_generators()  # not sooner: importing a library may draw
    for proposal in plain.proposals:
        known = space.parse(proposal.text) is proposal.derivation
        require(known, f"proposed {proposal.text!r}, which is no text of the grammar")
    again.run()
    require(
        again.proposals == plain.proposals,
        "proposed otherwise the second time; draw from the generators it is given alone",
    )
    shuffled.run(np.random.default_rng(seed))
    require(
        shuffled.proposals == plain.proposals,
        "proposed otherwise where results came in another order; its state follows from what is folded in alone",
    )
    try:
        restored.run(np.random.default_rng(seed), restoring=True)
    except (TypeError, KeyError) as error:
        raise OperatorError(
            f"{operator.path}: strategy {name!r} is not restored: {type(error).__name__}: {error}; `pack` gives plain "
            "values, and `unpack` takes them"
        ) from error
    require(
        restored.proposals == plain.proposals and restored.search.state() == plain.search.state(),
        "goes on otherwise from what `pack` gave; pack all of its state",
    )
    require(global_generators() == before, "drew from a global generator; draw from the rng it is given")
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
    objectives = {"fitness": fitness, "length": float(len(proposal.text))}
    cost = Cost(params=len(proposal.text))
    return Score(proposal.key, "ok", objectives, curve=(fitness / 2, fitness), cost=cost, seed=proposal.seed)
