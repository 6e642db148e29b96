"""The search: what to evaluate next, and what its score changes. `ask` and `tell`, nothing else.

    search = Search(space, SearchSettings(budget=200), operators.find())
    while not search.done:
        proposal = search.ask()                       # None: the look-ahead window waits for a result
        search.tell(proposal.number, evaluate(proposal))

It knows nothing of tasks, torch or disks. Proposal n is made from the scores of the proposals numbered below n - L
(L = `lookahead`), folded in order: results may arrive in any order from any number of workers and the search is the
same. Its randomness is one stream for each proposal's number, so a state that was packed and restored goes on exactly
as the search would have.

Strategies: aging evolution (Real et al. 2019), steady-state NSGA-II (Deb et al. 2002), random search. Selection, hall
of fame, statistics and log book are DEAP's.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import ConfigError, ShapeError, SpaceExhausted, TaskError
from evosearch.individual import Individual, fitness_class
from evosearch.score import Objective, Score, evaluation_seed
from evosearch.search import adaptive
from evosearch.search.proposal import Proposal, identify
from evosearch.search.settings import SELECTION, SearchSettings
from evosearch.variation import core, one_of

if TYPE_CHECKING:
    from evosearch.architecture import Site, Space
    from evosearch.grammar.core import Derivation
    from evosearch.operators import Operator, Operators

STATE_VERSION = 1
PROPOSING, SURVIVING = 0, 1  # ids of the random streams; part of what a journal's replay depends on
REMEMBERED = 16_384  # derivations whose key is remembered, so that a duplicate is recognised without reading it again
STUCK = 100  # draws in vain after which every second one is a sample: the parents' surroundings may be known entirely


@dataclass(slots=True)
class Tally:
    """What one operator did: calls, what became of them, and the reward its offspring earned in all."""

    calls: int = 0
    inapplicable: int = 0  # returned None
    invalid: int = 0  # shapes did not fit
    duplicates: int = 0  # known in this run
    over_limit: int = 0  # rejected before anything was built
    proposed: int = 0
    failed: int = 0  # evaluated, not ok
    improved: int = 0  # better than its parent
    reward: float = 0.0


@dataclass(slots=True)
class _InFlight:
    """A proposal whose score is not folded in yet. outcome: signed values, None for a failure; valid once `told`."""

    proposal: Proposal
    parent: tuple[float, ...] | None
    told: bool = False
    outcome: tuple[float, ...] | None = None


@dataclass(slots=True)
class _Candidate:
    derivation: Derivation
    operator: str
    parents: tuple[Individual, ...] = ()
    state: str | None = None
    seed: bool = False


class _Focused:
    """A space whose `sites` of one parent are those the policy's state speaks of."""

    def __init__(self, space: Space, parent: Derivation, sites: tuple[Site, ...]) -> None:
        self._space, self._parent, self._sites = space, parent, sites

    def __getattr__(self, name: str) -> Any:
        return getattr(self._space, name)

    def sites(self, derivation: Derivation) -> tuple[Site, ...]:
        return self._sites if derivation is self._parent else self._space.sites(derivation)


class Search:
    """One search over a space.

    Args:
        space: samples, reads and identifies derivations.
        operators: from `evosearch.operators.find()`.
        policy: the adaptive policy; by default made from the settings.
        seeds: derivations that start in the population, by name or in a row.
        identify: (space, derivation) -> (key, limit exceeded or None); a faster one may stand in, with equal keys.

    Raises ConfigError for a seed over a limit, ArchitectureError for one that does not fit.
    """

    def __init__(
        self,
        space: Space,
        settings: SearchSettings,
        operators: Operators,
        policy: adaptive.Policy | None = None,
        seeds: Mapping[str, Derivation] | Sequence[Derivation] = (),
        identify: Any = identify,
    ) -> None:
        self.space, self.settings, self.operators = space, settings, operators
        self.policy = policy or adaptive.make(
            settings.policy, alpha=settings.alpha, gamma=settings.gamma, floor=settings.floor
        )
        self.objectives = tuple(Objective.parse(text) for text in settings.objectives or ("fitness",))
        self.population: list[Individual] = []
        self.evaluated = 0  # scores told
        self.tallies: dict[str, Tally] = {}
        self.exhausted = ""
        self._identify = identify
        self._identities: dict[Derivation, tuple[str, str | None]] = {}
        self._archive: dict[bytes, None] = {}
        self._inflight: dict[int, _InFlight] = {}
        self._next = 0
        self._folded = 0
        self._window: deque[tuple[float, ...]] = deque(maxlen=settings.window)
        self._since_best = 0
        self._initialise = operators.get("initialise", settings.initialise)
        self._select, self._survive = self._selection()
        self._mutations = self._named("mutate", settings.mutations)
        self._crossovers = self._named("crossover", settings.crossovers)
        self._seeds = self._checked(seeds)
        self._halls: Any = None
        self._logbook: Any = None

    # What the outside sees

    @property
    def proposed(self) -> int:
        """Candidates handed out so far."""
        return self._next

    @property
    def done(self) -> bool:
        """Nothing is left to ask for and nothing is in flight."""
        return (self._next >= self.settings.budget or bool(self.exhausted)) and not self.pending

    @property
    def pending(self) -> tuple[Proposal, ...]:
        """Proposals without a score, oldest first: what a resumed run has to evaluate again."""
        return tuple(entry.proposal for entry in self._inflight.values() if not entry.told)

    @property
    def known(self) -> int:
        """Distinct keys proposed so far."""
        return len(self._archive)

    def ask(self) -> Proposal | None:
        """The next candidate; None where the look-ahead window waits for a result or the budget is spent.

        Raises SpaceExhausted where `draws` draws gave no new candidate; the search is then done once the pending
        results are told.
        """
        if self.exhausted:
            raise SpaceExhausted(self.exhausted)
        number = self._next
        if number >= self.settings.budget:
            return None
        if self.settings.order == "proposal" and self._folded < number - self.settings.lookahead:
            return None
        try:
            entry = self._propose(number, self._stream(PROPOSING, number))
        except SpaceExhausted as end:
            self.exhausted = str(end)
            raise
        self._inflight[number] = entry
        self._next += 1
        self._fold_due()
        return entry.proposal

    def lacks(self, score: Score) -> tuple[str, ...]:
        """Objectives of the search that an ok score does not have."""
        return tuple(o.name for o in self.objectives if o.name not in score.objectives) if score.status == "ok" else ()

    def tell(self, number: int, score: Score | Mapping[str, float] | float | None) -> None:
        """The score of a proposal: a Score, or its objectives, or its one objective; None for a failure.

        Raises ValueError for a proposal that is not pending, TaskError for a score without a wanted objective.
        """
        entry = self._inflight.get(number)
        if entry is None or entry.told:
            raise ValueError(f"proposal {number} is not pending")
        entry.outcome = self._outcome(score)
        entry.told = True
        self.evaluated += 1
        if self.settings.order == "arrival":
            self._fold(number)
        else:
            self._fold_due()

    def best(self) -> Individual | None:
        """The best individual told so far, earlier ones first where equal; of several objectives, by the first."""
        front = self.front()
        return front[0] if front else None

    def front(self) -> list[Individual]:
        """The hall of fame, or of several objectives the Pareto front; best first, of equals the earliest.

        Every score told counts.
        """
        from copy import deepcopy

        hall = deepcopy(self._hall())
        late = [self._individual(e) for _, e in sorted(self._inflight.items()) if e.told and e.outcome is not None]
        hall.update(late)
        return sorted(hall, key=lambda individual: (individual.values, -individual.born), reverse=True)

    @property
    def logbook(self) -> Any:
        """deap.tools.Logbook: one record each time a population's worth of scores is folded in."""
        if self._logbook is None:
            from deap import tools

            self._logbook = tools.Logbook()
            self._logbook.header = ["folded", "known", "min", "mean", "max", "std"]
        return self._logbook

    def state(self) -> dict[str, Any]:
        """Everything the search knows, as plain values for msgpack."""
        return {
            "version": STATE_VERSION,
            "seed": self.settings.seed,
            "next": self._next,
            "folded": self._folded,
            "evaluated": self.evaluated,
            "exhausted": self.exhausted,
            "population": [individual.pack() for individual in self.population],
            "hall": [{**individual.pack(), "rank": 0, "crowding": 0.0, "lesson": None} for individual in self._hall()],
            "archive": b"".join(self._archive),
            "inflight": [
                {
                    **entry.proposal.pack(),
                    "parent": list(entry.parent) if entry.parent is not None else None,
                    "told": entry.told,
                    "outcome": list(entry.outcome) if entry.outcome is not None else None,
                }
                for entry in self._inflight.values()
            ],
            "window": [list(values) for values in self._window],
            "since_best": self._since_best,
            "policy": self.policy.pack(),
            "tallies": {name: asdict(tally) for name, tally in self.tallies.items()},
            "logbook": [dict(record) for record in self.logbook],
        }

    @classmethod
    def restore(
        cls,
        space: Space,
        settings: SearchSettings,
        operators: Operators,
        state: Mapping[str, Any],
        policy: adaptive.Policy | None = None,
        seeds: Mapping[str, Derivation] | Sequence[Derivation] = (),
        identify: Any = identify,
    ) -> Search:
        """The search that `state()` described. settings may have a larger budget; whatever else differs changes it."""
        if state["version"] != STATE_VERSION:
            raise ConfigError(f"search state of version {state['version']}; this evosearch reads {STATE_VERSION}")
        search = cls(space, settings, operators, policy, seeds, identify)
        search._next, search._folded = state["next"], state["folded"]
        search.evaluated, search.exhausted = state["evaluated"], state["exhausted"]
        search.population = [search._unpack(data) for data in state["population"]]
        search._hall().update([search._unpack(data) for data in reversed(state["hall"])])  # DEAP puts a later tie first
        archive = state["archive"]
        search._archive = {archive[at : at + 16]: None for at in range(0, len(archive), 16)}
        for data in state["inflight"]:
            proposal = Proposal(
                data["number"],
                space.parse(data["text"]),
                data["key"],
                data["text"],
                tuple(data["parents"]),
                data["operator"],
                data["seed"],
                data["state"],
            )
            search._inflight[proposal.number] = _InFlight(
                proposal, _values(data["parent"]), data["told"], _values(data["outcome"])
            )
        search._window.extend(tuple(values) for values in state["window"])
        search._since_best = state["since_best"]
        search.policy.unpack(state["policy"])
        search.tallies = {name: Tally(**tally) for name, tally in state["tallies"].items()}
        for record in state["logbook"]:
            search.logbook.record(**record)
        return search

    # Proposing

    def _propose(self, number: int, rng: np.random.Generator) -> _InFlight:
        limits: dict[str, int] = {}
        initial = self._initial(rng) if self._starting() else None
        for draw in range(self.settings.draws):
            if initial is not None:
                candidate = next(initial)
            elif draw >= STUCK and draw % 2:
                candidate = _Candidate(self.space.draw(rng), "sample")
            else:
                varied = self._vary(rng)
                if varied is None:
                    continue
                candidate = varied
            tally = self.tallies.setdefault(candidate.operator, Tally())
            key = self._admit(candidate, tally, limits)
            if key is None:
                if candidate.state is not None:
                    self.policy.credit(candidate.state, candidate.operator, 0.0)
                continue
            derivation = candidate.derivation
            tally.proposed += 1
            self._archive[bytes.fromhex(key)] = None
            proposal = Proposal(
                number,
                derivation,
                key,
                self.space.render(derivation),
                tuple(parent.born for parent in candidate.parents),
                candidate.operator,
                evaluation_seed(self.settings.seed, key),
                candidate.state,
            )
            return _InFlight(proposal, candidate.parents[0].values if candidate.parents else None)
        raise SpaceExhausted(self._why_exhausted(limits))

    def _starting(self) -> bool:
        """Whether the first population is still to be filled. What is in flight counts as a member to come."""
        if self.settings.strategy == "random" or not self.population:
            return True
        wanted = self.settings.initial or self.settings.population
        return len(self.population) + len(self._inflight) < wanted

    def _initial(self, rng: np.random.Generator) -> Iterator[_Candidate]:
        if self.settings.strategy == "random":
            while True:
                yield _Candidate(self.space.draw(rng), "random")
        for derivation in self._initialise(self.space, tuple(self._seeds.values()), rng):
            yield _Candidate(derivation, self._initialise.name, seed=derivation in self._seed_set)
        raise SpaceExhausted(f"initialise operator {self._initialise.name!r} ended before the population was full")

    def _declined(self, operator: str) -> None:
        tally = self.tallies.setdefault(operator, Tally())
        tally.calls += 1
        tally.inapplicable += 1

    def _vary(self, rng: np.random.Generator) -> _Candidate | None:
        """One offspring of selected parents, by crossover or by the mutation that the policy chooses.

        An operator that cannot be applied here is told so (reward 0), and another takes its place; None where none can.
        """
        settings = self.settings
        if self._crossovers and settings.crossover and rng.random() < settings.crossover:
            a, b = self._select(self.population, 2, rng)
            operator = one_of(self._crossovers, rng)
            child = operator(a.derivation, b.derivation, self.space, rng) if a is not b else None
            if child is not None:
                return _Candidate(child, operator.name, (a, b))
            self._declined(operator.name)
        parent = self._select(self.population, 1, rng)[0]
        state, space = self._state(parent, rng)
        if parent.lesson is not None:
            before, action, reward = parent.lesson
            self.policy.credit(before, action, reward, state)
            parent.lesson = None
        actions = list(self._mutations)
        while actions:
            name = self.policy.choose(state, tuple(actions), rng)
            child = self._mutations[name](parent.derivation, space, rng)
            if child is not None:
                return _Candidate(child, name, (parent,), state)
            self._declined(name)
            self.policy.credit(state, name, 0.0)
            actions.remove(name)
        return None

    def _state(self, parent: Individual, rng: np.random.Generator) -> tuple[str, Any]:
        """The policy's state, and the space with which the operator then sees the places that it speaks of."""
        features = self.settings.features
        parts: list[str] = []
        space: Any = self.space
        if "symbol" in features or "depth" in features:
            sites = self.space.sites(parent.derivation)
            deepest = max(site.depth for site in sites) + 1

            def describe(site: Site) -> list[str]:
                alternative = core(site.derivation).alternative
                symbol = alternative.layer or alternative.rule
                return [
                    *([symbol] if "symbol" in features else []),
                    *([f"depth {site.depth * 3 // deepest}"] if "depth" in features else []),
                ]

            parts = describe(one_of(sites, rng))
            space = _Focused(self.space, parent.derivation, tuple(site for site in sites if describe(site) == parts))
        if "stagnation" in features:
            waited = self._since_best / max(self.settings.population, 1)
            parts.append(f"stagnation {0 if waited < 1 else 1 if waited < 4 else 2}")
        return ", ".join(parts), space

    def _admit(self, candidate: _Candidate, tally: Tally, limits: dict[str, int]) -> str | None:
        """The candidate's key if it may be proposed; else None, and the tally says why."""
        derivation = candidate.derivation
        if candidate.seed and self._seeds_by_derivation[derivation] in self._archive:
            return None  # an initialiser yields its seeds for every place; those that have theirs are no duplicates
        tally.calls += 1
        try:
            key, limit = self._identity(derivation)
        except ShapeError:
            tally.invalid += 1
            return None
        if limit is not None:
            tally.over_limit += 1
            limits[limit] = limits.get(limit, 0) + 1
            return None
        if bytes.fromhex(key) in self._archive and not self.settings.replacement:
            tally.duplicates += 1
            limits[""] = 1
            return None
        return key

    def _identity(self, derivation: Derivation) -> tuple[str, str | None]:
        found = self._identities.get(derivation)
        if found is None:
            if len(self._identities) >= REMEMBERED:
                self._identities.clear()
            found = self._identities[derivation] = self._identify(self.space, derivation)
        return found

    def _why_exhausted(self, limits: Mapping[str, int]) -> str:
        draws = f"{self.settings.draws:,} draws"
        if limits and "" not in limits:
            limit = max(limits, key=lambda name: limits[name])
            value = getattr(self.space.limits, limit, None)
            return (
                f"{draws} gave no candidate within {limit}={value}; raise the limit or write a grammar of smaller ones"
            )
        return f"space exhausted: {draws} gave no candidate that this run had not seen ({self.known:,} are known)"

    # Folding a score in

    def _outcome(self, score: Score | Mapping[str, float] | float | None) -> tuple[float, ...] | None:
        """Signed values of the objectives, None for a failure."""
        if score is None:
            return None
        if isinstance(score, Score):
            if score.status != "ok":
                return None
            score = score.objectives
        if not isinstance(score, Mapping):
            score = {self.objectives[0].name: float(score)}
        values = []
        for objective in self.objectives:
            if objective.name not in score:
                raise TaskError(f"the score has no objective {objective.name!r}; it has {', '.join(score) or 'none'}")
            values.append(objective.sign * float(score[objective.name]))
        return tuple(values) if all(map(math.isfinite, values)) else None

    def _fold_due(self) -> None:
        """Fold what the next proposal may be made from: so the state follows from what was asked and told alone."""
        if self.settings.order == "arrival":
            return
        while self._folded < self._next - self.settings.lookahead and self._inflight[self._folded].told:
            self._fold(self._folded)
            self._folded += 1

    def _fold(self, number: int) -> None:
        """Credit the policy, join the population, let one leave."""
        entry = self._inflight.pop(number)
        proposal, outcome = entry.proposal, entry.outcome
        tally = self.tallies[proposal.operator]
        reward = quality = 0.0
        individual = None
        if outcome is None:
            tally.failed += 1
        else:
            individual = self._individual(entry)
            self._window.append(outcome)
            if entry.parent is not None:
                quality = self._rank(outcome)
                reward = max(0.0, quality - self._rank(entry.parent))
                tally.improved += outcome > entry.parent
                tally.reward += reward
        if proposal.state is not None:
            earned = quality if self.policy.quality else reward
            if self.settings.gamma and individual is not None:
                individual.lesson = (proposal.state, proposal.operator, earned)
            else:
                self.policy.credit(proposal.state, proposal.operator, earned)
        self._since_best += 1
        if individual is None:
            return
        hall = self._hall()
        before = hall[0].values if len(hall) else None
        hall.update([individual])
        if individual in hall if len(self.objectives) > 1 else hall[0].values != before:
            self._since_best = 0
        self._join(individual, number)

    def _join(self, individual: Individual, number: int) -> None:
        if self.settings.strategy == "random":
            return  # a random search has no population; its hall of fame is all there is
        self.population.append(individual)
        keep = min(self.settings.population, len(self.population))
        if keep < len(self.population) or self.settings.strategy == "nsga2":
            before = self.population
            self.population = self._survive(before, keep, self._stream(SURVIVING, number))
            if self.settings.gamma:
                staying = set(map(id, self.population))
                for gone in before:
                    if id(gone) not in staying and gone.lesson is not None:
                        self.policy.credit(*gone.lesson)
        if (number + 1) % self.settings.population == 0:
            self._record(number)

    def _rank(self, values: tuple[float, ...]) -> float:
        """Rank quantile in the window of latest scores, 0 to 1, ties half; the mean over several objectives."""
        total = 0.0
        for index, value in enumerate(values):
            for other in self._window:
                total += 1.0 if other[index] < value else 0.5 if other[index] == value else 0.0
        return total / (len(values) * len(self._window))

    def _record(self, number: int) -> None:
        first = [individual.values[0] for individual in self.population]
        self.logbook.record(
            folded=number + 1,
            known=self.known,
            min=min(first),
            mean=math.fsum(first) / len(first),
            max=max(first),
            std=float(np.std(first)),
        )

    # Parts

    def _stream(self, stream: int, number: int) -> np.random.Generator:
        sequence = np.random.SeedSequence(self.settings.seed, spawn_key=(stream, number))
        return np.random.Generator(np.random.PCG64(sequence))

    def _hall(self) -> Any:
        if self._halls is None:
            from deap import tools

            def same(a: Individual, b: Individual) -> bool:
                return a.key == b.key

            several = len(self.objectives) > 1
            self._halls = tools.ParetoFront(same) if several else tools.HallOfFame(self.settings.hall_of_fame, same)
        return self._halls

    def _individual(self, entry: _InFlight) -> Individual:
        proposal = entry.proposal
        return Individual(
            proposal.derivation,
            proposal.key,
            proposal.text,
            fitness_class(len(self.objectives))(entry.outcome),
            proposal.parents,
            proposal.operator,
            proposal.number,
        )

    def _unpack(self, data: Mapping[str, Any]) -> Individual:
        return Individual(
            self.space.parse(data["text"]),
            data["key"],
            data["text"],
            fitness_class(len(self.objectives))(tuple(data["values"])),
            tuple(data["parents"]),
            data["operator"],
            data["born"],
            data["rank"],
            data["crowding"],
            tuple(data["lesson"]) if data["lesson"] else None,
        )

    def _named(self, kind: str, names: Sequence[str]) -> Any:
        found = self.operators.of(kind)
        chosen = {name: self.operators.get(kind, name) for name in sorted(names)} if names else dict(found)
        if kind == "mutate":
            if not chosen and self.settings.strategy != "random":
                raise ConfigError("no mutation operator found; put one into operators/mutate/")
            return chosen
        return list(chosen.values())

    def _selection(self) -> tuple[Any, Operator]:
        """Parent selection, with the tournament's size where it takes one, and survival."""
        parents, survivors = SELECTION[self.settings.strategy]
        select = self.operators.get("select", self.settings.select or parents)
        survive = self.operators.get("select", self.settings.survive or survivors)
        if "size" in inspect.signature(select.function).parameters:
            return functools.partial(select.function, size=self.settings.tournament), survive
        return select.function, survive

    def _checked(self, seeds: Mapping[str, Derivation] | Sequence[Derivation]) -> dict[str, Derivation]:
        named = dict(seeds) if isinstance(seeds, Mapping) else {str(i): seed for i, seed in enumerate(seeds)}
        self._seeds_by_derivation: dict[Derivation, bytes] = {}
        for name, seed in named.items():
            try:
                key, limit = self._identity(seed)
            except ShapeError as error:
                raise ShapeError(f"seed {name!r} does not fit the input shape: {error}") from error
            if limit is not None:
                value = getattr(self.space.limits, limit, None)
                raise ConfigError(f"seed {name!r} is over the limit {limit}={value}; raise it or leave the seed out")
            self._seeds_by_derivation[seed] = bytes.fromhex(key)
        self._seed_set = frozenset(self._seeds_by_derivation)
        return named


def _values(data: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if data is None else tuple(data)
