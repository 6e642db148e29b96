"""Step by step to a network that costs no more than it may."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from evosearch.cost import COUNTED
from evosearch.errors import ConfigError, SpaceExhausted
from evosearch.search.proposal import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from evosearch.grammar.core import Derivation
    from evosearch.individual import Individual
    from evosearch.search.history import History
    from evosearch.search.proposal import Evaluated
    from evosearch.search.strategy import Context

VAIN = 300  # draws that give nothing new, after which a step ends with what it has
MOST = 8  # mutations at once, where steps with fewer of them saved too little


class Netadapt:
    """From one network on, the change that loses least for what it saves, until the second objective is at its target.

    Each step tries some mutants of the network that it has come to. Of those that save enough, the one takes its place
    that gained, or that lost least of the first objective for what it saved of the second. Where a step's mutants save
    too little, those of the next are mutated once more. With weights that pass on (`recipe.inherit`) each mutant is
    trained for a short time only; the network at the target is trained on with its weights in the end.

    Source: NetAdapt (Yang et al. 2018, algorithm 1), with the grammar's own mutations as proposals in place of one
    narrowed layer each.
    """

    @dataclass(frozen=True)
    class Settings:
        """target: of the second objective, in its unit; 0: on for as long as the budget lasts. step: share of what the
        first network takes that every step saves. tries: mutants of a step.
        """

        target: Annotated[float, Field(ge=0)] = 0.0
        step: Annotated[float, Field(gt=0, lt=1)] = 0.01
        tries: Annotated[int, Field(ge=1)] = 8

    needs_history: ClassVar[bool] = False

    def __init__(self, settings: Any, context: Context) -> None:
        self.settings: Netadapt.Settings = settings
        self.context = context
        if len(context.objectives) != 2 or context.objectives[1].sign > 0:
            raise ConfigError(
                "search.strategy: netadapt loses little of one objective and lowers another; name two, as in "
                '["accuracy", "latency"]'
            )
        if not context.mutations:
            raise ConfigError("no mutation operator found; put one into operators/mutate/")
        self.current: Individual | None = None
        self.saving: list[Individual] = []  # this step's mutants that save enough
        self.tried = self.missed = 0  # mutants of this step; steps since the last that came to something
        self.first = 0.0  # what the first network takes of the second objective

    @property
    def population(self) -> Sequence[Individual]:
        return [one for one in (self.current, *self.saving) if one is not None]

    @property
    def winner(self) -> Individual | None:
        """The network at the target; None while there is none."""
        there = self.current is not None and (not self.settings.target or self._arrived(self.current))
        return self.current if there else None

    def candidates(self, history: History, rng: np.random.Generator) -> Iterator[Candidate | None]:
        if self.current is None:
            yield from self._starts(history, rng)
        while self.current is not None:
            if self._arrived(self.current):
                raise SpaceExhausted(f"{self._said(self.current)}: the target of {self.settings.target:g} is reached")
            for draw in itertools.count():
                if draw < VAIN:
                    yield self._mutant(self.current, rng)
                elif self.saving:
                    break
                else:
                    raise SpaceExhausted(
                        f"{self.settings.target:g} is out of reach: at {self._said(self.current)} there is nothing "
                        "left to take away"
                    )
            self._step()

    def fold(self, evaluated: Evaluated) -> None:
        found = evaluated.individual
        if self.current is None:
            if found is not None:
                self.current, self.first = found, _cost(found)
            return
        if found is not None and self._saves_enough(found):
            self.saving.append(found)
        self.tried += 1
        if self.tried >= self.settings.tries:
            self._step()

    def pack(self) -> dict[str, Any]:
        return {
            "population": [one.pack() for one in self.population],
            "tried": self.tried, "missed": self.missed, "first": self.first,
        }  # fmt: skip

    def unpack(self, data: Mapping[str, Any]) -> None:
        found = [self.context.individual(packed) for packed in data["population"]]
        self.current, self.saving = (found[0], found[1:]) if found else (None, [])
        self.tried, self.missed, self.first = data["tried"], data["missed"], data["first"]

    def _starts(self, history: History, rng: np.random.Generator) -> Iterator[Candidate]:
        """The run's seeds; samples where it has none, or where their scores are still to come."""
        context = self.context
        for seed in context.seeds:
            yield Candidate(seed, context.initialise.name, given=True)
        if context.seeds and not history.in_flight:
            raise SpaceExhausted("no network to start from has a score")
        for derivation in context.initialise(context.space, (), rng):
            yield Candidate(derivation, context.initialise.name)

    def _mutant(self, parent: Individual, rng: np.random.Generator) -> Candidate | None:
        """One mutant that promises to save something; mutated again where steps came to nothing."""
        context = self.context
        state, space = context.credit.situation(parent, rng)
        actions = list(context.mutations)
        while actions:
            name = context.credit.choose(state, tuple(actions), rng)
            child: Derivation = parent.derivation
            for _ in range(1 + min(self.missed, MOST - 1)):
                child = context.mutations[name](child, space, rng) or child
            if child is not parent.derivation and self._promises(parent.derivation, child):
                return Candidate(child, name, (parent,), state)
            context.credit.declined(name, state)
            actions.remove(name)
        return None

    def _promises(self, parent: Derivation, child: Derivation) -> bool:
        """Whether anything that is counted before a training fell by a step's share; all do without layers."""
        space = self.context.space
        if space.input is None:
            return True
        if not space.fits(child):
            return False
        before, after = space.read(parent).cost, space.read(child).cost
        shares = ((getattr(after, name), getattr(before, name)) for name in COUNTED)
        return any(now <= (1 - self.settings.step) * then for now, then in shares if then)

    def _saves_enough(self, found: Individual) -> bool:
        assert self.current is not None
        now, then = _cost(self.current), _cost(found)
        return then < now and (then <= now - self.settings.step * self.first or self._arrived(found))

    def _arrived(self, one: Individual) -> bool:
        return _cost(one) <= self.settings.target

    def _step(self) -> None:
        """Go on from the best of the mutants that save enough."""
        here = self.current
        assert here is not None

        def worth(one: Individual) -> tuple[bool, float]:
            gained, saved = one.values[0] - here.values[0], _cost(here) - _cost(one)
            return (True, gained * saved) if gained >= 0 else (False, gained / saved)

        self.missed = 0 if self.saving else self.missed + 1
        self.current = max(self.saving, key=worth, default=here)
        self.saving, self.tried = [], 0

    def _said(self, one: Individual) -> str:
        return f"{self.context.objectives[1].name} {_cost(one):.4g}"


def _cost(one: Individual) -> float:
    return -one.values[1]
