"""Adaptive operator selection: which mutation to try next, learned from what each one earned.

A policy sees a *state* (a short text that describes where the search is), chooses one of the *actions* (the names of
the mutation operators) and later is told the *reward* in [0, 1] of that choice. Results are asynchronous: several
choices may be pending when the next is made, so a reward always names the state and action it belongs to, and a
pending trial counts as a trial.

Six policies stand behind one interface. Q-learning is the default; with gamma = 0 it is a contextual bandit.

Sources: Q-learning over mutations, HHNAS-AM (arXiv 2508.14946); probability matching and adaptive pursuit, Thierens
(GECCO 2005); D-MAB, Da Costa, Fialho, Schoenauer and Sebag (GECCO 2008); rank-based reward, Fialho et al. (2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from evosearch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

PolicyName = Literal["q", "uniform", "ratio", "matching", "pursuit", "dmab"]
POLICIES: tuple[str, ...] = get_args(PolicyName)


@dataclass(slots=True)
class Arm:
    """What one action in one state has earned.

    value: the policy's estimate of its reward. trials: times chosen. pending: of these, not yet credited.
    earned: sum of rewards. mean, deviation, peak: D-MAB's running mean and Page-Hinkley statistics; `since` counts
    the rewards since the last restart.
    """

    value: float
    trials: int = 0
    pending: int = 0
    earned: float = 0.0
    since: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    peak: float = 0.0


@dataclass
class Policy:
    """One small interface: choose, credit, and a table that goes into the checkpoint and the report.

    alpha: share of a new reward in the estimate. start: the estimate before the first reward; optimistic, so that
    every action is tried. floor: the least probability of an action, as a share of an equal share (0.1 with five
    actions: 0.02). `quality` policies are rewarded with the child's rank itself, the others with its improvement.
    """

    name: ClassVar[str] = ""
    quality: ClassVar[bool] = False

    alpha: float = 0.3
    start: float = 1.0
    floor: float = 0.1
    gamma: float = 0.0
    table: dict[str, dict[str, Arm]] = field(default_factory=dict)

    def choose(self, state: str, actions: Sequence[str], rng: np.random.Generator) -> str:
        """The action to try in this state. It counts as pending until `credit` names it."""
        arms = self.arms(state, actions)
        action = actions[self.pick(arms, rng)] if len(actions) > 1 else actions[0]
        arm = self.table[state][action]
        arm.trials += 1
        arm.pending += 1
        return action

    def credit(self, state: str, action: str, reward: float, following: str | None = None) -> None:
        """The reward in [0, 1] of one choice. following: the child's state when it became a parent (gamma > 0)."""
        arm = self.arms(state, (action,))[0]
        arm.pending -= 1
        arm.earned += reward
        self.learn(arm, reward + self.gamma * self.best(following))

    def withdraw(self, state: str, action: str) -> None:
        """A choice whose result will never be known is no trial: as if it had not been made."""
        arm = self.table[state][action]
        arm.trials -= 1
        arm.pending -= 1

    def arms(self, state: str, actions: Sequence[str]) -> list[Arm]:
        known = self.table.setdefault(state, {})
        arms = []
        for action in actions:
            arm = known.get(action)
            if arm is None:
                arm = known[action] = Arm(self.start)
            arms.append(arm)
        return arms

    def best(self, state: str | None) -> float:
        """max Q(state, .); 0 for a state never seen."""
        arms = self.table.get(state, {}) if state is not None and self.gamma else {}
        return max((arm.value for arm in arms.values()), default=0.0)

    def learn(self, arm: Arm, reward: float) -> None:
        arm.value += self.alpha * (reward - arm.value)

    def pick(self, arms: list[Arm], rng: np.random.Generator) -> int:
        """Index of the chosen arm."""
        return drawn(self.probabilities(arms), rng)

    def probabilities(self, arms: list[Arm]) -> list[float]:
        return matched([arm.value for arm in arms], self.floor)

    def worth(self) -> dict[str, float]:
        """Each action's value: the mean over states, weighted by how often it was chosen there."""
        chosen: dict[str, list[Arm]] = {}
        for arms in self.table.values():
            for action, arm in arms.items():
                if arm.trials:
                    chosen.setdefault(action, []).append(arm)
        return {
            action: sum(arm.value * arm.trials for arm in arms) / sum(arm.trials for arm in arms)
            for action, arms in chosen.items()
        }

    def pack(self) -> dict[str, Any]:
        """The table as plain values for msgpack."""
        return {
            state: {action: [getattr(arm, name) for name in Arm.__slots__] for action, arm in arms.items()}
            for state, arms in self.table.items()
        }

    def unpack(self, data: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        self.table = {state: {action: Arm(*values) for action, values in arms.items()} for state, arms in data.items()}


class Uniform(Policy):
    """Every action alike: the baseline that a learner has to beat."""

    name = "uniform"

    def probabilities(self, arms: list[Arm]) -> list[float]:
        return [1 / len(arms)] * len(arms)


class QLearning(Policy):
    """Q(s, a) <- Q + alpha (r + gamma max Q(s', .) - Q); actions in proportion to Q, floored.

    Optimistic start: Q begins at `start`, so untried actions are tried. A pending trial counts as one that earned
    its state's mean, so that a full look-ahead window does not spend itself on one untried action.
    """

    name = "q"

    def probabilities(self, arms: list[Arm]) -> list[float]:
        values = [arm.value for arm in arms]
        mean = sum(values) / len(values)
        expected = [
            mean + (arm.value - mean) * (1 - self.alpha) ** arm.pending if arm.pending else arm.value for arm in arms
        ]
        return matched(expected, self.floor)


class Ratio(Policy):
    """HHNAS-AM's rule: a candidate action is accepted with probability Q / max Q, rewarded with the child's quality.

    The paper mutates a feature with probability Q(s) / max Q * maxProb and rewards with validation accuracy; here the
    accuracy is the child's rank in the window, which has the same order and no unit.
    """

    name = "ratio"
    quality = True


class ProbabilityMatching(Policy):
    """Probabilities in proportion to the estimated rewards, none below the floor (Thierens 2005, section 2)."""

    name = "matching"


class AdaptivePursuit(Policy):
    """With each reward the best action's probability moves towards the most it may have, the others' to the least.

    Thierens 2005, section 3. The probabilities are kept in `mean` of each arm; beta, the speed, equals alpha.
    """

    name = "pursuit"

    def credit(self, state: str, action: str, reward: float, following: str | None = None) -> None:
        super().credit(state, action, reward, following)
        arms = list(self.table[state].values())
        share = 1 / len(arms)
        least = share * self.floor
        most = 1 - (len(arms) - 1) * least
        best = max(arms, key=lambda arm: arm.value)
        for arm in arms:
            current = arm.mean or share
            arm.mean = current + self.alpha * ((most if arm is best else least) - current)

    def probabilities(self, arms: list[Arm]) -> list[float]:
        total = sum(arm.mean for arm in arms)
        return [arm.mean / total for arm in arms] if total else [1 / len(arms)] * len(arms)


class DynamicBandit(Policy):
    """D-MAB: UCB1 on the mean reward; a Page-Hinkley test restarts the counts when a mean changes (Da Costa 2008).

    scaling: weight of UCB1's exploration term, for rewards in [0, 1]. threshold, tolerance: the test's lambda and
    delta. Pending trials count in n, so that one action is not chosen for a whole look-ahead window.
    """

    name = "dmab"
    scaling: ClassVar[float] = 0.5
    threshold: ClassVar[float] = 1.0
    tolerance: ClassVar[float] = 0.15

    def credit(self, state: str, action: str, reward: float, following: str | None = None) -> None:
        super().credit(state, action, reward, following)
        arm = self.table[state][action]
        arm.since += 1
        arm.mean += (reward - arm.mean) / arm.since
        arm.deviation += reward - arm.mean + self.tolerance
        arm.peak = max(arm.peak, arm.deviation)
        if arm.peak - arm.deviation > self.threshold:
            for other in self.table[state].values():
                other.since, other.mean, other.deviation, other.peak = 0, 0.0, 0.0, 0.0

    def pick(self, arms: list[Arm], rng: np.random.Generator) -> int:
        tried = [arm.since + arm.pending for arm in arms]
        least = min(tried)
        if least == 0:
            return _one_of([index for index, count in enumerate(tried) if count == 0], rng)
        total = math.log(sum(tried))
        bounds = [
            arm.mean * arm.since / count + self.scaling * math.sqrt(2 * total / count)
            for arm, count in zip(arms, tried, strict=True)
        ]
        highest = max(bounds)
        return _one_of([index for index, bound in enumerate(bounds) if bound == highest], rng)


def matched(values: Sequence[float], floor: float) -> list[float]:
    """Probabilities in proportion to the values, each at least `floor` of an equal share."""
    share = 1 / len(values)
    wanted = [value if value > 0 else 0.0 for value in values]
    total = sum(wanted)
    if total <= 0:
        return [share] * len(values)
    return [floor * share + (1 - floor) * value / total for value in wanted]


def drawn(probabilities: Sequence[float], rng: np.random.Generator) -> int:
    """An index drawn with these probabilities."""
    point = rng.random() * sum(probabilities)
    for index, probability in enumerate(probabilities):
        point -= probability
        if point < 0:
            return index
    return len(probabilities) - 1


def _one_of(indices: Sequence[int], rng: np.random.Generator) -> int:
    return indices[int(rng.integers(len(indices)))]


_CLASSES: dict[str, type[Policy]] = {
    cls.name: cls for cls in (QLearning, Uniform, Ratio, ProbabilityMatching, AdaptivePursuit, DynamicBandit)
}


def make(name: str, *, alpha: float = 0.3, gamma: float = 0.0, floor: float = 0.1, start: float = 1.0) -> Policy:
    """The policy of this name. Raises ConfigError where there is none."""
    cls = _CLASSES.get(name)
    if cls is None:
        raise ConfigError(f"search.policy: no policy named {name!r}; there are: {', '.join(POLICIES)}")
    return cls(alpha=alpha, gamma=gamma, floor=floor, start=start)
