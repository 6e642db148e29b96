"""The search's loop: what is handed out for evaluation, in which order results are folded in, what is remembered.

    search = Search(space, SearchSettings(budget=200), operators.find())
    while not search.done:
        proposal = search.ask()                       # None: the look-ahead window waits for a result
        search.tell(proposal.number, evaluate(proposal))

It knows nothing of tasks, torch or disks. Proposal n is made from the scores of the proposals numbered below n - L
(L = `lookahead`), folded in order: results may arrive in any order from any number of workers and the search is the
same. Its randomness is one stream for each proposal's number, so a state that was packed and restored goes on exactly
as the search would have.

Which candidate comes next is the strategy's (`search.strategy`), what operators earned is the credit's. Hall of fame
and log book are DEAP's.
"""

from __future__ import annotations

import gc
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import CandidateRefused, ConfigError, ShapeError, SpaceExhausted, TaskError
from evosearch.evaluation.measures import objective
from evosearch.individual import Individual, fitness_class
from evosearch.moments import deviation, mean
from evosearch.recent import Weighed
from evosearch.score import Score, evaluation_seed
from evosearch.search import adaptive
from evosearch.search import strategy as strategies
from evosearch.search.credit import Credit, Tally
from evosearch.search.fame import Fame
from evosearch.search.history import Archive, History
from evosearch.search.learning import Learner
from evosearch.search.proposal import FULL, OUTSIDE, Candidate, Draft, Evaluated, InFlight, Proposal, identify, identity
from evosearch.search.rungs import PROMOTE, Rungs
from evosearch.search.screening import DRAWS, SAMPLES, Model, Screen

if TYPE_CHECKING:
    from evosearch.architecture import Space
    from evosearch.features import Row
    from evosearch.grammar.core import Derivation
    from evosearch.operators import Operator, Operators
    from evosearch.search.settings import SearchSettings
    from evosearch.search.strategy import Strategy

STATE_VERSION = 1
PROPOSING, SURVIVING, FITTING = 0, 1, 2  # ids of the random streams; part of what a journal's replay depends on
# Nodes of the derivations whose keys are remembered, so that a duplicate is recognised without reading it again: nearly
# all of these come back soon or never, and what is held is what the collection of garbage goes through.
REMEMBERED = 50_000


class Search:
    """One search over a space.

    Args:
        space: samples, reads and identifies derivations.
        operators: from `evosearch.operators.find()`.
        seeds: derivations that start in the population, by name or in a row.
        identify: (space, derivation) -> (key, limit exceeded or None); a faster one may stand in, with equal keys.
        own: the strategy's own settings, the [strategy] table of a configuration.
        history: keep the history's rows also where the strategy does not need them: a stop rule or an estimator does.
        features: of a derivation, for screening; a faster one may stand in, with equal figures.
        prior: candidates of other runs with their quantiles there, for the surrogate that screens.

    Raises ConfigError for a seed over a limit or settings that the strategy cannot follow, ArchitectureError for a seed
    that does not fit.
    """

    def __init__(
        self,
        space: Space,
        settings: SearchSettings,
        operators: Operators,
        seeds: Mapping[str, Derivation] | Sequence[Derivation] = (),
        identify: Any = identify,
        own: Mapping[str, Any] | None = None,
        history: bool = False,
        features: Callable[[Derivation], Row] | None = None,
        prior: Sequence[tuple[Derivation, tuple[float, ...]]] = (),
    ) -> None:
        self.space = space.view() if settings.learn else space
        self.settings, self.operators = settings, operators
        self.learner = Learner(self.space, settings.learn) if settings.learn else None
        self._fitness = fitness_class(len(settings.objectives) or 1, rungs=bool(settings.rungs))
        self.objectives = tuple(objective(text) for text in settings.objectives or ("fitness",))
        self.evaluated = 0  # scores told
        self.exhausted = ""
        self._identify = identify
        self._identities: Weighed[Derivation, tuple[str, str | None]] = Weighed(REMEMBERED, lambda one: one.size)
        self._archive = Archive()
        self.rungs = Rungs(settings, self._archive) if settings.rungs else None
        self._inflight: dict[int, InFlight] = {}
        self._seed_words = _words(settings.seed)
        self._next = 0
        self._folded = 0
        self.fame = Fame(len(self.objectives), settings.hall_of_fame, rungs=self.rungs is not None)
        self._logbook: Any = None
        self._seeds_by_derivation: dict[Derivation, bytes] = {}
        seeds = self._checked(seeds)
        self.credit = Credit(
            self.space,
            settings,
            adaptive.make(settings.policy, alpha=settings.alpha, gamma=settings.gamma, floor=settings.floor),
        )
        self.strategy = self._strategy(tuple(seeds.values()), own or {})
        self._fold_draws = len(inspect.signature(self.strategy.fold).parameters) > 1
        self.screen = self._screen(features, prior)
        needed = self.strategy.needs_history or self.screen is not None or bool(settings.learn or settings.rungs)
        kept = history or needed
        self.history = History(len(self.objectives), kept=kept)

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
    def unfolded(self) -> tuple[int, ...]:
        """The numbers of proposals that are not folded in yet, oldest first."""
        return tuple(self._inflight)

    @property
    def known(self) -> int:
        """Distinct evaluations proposed so far: keys, each fidelity and repeat of one by itself."""
        return len(self._archive)

    @property
    def population(self) -> Sequence[Individual]:
        """The individuals that the strategy selects among now."""
        return self.strategy.population

    @property
    def policy(self) -> adaptive.Policy:
        """Which mutation is tried next."""
        return self.credit.policy

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """What each operator did, by name."""
        return self.credit.tallies

    def ask(self) -> Proposal | None:
        """The next candidate; None where the look-ahead window waits for a result or the budget is spent.

        Raises SpaceExhausted where `draws` draws gave no new candidate; the search is then done once the pending
        results are told.
        """
        if not self._has_room():
            return None
        number = self._next
        collecting = gc.isenabled()
        gc.disable()  # drafts are many small objects and no cycles: looking for those takes a fifteenth
        try:
            entry = self._propose(number, self._stream(PROPOSING, number))
        except SpaceExhausted as end:
            self.exhausted = str(end)
            raise
        finally:
            if collecting:
                gc.enable()
        return self._handed_out(entry)

    def propose(self, derivation: Derivation, parents: Sequence[int] = ()) -> Proposal | None:
        """A candidate from outside as the next proposal; None where `ask` gives None.

        It counts, is evaluated and joins the population like any other; no operator earns anything by it. parents: the
        numbers of those that it was made from. What is refused changes nothing.

        Raises CandidateRefused where it is known, over a limit, or its parents are none of this run's; ShapeError where
        it does not fit; SpaceExhausted.
        """
        if strange := [number for number in parents if not 0 <= number < self._next]:
            raise CandidateRefused(f"parent {strange[0]}: this run has no such candidate; name those that it gave")
        key, limit = self._identity(derivation)
        if limit is not None:
            value = getattr(self.space.limits, limit, None)
            raise CandidateRefused(f"it is over the limit {limit}={value}; propose a smaller one")
        fidelity = self.rungs.lowest if self.rungs is not None else FULL
        known = identity(key, fidelity)
        if known in self._archive and not self.settings.replacement:
            raise CandidateRefused(f"candidate {key[:8]} of this run is the same; propose another", known=key)
        if not self._has_room():
            return None
        self.credit.tally(OUTSIDE).calls += 1
        candidate = Candidate(derivation, OUTSIDE, fidelity=fidelity)
        entry = self._chosen(self._next, {}, Draft(candidate, key, known))
        entry.proposal = replace(entry.proposal, parents=tuple(parents))
        return self._handed_out(entry)

    def _has_room(self) -> bool:
        """Whether the budget and the look-ahead window allow one more proposal now. Raises SpaceExhausted."""
        if self.exhausted:
            raise SpaceExhausted(self.exhausted)
        if self._next >= self.settings.budget:
            return False
        return self.settings.order != "proposal" or self._folded >= self._next - self.settings.lookahead

    def _handed_out(self, entry: InFlight) -> Proposal:
        self._inflight[entry.proposal.number] = entry
        self._next += 1
        self._fold_due()
        return entry.proposal

    def lacks(self, score: Score) -> tuple[str, ...]:
        """Objectives of the search that an ok score does not have."""
        return tuple(o.name for o in self.objectives if o.name not in score.figures) if score.status == "ok" else ()

    def tell(self, number: int, score: Score | Mapping[str, float] | float | None) -> None:
        """The score of a proposal: a Score, or its objectives, or its one objective; None for a failure.

        Raises ValueError for a proposal that is not pending, TaskError for a score without a wanted objective.
        """
        entry = self._inflight.get(number)
        if entry is None or entry.told:
            raise ValueError(f"proposal {number} is not pending")
        entry.outcome = self.signed(score)
        entry.told = True
        if self.history.kept and isinstance(score, Score):
            entry.score = score
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

        Every score told counts that is of a full evaluation; of a key's repeats the first one, or the luckiest would.
        With rungs those of shorter evaluations come behind: each key as it was evaluated furthest.
        """
        told = (self._individual(entry) for _, entry in sorted(self._inflight.items()) if entry.told)
        return self.fame.front(one for one in told if one is not None)

    @property
    def logbook(self) -> Any:
        """deap.tools.Logbook: one record each time a population's worth of scores is folded in."""
        if self._logbook is None:
            from deap import tools

            self._logbook = tools.Logbook()
            self._logbook.header = ["folded", "known", "min", "mean", "max", "std"]
        return self._logbook

    def state(self) -> dict[str, Any]:
        """Everything the search knows but the history's rows, as plain values for msgpack."""
        own = self.strategy.pack()
        credit = self.credit.pack()
        state = {
            "version": STATE_VERSION,
            "seed": self.settings.seed,
            "next": self._next,
            "folded": self._folded,
            "evaluated": self.evaluated,
            "exhausted": self.exhausted,
            "population": own.pop("population", []),
            "hall": self.fame.pack(),
            "archive": bytes(self._archive),
            "inflight": [
                {
                    **entry.proposal.pack(),
                    "parent": list(entry.parent) if entry.parent is not None else None,
                    "told": entry.told,
                    "outcome": list(entry.outcome) if entry.outcome is not None else None,
                }
                for entry in self._inflight.values()
            ],
            **credit,
            "logbook": [dict(record) for record in self.logbook],
        }
        return state | {"strategy": own} if own else state

    @classmethod
    def restore(
        cls,
        space: Space,
        settings: SearchSettings,
        operators: Operators,
        state: Mapping[str, Any],
        seeds: Mapping[str, Derivation] | Sequence[Derivation] = (),
        own: Mapping[str, Any] | None = None,
        history: bool = False,
        journal: Iterable[Mapping[str, Any]] = (),
        features: Callable[[Derivation], Row] | None = None,
        prior: Sequence[tuple[Derivation, tuple[float, ...]]] = (),
    ) -> Search:
        """The search that `state()` described. settings may have a larger budget; whatever else differs changes it.

        journal: the run's records from its first on, for the rows of a history that is kept; the state has none.
        """
        if state["version"] != STATE_VERSION:
            raise ConfigError(f"search state of version {state['version']}; this evosearch reads {STATE_VERSION}")
        search = cls(space, settings, operators, seeds=seeds, own=own, history=history, features=features, prior=prior)
        search._next, search._folded = state["next"], state["folded"]
        search.evaluated, search.exhausted = state["evaluated"], state["exhausted"]
        search.fame.unpack(state["hall"], space, search._fitness)
        search._archive.restore(state["archive"])
        for data in state["inflight"]:
            proposal = Proposal.unpack(data, space)
            search._inflight[proposal.number] = InFlight(
                proposal, _values(data["parent"]), data["told"], _values(data["outcome"])
            )
        search.credit.unpack(state)
        search.strategy.unpack({"population": state["population"], **state.get("strategy", {})})
        for record in state["logbook"]:
            search.logbook.record(**record)
        search.history.folded = search._next - len(search._inflight)
        if search.history.kept:
            search._recall(journal)
        return search

    def _recall(self, journal: Iterable[Mapping[str, Any]]) -> None:
        """Fill the history's rows from a run's journal, in the order in which they were folded in."""
        proposals: dict[int, Proposal] = {}
        scores: dict[int, Score] = {}
        for record in journal:
            number = record.get("number", self._next)
            if number < self._next and record["kind"] == "proposal":
                proposals[number] = Proposal.unpack(record, self.space)
            elif number < self._next and record["kind"] == "score":
                scores[number] = Score.unpack(record)
        arrived = scores if self.settings.order == "arrival" else sorted(scores)
        for number in arrived:
            if number in self._inflight:
                if self._inflight[number].told:
                    self._inflight[number].score = scores[number]
            else:
                self._remember(proposals[number], self.signed(scores[number]), scores[number])

    # Proposing

    def _propose(self, number: int, rng: np.random.Generator) -> InFlight:
        limits: dict[str, int] = {}
        drafts: dict[bytes, Draft] = {}
        drawn = 0
        promotion = self.rungs.promotion() if self.rungs is not None else None
        if promotion is not None:
            self._archive.add(identity(promotion.parents[0].key, promotion.fidelity))
            self.credit.tally(promotion.operator).proposed += 1
            return self._entry(number, promotion, promotion.parents[0].key, None)
        if self.learner is not None:
            self.learner.refresh()
        self.history.in_flight = len(self._inflight)
        wanted = self._wanted()
        offered = self.strategy.candidates(self.history, rng)
        for candidate in islice(offered if wanted == 1 else self._mixed(offered, rng), self.settings.draws):
            drawn += 1
            if self.rungs is not None and candidate is not None and candidate.fidelity == FULL:
                candidate = candidate._replace(fidelity=self.rungs.lowest)
            if candidate is not None and (draft := self._admitted(candidate, limits)) is not None:
                if wanted == 1 or candidate.given or candidate.due:
                    return self._chosen(number, drafts, draft)
                if draft.identity in drafts:
                    self.credit.passed_over(candidate)
                else:
                    drafts[draft.identity] = draft
            if len(drafts) >= wanted or (drafts and drawn >= DRAWS * wanted):
                break
        if drafts:
            return self._screened(number, drafts, rng)
        if drawn < self.settings.draws:
            raise SpaceExhausted(f"strategy {self.settings.strategy!r} ended: it has no candidate beyond {number:,}")
        raise SpaceExhausted(self._why_exhausted(limits))

    def _wanted(self) -> int:
        """Drafts of which the next proposal is chosen: 1 where nothing is screened, or nothing is known yet."""
        if self.screen is None:
            return 1
        self.screen.model.follow(self.history)
        return self.screen.wanted if self.screen.model.ready else 1

    def _mixed(self, offered: Iterator[Candidate | None], rng: np.random.Generator) -> Iterator[Candidate | None]:
        """The strategy's candidates as drafts to choose from, of which every fifth is a sample of the grammar."""
        latest = None
        for draft in count(1):
            if draft % SAMPLES == 0 and latest is not None:
                yield Candidate(self.space.draw(rng), "sample", fidelity=latest.fidelity)
                continue
            try:
                candidate = next(offered)
            except StopIteration:
                return
            latest = candidate or latest
            yield candidate

    def _screened(self, number: int, drafts: Mapping[bytes, Draft], rng: np.random.Generator) -> InFlight:
        """The draft that promises most as a proposal, with what is expected of it."""
        assert self.screen is not None
        offered = list(drafts.values())
        at, expected = self.screen.choose([one.candidate.derivation for one in offered], rng)
        return self._chosen(number, drafts, offered[at], expected)

    def _chosen(
        self,
        number: int,
        drafts: Mapping[bytes, Draft],
        chosen: Draft,
        expected: tuple[float, float] | None = None,
    ) -> InFlight:
        """One draft as a proposal; the others were never tried."""
        for other in drafts.values():
            if other is not chosen:
                self.credit.passed_over(other.candidate)
        candidate, key, known = chosen
        self._archive.add(known)
        self.credit.tally(candidate.operator).proposed += 1
        return self._entry(number, candidate, key, expected)

    def _entry(self, number: int, candidate: Candidate, key: str, expected: tuple[float, float] | None) -> InFlight:
        """An admitted candidate as a proposal."""
        fidelity, repeat = candidate.fidelity, candidate.repeat
        proposal = Proposal(
            number,
            candidate.derivation,
            key,
            self.space.render(candidate.derivation),
            tuple(parent.born for parent in candidate.parents),
            candidate.operator,
            evaluation_seed(self.settings.seed, key, fidelity, repeat),
            candidate.state,
            fidelity,
            repeat,
            expected,
        )
        return InFlight(proposal, self._parent_values(candidate))

    def _parent_values(self, candidate: Candidate) -> tuple[float, ...] | None:
        """What a candidate's score is compared with: its first parent's, of an evaluation like its own."""
        if not candidate.parents or candidate.operator == PROMOTE:
            return None
        parent = candidate.parents[0]
        if self.rungs is not None and parent.fidelity != candidate.fidelity:
            return self.rungs.values(parent.key, candidate.fidelity)
        return parent.values

    def _admitted(self, candidate: Candidate, limits: dict[str, int]) -> Draft | None:
        """The candidate if it may be proposed; else None, and whoever chose its operator earned nothing."""
        draft = self._admit(candidate, self.credit.tally(candidate.operator), limits)
        if draft is None:
            self.credit.refused(candidate)
        return draft

    def _admit(self, candidate: Candidate, tally: Tally, limits: dict[str, int]) -> Draft | None:
        """The candidate if it may be proposed; else None, and the tally says why."""
        derivation = candidate.derivation
        if candidate.given and self._seeds_by_derivation[derivation] in self._archive:
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
        known = identity(key, candidate.fidelity, candidate.repeat)
        if known in self._archive and not self.settings.replacement:
            tally.duplicates += 1
            limits[""] = 1
            return None
        return Draft(candidate, key, known)

    def _identity(self, derivation: Derivation) -> tuple[str, str | None]:
        found = self._identities[derivation]
        if found is None:
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

    def signed(self, score: Score | Mapping[str, float] | float | None) -> tuple[float, ...] | None:
        """Signed values of the objectives, None for a failure. Raises TaskError where one is missing."""
        if score is None:
            return None
        if isinstance(score, Score):
            if score.status != "ok":
                return None
            score = score.figures
        if not isinstance(score, Mapping):
            score = {self.objectives[0].name: float(score)}
        values = []
        for one in self.objectives:
            if one.name not in score:
                raise TaskError(f"the score has no objective {one.name!r}; it has {', '.join(score) or 'none'}")
            values.append(one.sign * float(score[one.name]))
        return tuple(values) if all(map(math.isfinite, values)) else None

    def _fold_due(self) -> None:
        """Fold what the next proposal may be made from: so the state follows from what was asked and told alone."""
        if self.settings.order == "arrival":
            return
        while self._folded < self._next - self.settings.lookahead and self._inflight[self._folded].told:
            self._fold(self._folded)
            self._folded += 1

    def _fold(self, number: int) -> None:
        """Credit the policy, let the strategy take in the result, remember it."""
        entry = self._inflight.pop(number)
        individual = self._individual(entry)
        self.credit.folded(entry, individual)
        self.history.folded += 1
        if self.history.kept:
            self._remember(entry.proposal, entry.outcome, entry.score)
        if individual is not None and self.fame.join(individual):
            self.credit.since_best = 0
        before = [*self.population, individual] if self.settings.gamma and individual is not None else []
        draws = (self._stream(SURVIVING, number),) if self._fold_draws else ()
        self.strategy.fold(Evaluated(entry.proposal, individual), *draws)
        if before:
            self.credit.left(before, self.population)
        if individual is not None and self.population and (number + 1) % self.settings.population == 0:
            self._record(number)

    def _remember(self, proposal: Proposal, outcome: tuple[float, ...] | None, score: Score | None) -> None:
        """One more row of the history, in the order folded in, for whoever learns from it."""
        self.history.add(proposal, outcome, score)
        if self.learner is not None:
            self.learner.add(proposal.derivation, proposal.key, proposal.fidelity, outcome)
        if self.rungs is not None:
            self.rungs.add(proposal, outcome, score.curve if score is not None else ())

    def _record(self, number: int) -> None:
        lowest = min(individual.fidelity for individual in self.population)  # the rung that most of them are on
        first = [individual.values[0] for individual in self.population if individual.fidelity == lowest]
        self.logbook.record(
            folded=number + 1,
            known=self.known,
            min=min(first),
            mean=mean(first),
            max=max(first),
            std=deviation(first),
        )

    # Parts

    def _stream(self, stream: int, number: int) -> np.random.Generator:
        words = np.array([*self._seed_words, stream, number], dtype=np.uint32)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))

    def _individual(self, entry: InFlight) -> Individual | None:
        """The individual that came of a proposal, None for a failure."""
        proposal = entry.proposal
        if entry.outcome is None:
            return None
        return Individual(
            proposal.derivation,
            proposal.key,
            proposal.text,
            self._fitness(entry.outcome),
            proposal.parents,
            proposal.operator,
            proposal.number,
            fidelity=proposal.fidelity,
            repeat=proposal.repeat,
        )

    def _screen(
        self,
        features: Callable[[Derivation], Row] | None,
        prior: Sequence[tuple[Derivation, tuple[float, ...]]],
    ) -> Screen | None:
        """What the drafts are screened by, where the settings ask for it."""
        settings = self.settings
        if settings.screen == 1:
            return None
        surrogate = self.operators.get("surrogate", settings.surrogate)
        model = Model(
            self.space, surrogate, len(self.objectives), lambda number: self._stream(FITTING, number), features, prior
        )
        return Screen(model, settings.screen, settings.explore)

    def _strategy(self, seeds: tuple[Derivation, ...], own: Mapping[str, Any]) -> Strategy:
        """The strategy that the settings name, with the operators that they name."""
        settings, operators = self.settings, self.operators
        strategy = strategies.find(operators, settings.strategy)

        def named(kind: str, names: Sequence[str]) -> dict[str, Operator]:
            return {name: operators.get(kind, name) for name in sorted(names)} if names else operators.usual(kind)

        for name in filter(None, (settings.select, settings.survive)):
            operators.get("select", name)  # refused here where it is not there, whether the strategy selects or not
        context = strategies.Context(
            self.space,
            settings,
            operators,
            seeds,
            self.objectives,
            self.credit,
            operators.get("initialise", settings.initialise),
            named("mutate", settings.mutations),
            tuple(named("crossover", settings.crossovers).values()),
        )
        return strategies.make(strategy, own, context)

    def _checked(self, seeds: Mapping[str, Derivation] | Sequence[Derivation]) -> dict[str, Derivation]:
        named = dict(seeds) if isinstance(seeds, Mapping) else {str(i): seed for i, seed in enumerate(seeds)}
        for name, seed in named.items():
            try:
                key, limit = self._identity(seed)
            except ShapeError as error:
                raise ShapeError(f"seed {name!r} does not fit the input shape: {error}") from error
            if limit is not None:
                value = getattr(self.space.limits, limit, None)
                raise ConfigError(f"seed {name!r} is over the limit {limit}={value}; raise it or leave the seed out")
            self._seeds_by_derivation[seed] = identity(key, self.rungs.lowest if self.rungs is not None else FULL)
        return named


def _values(data: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if data is None else tuple(data)


def _words(seed: int) -> list[int]:
    """A seed as numpy's SeedSequence takes it in before a spawn key: 32 bits a word, at least four.

    SeedSequence(words + [stream, number]) is SeedSequence(seed, spawn_key=(stream, number)), made in half the time.
    """
    words = [seed >> shift & 0xFFFFFFFF for shift in range(0, max(seed.bit_length(), 1), 32)]
    return words + [0] * (4 - len(words))
