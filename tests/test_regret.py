"""Choosing among candidates whose every look is noisy: the regret that is stated is not below the one there is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evosearch.engine import regret

VALUES = st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=5), min_size=1, max_size=6)


def _chosen(truth: Sequence[float], bound: float, most: int, rng: np.random.Generator) -> tuple[int, float, int]:
    """Looks until the regret is under the bound: what is taken, the regret as stated, and how many looks it took."""
    looks: list[list[float]] = [[] for _ in truth]
    stated = math.inf
    while sum(map(len, looks)) < most:
        one = regret.next_look(looks, regret.noise(looks, 1.0))
        looks[one].append(float(rng.normal(truth[one], 1.0)))
        if all(looks):
            stated = regret.expected(looks, regret.noise(looks, 1.0))
            if stated < bound:
                break
    return regret.taken(looks), stated, sum(map(len, looks))


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_what_is_lost_is_within_the_bound(spread: float) -> None:
    """Simulated: candidates as far apart as their noise, nearer and farther; and less is lost than by one look each."""
    rng = np.random.default_rng(0)
    lost, once = [], []
    for _ in range(200):
        truth = rng.normal(0, spread, 5)
        best, _, _ = _chosen(truth.tolist(), 0.2, 60, rng)
        lost.append(truth.max() - truth[best])
        once.append(truth.max() - truth[int(np.argmax(rng.normal(truth, 1.0)))])
    assert np.mean(lost) < 0.2
    assert np.mean(lost) < 0.8 * np.mean(once)


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_what_is_stated_is_not_below_what_is_lost(spread: float) -> None:
    rng = np.random.default_rng(0)
    lost, stated = [], []
    for _ in range(1000):
        truth = rng.normal(0, spread, 5)
        looks = rng.normal(truth[:, None], 1.0, (5, 3)).tolist()
        lost.append(truth.max() - truth[regret.taken(looks)])
        stated.append(regret.expected(looks, regret.noise(looks, 1.0)))
    assert np.mean(lost) < np.mean(stated)


def test_looks_go_where_they_tell_most() -> None:
    """To reach the same regret, fewer than in turns."""
    rng = np.random.default_rng(1)
    truth = [0.0, -0.3, -3.0, -3.0, -3.0, -3.0]
    asked = [_chosen(truth, 0.15, 400, rng)[2] for _ in range(40)]

    def in_turns() -> int:
        looks: list[list[float]] = [[] for _ in truth]
        while True:
            for values, value in zip(looks, truth, strict=True):
                values.append(float(rng.normal(value, 1.0)))
            if regret.expected(looks, regret.noise(looks, 1.0)) < 0.15:
                return sum(map(len, looks))

    assert np.mean(asked) < 0.7 * np.mean([in_turns() for _ in range(40)])


@given(VALUES, st.floats(0, 2))
def test_the_regret_is_none_of_one_and_grows_with_the_noise(looks: list[list[float]], deviation: float) -> None:
    found = regret.expected(looks, deviation)
    assert found >= 0
    assert regret.expected(looks[:1], deviation) == 0
    assert regret.expected(looks, 2 * deviation) >= found - 1e-12


def test_of_two_it_is_the_mean_of_the_positive_part_of_their_difference() -> None:
    """Against a sum over many draws."""
    looks = [[0.5, 0.7], [0.4]]
    draws = np.random.default_rng(0).normal(0.4 - 0.6, 0.3 * math.sqrt(1 / 2 + 1), 400_000)
    assert regret.expected(looks, 0.3) == pytest.approx(np.maximum(draws, 0).mean(), rel=0.01)


def test_noise_is_pooled() -> None:
    assert regret.noise([[1.0], [2.0]], 0.1) == pytest.approx(0.1)
    assert regret.noise([[1.0, 3.0], [2.0]], 0.0) == pytest.approx(1.0)
