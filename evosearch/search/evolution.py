"""Evolution with a population: the first one, then offspring of selected parents. Most strategies derive from it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from evosearch.errors import ConfigError, SpaceExhausted
from evosearch.search.proposal import Candidate
from evosearch.variation import one_of

if TYPE_CHECKING:
    import numpy as np

    from evosearch.individual import Individual
    from evosearch.search.history import History
    from evosearch.search.proposal import Evaluated
    from evosearch.search.strategy import Context

STUCK = 100  # draws in vain after which every second one is a sample: the parents' surroundings may be known entirely


class Evolution:
    """A Strategy to derive from: what differs is which individuals become parents, and which survive.

    select, survive: the selection operators, where the search's settings name no other.
    sorts: survival is asked also where nobody has to leave, for what it leaves on the individuals.
    """

    @dataclass(frozen=True)
    class Settings:
        """None of its own: population, tournament, crossover and the rest are the search's."""

    needs_history: ClassVar[bool] = False
    select: ClassVar[str]
    survive: ClassVar[str]
    sorts: ClassVar[bool] = False

    def __init__(self, settings: Any, context: Context) -> None:
        self.context = context
        self.population: Sequence[Individual] = []
        if context.settings.replacement:
            raise ConfigError('search.replacement: only random search draws with replacement; set strategy = "random"')
        if not context.mutations:
            raise ConfigError("no mutation operator found; put one into operators/mutate/")
        self._select = context.selection(context.settings.select or self.select)
        self._survive = context.selection(context.settings.survive or self.survive)
        self._given = frozenset(context.seeds)

    def candidates(self, history: History, rng: np.random.Generator) -> Iterator[Candidate | None]:
        if self._starting(history):
            yield from self._first(rng)
        for draw in itertools.count():
            if draw >= STUCK and draw % 2:
                yield Candidate(self.context.space.draw(rng), "sample")
            else:
                yield self.offspring(rng)

    def _starting(self, history: History) -> bool:
        """Whether the first population is still to be filled. What is in flight counts as a member to come."""
        settings = self.context.settings
        wanted = settings.initial or settings.population
        return not self.population or len(self.population) + history.in_flight < wanted

    def _first(self, rng: np.random.Generator) -> Iterator[Candidate]:
        initialise = self.context.initialise
        for derivation in initialise(self.context.space, self.context.seeds, rng):
            yield Candidate(derivation, initialise.name, given=derivation in self._given)
        raise SpaceExhausted(f"initialise operator {initialise.name!r} ended before the population was full")

    def offspring(self, rng: np.random.Generator) -> Candidate | None:
        """One offspring of selected parents, by crossover or by the mutation that the policy chooses.

        An operator that cannot be applied here is told so (reward 0), and another takes its place; None where none can.
        """
        context, credit = self.context, self.context.credit
        if context.crossovers and context.settings.crossover and rng.random() < context.settings.crossover:
            a, b = self._select(self.population, 2, rng)
            operator = one_of(context.crossovers, rng)
            child = operator(a.derivation, b.derivation, context.space, rng) if a is not b else None
            if child is not None:
                return Candidate(child, operator.name, (a, b))
            credit.declined(operator.name)
        parent = self._select(self.population, 1, rng)[0]
        state, space = credit.situation(parent, rng)
        actions = list(context.mutations)
        while actions:
            name = credit.choose(state, tuple(actions), rng)
            child = context.mutations[name](parent.derivation, space, rng)
            if child is not None:
                return Candidate(child, name, (parent,), state)
            credit.declined(name, state)
            actions.remove(name)
        return None

    def fold(self, evaluated: Evaluated, rng: np.random.Generator) -> None:
        if evaluated.individual is None:
            return
        new = evaluated.individual
        members = [one for one in self.population if one.fidelity >= new.fidelity or one.key != new.key]
        members.append(new)  # in the place of itself as it was evaluated less far
        keep = min(self.context.settings.population, len(members))
        self.population = self._survive(members, keep, rng) if self.sorts or keep < len(members) else members

    def pack(self) -> dict[str, Any]:
        return {"population": [individual.pack() for individual in self.population]}

    def unpack(self, data: Mapping[str, Any]) -> None:
        self.population = [self.context.individual(packed) for packed in data["population"]]
