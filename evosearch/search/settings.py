"""How a search proposes and selects: the [search] table of a configuration."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from evosearch import ranges
from evosearch.errors import ConfigError
from evosearch.evaluation.measures import name_of
from evosearch.ranges import Ge, Natural, Positive, Share
from evosearch.search import adaptive


@dataclass(frozen=True)
class SearchSettings:
    """How a search proposes and selects.

    strategy: aging (evolution, the oldest leaves), nsga2 (several objectives), random (the baseline), or the name of a
        file of operators/strategy/; its own settings, if it has any, stand in [strategy].
    budget: candidates handed out for evaluation, failed ones included.
    objectives: names of the score's objectives, the first one decides where one must; "-name" minimises, "+name"
        maximises, a bare name does what is usual for it. Empty: the task's own metric; without a task, "fitness".
    population: individuals kept.
    initial: candidates sampled before parents are selected; 0: as many as `population`.
    tournament: individuals drawn for each parent.
    crossover: share of offspring with two parents.
    policy: which mutation is tried next: q, uniform, ratio, matching, pursuit, dmab.
    features: of its state.
    window: latest scores in which ranks are taken for rewards.
    alpha, gamma, floor: see `adaptive.Policy`.
    lookahead: proposals that may be made before the oldest one's score is in.
    order: "proposal" folds scores by number; "arrival" as they come, which never waits and is not reproducible.
    replacement: random search may propose a known candidate again.
    initialise, select, survive: operators by name; empty: the strategy's own.
    mutations, crossovers: operators by name; empty: all found, of mutations that keep their parents' function only
        where weights are inherited.
    screen: drafts of each proposal, of which the one that a surrogate expects most of is evaluated, once it has 32
        scores to learn from; 1: no screening.
    explore: share of screened proposals that are any one of the drafts.
    surrogate: what learns from the scores so far: extra_trees, boosting, svr, ridge, gbdt (LightGBM), or the name of a
        file of estimators/surrogate/.
    proxies: figures of a draft's untrained network that the surrogate sees beside those of its sentence, as naswot: of
        all drafts, so for candidates that take far longer than these do.
    learn: scores after which the grammar's weights are learned anew, from the best tenth of the candidates by then,
        ten at the least; samples and mutations are drawn by them. 0: never.
    rungs: shares of an evaluation, rising and below 1, at which candidates are tried first: successive halving, see
        `search.rungs`. Each is an evaluation of the budget. Empty: every candidate is evaluated in full.
    eta: one of so many of a rung is evaluated on the next.
    grow: whether the second rung is the highest at first, and a higher one is used where orders differ (PASHA).
    draws: draws without a new candidate that end the search.
    hall_of_fame: best individuals kept (one objective).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    strategy: str = "aging"
    budget: Positive = 500
    objectives: tuple[str, ...] = ()
    population: Positive = 20
    initial: Natural = 0
    tournament: Positive = 10
    crossover: Share = 0.1
    policy: str = "q"
    features: tuple[Literal["symbol", "depth", "stagnation"], ...] = ()
    window: Annotated[int, Ge(2)] = 50
    alpha: Share = 0.3
    gamma: Share = 0.0
    floor: Share = 0.1
    lookahead: Natural = 8
    order: Literal["proposal", "arrival"] = "proposal"
    replacement: bool = False
    initialise: str = "early_exit"
    select: str = ""
    survive: str = ""
    mutations: tuple[str, ...] = ()
    crossovers: tuple[str, ...] = ()
    screen: Positive = field(default=1, metadata={"neutral": 1})
    explore: Share = field(default=0.1, metadata={"neutral": 0.1})
    surrogate: str = field(default="extra_trees", metadata={"neutral": "extra_trees"})
    proxies: tuple[str, ...] = field(default=(), metadata={"neutral": ()})
    learn: Natural = field(default=0, metadata={"neutral": 0})
    rungs: tuple[float, ...] = field(default=(), metadata={"neutral": ()})
    eta: Annotated[int, Ge(2)] = field(default=3, metadata={"neutral": 3})
    grow: bool = field(default=False, metadata={"neutral": False})
    draws: Positive = 10_000
    hall_of_fame: Positive = 10
    seed: Natural = 0

    def __post_init__(self) -> None:
        ranges.check(self, "search")
        shares = (0.0, *self.rungs, 1.0)
        if any(low >= high for low, high in itertools.pairwise(shares)):
            raise ConfigError(f"search.rungs = {list(self.rungs)}: name rising shares, each above 0 and below 1")
        if self.grow and not self.rungs:
            raise ConfigError("search.grow: there are no rungs to grow; set search.rungs, as in [0.11, 0.33]")
        if self.initial > self.population:
            raise ConfigError(f"search.initial = {self.initial}: at most population = {self.population} are kept")
        if self.policy not in adaptive.POLICIES:
            raise ConfigError(
                f"search.policy: no policy named {self.policy!r}; there are: {', '.join(adaptive.POLICIES)}"
            )
        if len({name_of(text) for text in self.objectives}) < len(self.objectives):
            raise ConfigError(f"search.objectives: {', '.join(self.objectives)}: one objective is named twice")
