"""What the final phase compares: the best candidates but for noise, and the known networks that the run began with."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from evosearch.individual import Individual, fitness_class
from evosearch.score import Score
from evosearch.search.proposal import FULL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evosearch.architecture import Space
    from evosearch.evaluation.measures import Objective
    from evosearch.grammar.core import Derivation
    from evosearch.search import Proposal

SEED = "seed"  # the operator of a known network that is compared with the finalists
SEED_ERRORS = 2.0  # standard errors that one may be behind the best candidate; finalists one


def contenders(
    finalists: Sequence[Individual | Proposal],
    given: Iterable[Derivation],
    under_way: Iterable[Proposal],
    records: Iterable[Mapping[str, Any]],
    objective: Objective,
    space: Space,
) -> tuple[list[Individual | Proposal], list[int]]:
    """Finalists that are as good as the first one but for noise, and between them the networks that the run began with,
    scored or under way: of many candidates within the noise the luckiest lead, and those were good before. The best
    first, the best known one before it where it is as good but for noise; and the places of known networks.

    A figure of a shorter evaluation compares with no other: whoever has one alone is behind.

    finalists: the best first, the first of them with a score. given: the known networks. records: the run's journal.
    """
    leader = finalists[0]
    assert isinstance(leader, Individual), "nobody is compared with what has no score"
    known = {space.read(one).key: one for one in given}
    seeds: dict[str, Individual | Proposal] = {one.key: one for one in under_way if one.key in known}
    scored, errors = _scored(known, leader, records, objective, space)
    seeds |= {key: one for key, one in scored.items() if key not in seeds}

    def behind(one: Individual | Proposal) -> float:
        if not isinstance(one, Individual):
            return 0.0
        return leader.values[0] - one.values[0] if one.fidelity == leader.fidelity else math.inf

    def error(one: Individual | Proposal) -> float:
        """The larger of the leader's and its own: every answer right has none, on however few rows; and what came to
        nothing has a large one, which says nothing of the others.
        """
        return max(errors.get(leader.key, 0.0), errors.get(one.key, 0.0))

    front = [one for one in finalists if behind(one) <= error(one)]
    order = {key: place for place, key in enumerate(known)}  # as they were given, of equal ones
    near = [one for one in seeds.values() if behind(one) <= SEED_ERRORS * error(one)]
    near.sort(key=lambda one: (behind(one), order[one.key]))
    first = [one for one in near if isinstance(one, Individual)][:1]  # what is kept where there is no time to compare
    mixed = itertools.chain(first, *itertools.zip_longest(front, near))
    found = list({one.key: one for one in mixed if one is not None}.values())
    return found, [place for place, one in enumerate(found) if one.key in known]


def _scored(
    known: Mapping[str, Derivation],
    leader: Individual,
    records: Iterable[Mapping[str, Any]],
    objective: Objective,
    space: Space,
) -> tuple[dict[str, Individual], dict[str, float]]:
    """The known networks with a score, each as it was evaluated furthest; and by their keys the standard errors of
    scores that compare with the leader's.
    """
    seeds: dict[str, Individual] = {}
    shares: dict[int, float] = {}
    errors: dict[str, float] = {}
    for record in records:
        if record["kind"] == "proposal":
            shares[record["number"]] = record.get("fidelity", FULL)
        if record["kind"] != "score" or record["status"] != "ok":
            continue
        key, share = record["key"], shares[record["number"]]
        if share == leader.fidelity:
            told = record["metrics"].get(f"{objective.name}_se", 0.0)
            errors[key] = told if math.isfinite(told) else 0.0
        if key in known and (key not in seeds or share > seeds[key].fidelity):
            value = (objective.sign * Score.unpack(record).figures[objective.name],)
            text, fitness = space.render(known[key]), fitness_class(1)(value)
            seeds[key] = Individual(known[key], key, text, fitness, (), SEED, record["number"], fidelity=share)
    return seeds, errors


__all__ = ["contenders"]
