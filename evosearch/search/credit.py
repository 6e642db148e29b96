"""What operators earned: tallies, rewards by rank, and the credit of the adaptive policy that waits for its reward."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from evosearch.search.rungs import PROMOTE
from evosearch.variation import core, one_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from evosearch.architecture import Site, Space
    from evosearch.individual import Individual
    from evosearch.search.adaptive import Policy
    from evosearch.search.proposal import Candidate, InFlight
    from evosearch.search.settings import SearchSettings


@dataclass(slots=True)
class Tally:
    """What one operator did: calls, what became of them, and the reward its offspring earned in all."""

    calls: int = 0
    inapplicable: int = 0  # returned None
    invalid: int = 0  # shapes did not fit
    duplicates: int = 0  # known in this run
    over_limit: int = 0  # rejected before anything was built
    screened: int = 0  # another draft was expected to be better
    proposed: int = 0
    failed: int = 0  # evaluated, not ok
    improved: int = 0  # better than its parent
    reward: float = 0.0

    def pack(self) -> dict[str, Any]:
        """As plain values for msgpack; `screened` only where there is screening."""
        return {name: value for name, value in asdict(self).items() if name != "screened" or value}


class Window:
    """The latest scores, `size` at the most; from the first rank on each objective's values are also kept in order."""

    def __init__(self, size: int) -> None:
        self.scores: deque[tuple[float, ...]] = deque(maxlen=size)
        self._ordered: list[list[float]] = []

    def add(self, values: tuple[float, ...]) -> None:
        """One more score, in the place of the oldest where there is no room. values: signed, finite."""
        if self._ordered:
            if len(self.scores) == self.scores.maxlen:
                for ordered, value in zip(self._ordered, self.scores[0], strict=True):
                    del ordered[bisect_left(ordered, value)]
            for ordered, value in zip(self._ordered, values, strict=True):
                insort(ordered, value)
        self.scores.append(values)

    def rank(self, values: tuple[float, ...]) -> float:
        """Rank quantile among them, 0 to 1, ties half; the mean over several objectives."""
        if not self._ordered:
            self._ordered = [sorted(column) for column in zip(*self.scores, strict=True)]
        twice = 0
        for ordered, value in zip(self._ordered, values, strict=True):
            twice += bisect_left(ordered, value) + bisect_right(ordered, value)
        return twice / (2 * len(values) * len(self.scores))


class Credit:
    """The adaptive policy's view of a search: the state it is asked in, and the rewards it is told.

    A reward is the child's rank in the window of latest scores minus its parent's, 0 where it is not better. With
    gamma > 0 it stays with the individual as *pending credit* until that becomes a parent, whose state is then part of
    what was earned, or leaves the population.

    tallies: by operator. since_best: evaluations folded in since a better one came.
    """

    def __init__(self, space: Space, settings: SearchSettings, policy: Policy) -> None:
        self.space, self.settings, self.policy = space, settings, policy
        self.tallies: dict[str, Tally] = {}
        self.since_best = 0
        self._window = Window(settings.window)

    def tally(self, operator: str) -> Tally:
        """The operator's tally, a new one at its first mention."""
        found = self.tallies.get(operator)
        if found is None:
            found = self.tallies[operator] = Tally()
        return found

    # For strategies: choosing an operator

    def situation(self, parent: Individual, rng: np.random.Generator) -> tuple[str, Space]:
        """The policy's state for a parent, and the space in which an operator sees the places that the state is of.

        The parent's pending credit is paid: the result of it is known now that it has become a parent.
        """
        state, space = self._state(parent, rng)
        if parent.pending_credit is not None:
            before, action, reward = parent.pending_credit
            self.policy.credit(before, action, reward, state)
            parent.pending_credit = None
        return state, space

    def choose(self, state: str, operators: Sequence[str], rng: np.random.Generator) -> str:
        """The operator to try next; its trial is pending until it is declined, refused or folded in."""
        return self.policy.choose(state, operators, rng)

    def declined(self, operator: str, state: str | None = None) -> None:
        """An operator could not be applied. state: in which the policy chose it; None where it did not."""
        tally = self.tally(operator)
        tally.calls += 1
        tally.inapplicable += 1
        if state is not None:
            self.policy.credit(state, operator, 0.0)

    def _state(self, parent: Individual, rng: np.random.Generator) -> tuple[str, Space]:
        features, space = self.settings.features, self.space
        parts: list[str] = []
        if "symbol" in features or "depth" in features:
            sites = space.sites(parent.derivation)
            deepest = max(site.depth for site in sites) + 1

            def describe(site: Site) -> list[str]:
                alternative = core(site.derivation).alternative
                symbol = alternative.layer or alternative.rule
                return [
                    *([symbol] if "symbol" in features else []),
                    *([f"depth {site.depth * 3 // deepest}"] if "depth" in features else []),
                ]

            parts = describe(one_of(sites, rng))
            space = space.focused(parent.derivation, tuple(site for site in sites if describe(site) == parts))
        if "stagnation" in features:
            waited = self.since_best / max(self.settings.population, 1)
            parts.append(f"stagnation {0 if waited < 1 else 1 if waited < 4 else 2}")
        return ", ".join(parts), space

    # For the search's loop

    def refused(self, candidate: Candidate) -> None:
        """A candidate was not admitted: whoever chose its operator earned nothing."""
        if candidate.state is not None:
            self.policy.credit(candidate.state, candidate.operator, 0.0)

    def passed_over(self, candidate: Candidate) -> None:
        """A draft was admitted and another one proposed: nobody will know what it would have earned."""
        self.tally(candidate.operator).screened += 1
        if candidate.state is not None:
            self.policy.withdraw(candidate.state, candidate.operator)

    def folded(self, entry: InFlight, individual: Individual | None) -> None:
        """A score was folded in: count it, and pay or keep what it earned."""
        proposal, outcome = entry.proposal, entry.outcome
        tally = self.tally(proposal.operator)
        reward = quality = 0.0
        if outcome is None:
            tally.failed += 1
        else:
            if proposal.operator != PROMOTE:  # its figure is of a longer evaluation than those in the window
                self._window.add(outcome)
            if entry.parent is not None:
                quality = self._window.rank(outcome)
                reward = max(0.0, quality - self._window.rank(entry.parent))
                tally.improved += outcome > entry.parent
                tally.reward += reward
        if proposal.state is not None:
            earned = quality if self.policy.quality else reward
            if self.settings.gamma and individual is not None:
                individual.pending_credit = (proposal.state, proposal.operator, earned)
            else:
                self.policy.credit(proposal.state, proposal.operator, earned)
        self.since_best += 1

    def left(self, before: Iterable[Individual], now: Iterable[Individual]) -> None:
        """Pay the pending credit of individuals that are no longer in the population."""
        staying = set(map(id, now))
        for individual in before:
            if id(individual) not in staying and individual.pending_credit is not None:
                self.policy.credit(*individual.pending_credit)
                individual.pending_credit = None

    def pack(self) -> dict[str, Any]:
        """As plain values for msgpack."""
        return {
            "window": [list(values) for values in self._window.scores],
            "since_best": self.since_best,
            "policy": self.policy.pack(),
            "tallies": {name: tally.pack() for name, tally in self.tallies.items()},
        }

    def unpack(self, data: Mapping[str, Any]) -> None:
        for values in data["window"]:
            self._window.add(tuple(values))
        self.since_best = data["since_best"]
        self.policy.unpack(data["policy"])
        self.tallies = {name: Tally(**tally) for name, tally in data["tallies"].items()}
