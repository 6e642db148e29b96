"""Searches driven to their end with made-up scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from evosearch.architecture import Space
from evosearch.errors import SpaceExhausted
from evosearch.score import Score
from evosearch.search import Proposal, Search

Fitness = Callable[[Proposal], float | None]


def score(proposal: Proposal, fitness: Fitness) -> Score:
    """A score of the fitness and the text's length, with a curve of four epochs; crashed where the fitness is None."""
    found = fitness(proposal)
    if found is None:
        return Score(proposal.key, "crashed", seed=proposal.seed)
    rng = np.random.default_rng(proposal.seed)
    curve = (*(found + rng.normal(size=3)).tolist(), found)
    objectives = {"fitness": found, "length": float(len(proposal.text))}
    return Score(proposal.key, "ok", objectives, curve=curve, seed=proposal.seed)


def run_out(search: Search, fitness: Fitness, *, order: int | None = None, restoring: bool = False) -> list[Proposal]:
    """Run a search to its end; its proposals.

    order: results come late and out of order, by this seed. restoring: now and then the search is packed, and restored
    from that and its journal into a space without caches.
    """
    rng = np.random.default_rng(order)
    waiting: list[Proposal] = []
    made: list[Proposal] = []
    journal: list[dict[str, Any]] = []
    while not search.done:
        try:
            proposal = search.ask()
        except SpaceExhausted:
            proposal = None
        if proposal is not None:
            made.append(proposal)
            journal.append({"kind": "proposal", **proposal.pack()})
            waiting.append(proposal)
        if waiting and (proposal is None or order is None or rng.random() < 0.3):
            told = waiting.pop(0 if order is None else int(rng.integers(len(waiting))))
            found = score(told, fitness)
            journal.append({"kind": "score", "number": told.number, **found.pack()})
            search.tell(told.number, found)
        if restoring and rng.random() < 0.1:
            state = msgpack.unpackb(msgpack.packb(search.state()))
            fresh = Space(search.space.grammar, search.space.vocabulary, search.space.input, search.space.limits)
            search = Search.restore(fresh, search.settings, search.operators, state, journal=journal)
    return made
