"""Adaptive policies: they find what pays, credit goes where it belongs, and a restored one goes on as before."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from evosearch.errors import ConfigError
from evosearch.search import adaptive

ACTIONS = ("a", "b", "c", "d")
LEARNERS = tuple(name for name in adaptive.POLICIES if name != "uniform")


def play(
    policy: adaptive.Policy, pays: dict[str, float], rounds: int, seed: int = 0, delay: int = 0, state: str = ""
) -> Counter[str]:
    """Bernoulli arms: an action earns 1 with its probability. Rewards arrive `delay` rounds late."""
    rng = np.random.default_rng(seed)
    waiting: list[tuple[str, float]] = []
    chosen: Counter[str] = Counter()
    for _ in range(rounds):
        action = policy.choose(state, ACTIONS, rng)
        chosen[action] += 1
        waiting.append((action, float(rng.random() < pays[action])))
        if len(waiting) > delay:
            policy.credit(state, *waiting.pop(0))
    for action, reward in waiting:
        policy.credit(state, action, reward)
    return chosen


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("delay", [0, 8])
def test_learners_prefer_the_action_that_pays(name: str, delay: int) -> None:
    """The one good action of four is chosen far more often than the quarter that chance gives, also asynchronously."""
    share = [
        play(adaptive.make(name), {"a": 0.02, "b": 0.02, "c": 0.5, "d": 0.02}, 400, seed, delay) for seed in range(5)
    ]
    assert np.mean([chosen["c"] / 400 for chosen in share]) > 0.45


@pytest.mark.parametrize("name", adaptive.POLICIES)
def test_no_action_starves(name: str) -> None:
    """The floor: even an action that never earned anything is still tried."""
    chosen = play(adaptive.make(name), {"a": 0.0, "b": 0.0, "c": 0.9, "d": 0.0}, 2000)
    assert min(chosen[action] for action in ACTIONS) >= 15


def test_uniform_is_uniform_whatever_is_earned() -> None:
    chosen = play(adaptive.make("uniform"), {"a": 0.0, "b": 0.0, "c": 1.0, "d": 0.0}, 4000)
    assert sum((chosen[action] - 1000) ** 2 / 1000 for action in ACTIONS) < 16.3  # chi-square, 3 degrees, p = 0.001


def test_q_follows_its_update_rule() -> None:
    """Q <- Q + alpha (r + gamma max Q' - Q) from an optimistic 1, by hand."""
    policy = adaptive.make("q", alpha=0.3, gamma=0.5)
    rng = np.random.default_rng(0)
    policy.choose("s", ("a",), rng)
    policy.choose("t", ("a",), rng)
    policy.credit("t", "a", 0.0)
    assert policy.table["t"]["a"].value == pytest.approx(0.7)
    policy.credit("s", "a", 0.2, following="t")
    assert policy.table["s"]["a"].value == pytest.approx(1 + 0.3 * (0.2 + 0.5 * 0.7 - 1))


def test_states_learn_apart() -> None:
    policy = adaptive.make("q")
    play(policy, {"a": 0.9, "b": 0.0, "c": 0.0, "d": 0.0}, 200, state="start")
    play(policy, {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.9}, 200, state="late")
    best = {state: max(arms, key=lambda name: arms[name].value) for state, arms in policy.table.items()}
    assert best == {"start": "a", "late": "d"}


@pytest.mark.parametrize("name", ["q", "dmab"])
def test_a_pending_trial_counts(name: str) -> None:
    """With nothing credited yet, a window of choices is spread over the actions, not spent on one."""
    policy = adaptive.make(name)
    play(policy, dict.fromkeys(ACTIONS, 0.3), 40)
    policy.table[""]["a"].value = policy.table[""]["a"].mean = 1.0
    rng = np.random.default_rng(1)
    chosen = Counter(policy.choose("", ACTIONS, rng) for _ in range(12))
    assert len(chosen) >= 3
    assert sum(arm.pending for arm in policy.table[""].values()) == 12


@pytest.mark.parametrize("name", adaptive.POLICIES)
def test_every_trial_is_credited_once(name: str) -> None:
    policy = adaptive.make(name)
    chosen = play(policy, dict.fromkeys(ACTIONS, 0.5), 100, delay=8)
    arms = policy.table[""]
    assert {action: arm.trials for action, arm in arms.items()} == dict(chosen)
    assert all(arm.pending == 0 for arm in arms.values())


@pytest.mark.parametrize("name", adaptive.POLICIES)
def test_a_restored_policy_goes_on_as_it_would_have(name: str) -> None:
    pays = {"a": 0.1, "b": 0.6, "c": 0.3, "d": 0.1}
    policy, restored = adaptive.make(name), adaptive.make(name)
    play(policy, pays, 60, delay=3)
    restored.unpack(policy.pack())
    assert restored.table == policy.table
    assert play(policy, pays, 60, seed=9) == play(restored, pays, 60, seed=9)


def test_adaptive_pursuit_reaches_its_greatest_probability() -> None:
    """Thierens 2005: the best action's probability tends to 1 - (K - 1) p_min."""
    policy = adaptive.make("pursuit", floor=0.2)
    play(policy, {"a": 0.0, "b": 0.0, "c": 1.0, "d": 0.0}, 300)
    assert policy.probabilities(policy.arms("", ACTIONS))[2] == pytest.approx(1 - 3 * 0.2 / 4, abs=1e-3)


def test_dmab_notices_that_the_best_action_changed() -> None:
    """The Page-Hinkley test restarts the counts, and the newly good action takes over."""
    policy = adaptive.make("dmab")
    play(policy, {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}, 300)
    after = play(policy, {"a": 0.0, "b": 1.0, "c": 0.0, "d": 0.0}, 300, seed=1)
    assert after["b"] > 200


def test_matched_probabilities_sum_to_one_and_keep_the_floor() -> None:
    probabilities = adaptive.matched([0.0, 0.0, 5.0, 0.1], floor=0.1)
    assert sum(probabilities) == pytest.approx(1)
    assert min(probabilities) == pytest.approx(0.1 / 4)
    assert adaptive.matched([0.0, 0.0], floor=0.1) == [0.5, 0.5]


def test_an_unknown_policy_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"no policy named 'bandit'; there are: q, uniform"):
        adaptive.make("bandit")
