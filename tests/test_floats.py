"""Every float is a fitness: the largest and smallest doubles, denormals, equal values, one finite among infinities."""

from __future__ import annotations

import math
import re
import statistics
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evosearch.cli import DONE, main
from evosearch.individual import Individual, fitness_class
from evosearch.moments import deviation, mean, share
from evosearch.operators import find
from evosearch.report.figures import Sample, best_of_draws
from evosearch.report.live import sparkline
from evosearch.report.page.svg import fitting
from evosearch.report.text import figure
from evosearch.store.run import Run
from tests.spaces import space

MOST, LEAST = sys.float_info.max, math.ulp(0.0)
EXTREME = [MOST, -MOST, LEAST, -LEAST, sys.float_info.min, 0.0, -0.0, 1e300, -1e300, 1.0]
FLOATS = st.one_of(st.sampled_from(EXTREME), st.floats(allow_nan=False, allow_infinity=False))
LISTS = st.lists(FLOATS, min_size=1, max_size=30)


@given(LISTS)
def test_the_mean_is_the_exact_one_but_for_its_last_digits(values: list[float]) -> None:
    exact = sum(map(Fraction, values), Fraction()) / len(values)
    found = mean(values)
    assert min(values) <= found <= max(values) or math.isclose(found, max(values, key=abs), rel_tol=1e-15)
    assert abs(Fraction(found) - exact) <= Fraction(max(map(abs, values))) / 10**14 + Fraction(LEAST)


@given(LISTS)
def test_the_deviation_is_finite_and_within_the_range(values: list[float]) -> None:
    found = deviation(values)
    assert 0 <= found <= max(map(abs, values)) * (1 + 1e-12)
    if max(map(abs, values)) < 1e100:
        assert found == float(np.std(values))


@given(FLOATS, FLOATS, FLOATS)
def test_a_share_lies_between_its_ends(a: float, b: float, c: float) -> None:
    low, value, high = sorted((a, b, c))
    if low < high:
        assert 0 <= share(value, low, high) <= 1
        assert share(low, low, high) == 0
        assert share(high, low, high) == 1


@given(LISTS)
def test_charts_have_a_place_for_every_value(values: list[float]) -> None:
    """And ticks that are numbers, inside the scale."""
    scale = fitting(values, 0.0, 500.0)
    assert all(math.isfinite(scale(value)) for value in values)
    assert all(math.isfinite(tick) and scale.low <= tick <= scale.high for tick in scale.ticks(24))


@given(st.lists(st.one_of(FLOATS, st.sampled_from([math.inf, -math.inf, math.nan])), max_size=40))
def test_a_sparkline_has_a_bar_for_every_finite_value(values: list[float]) -> None:
    line = sparkline(values)
    if any(map(math.isfinite, values)):
        assert [bar != " " for bar in line] == [math.isfinite(value) for value in values]


@given(LISTS, st.sampled_from([1, -1]), st.integers(0, 3))
def test_the_best_of_draws_lies_among_them(values: list[float], sign: int, failed: int) -> None:
    band = best_of_draws(Sample(tuple(values), failed), sign, 50)
    assert band is not None
    slack = 1e-9 * max(map(abs, values))
    for found in (*band.mean, *band.low, *band.high):
        assert min(values) - slack <= found <= max(values) + slack


@given(FLOATS)
def test_a_figure_is_as_short_as_a_column(value: float) -> None:
    assert len(figure(value)) <= 15
    shown = Fraction(figure(value))  # rounded, it may be past the largest double
    assert abs(shown - Fraction(value)) <= max(
        abs(Fraction(value)) / 1000, Fraction(1, 10_000) if abs(value) > 1e-4 else 0
    )


# --- NSGA-II


def population(rows: Sequence[tuple[float, ...]]) -> list[Individual]:
    derivation = space("einspace").draw(np.random.default_rng(0))
    fitness = fitness_class(len(rows[0]))
    return [
        Individual(derivation, f"{number:032x}", "", fitness(values), (), "redraw", number)
        for number, values in enumerate(rows)
    ]


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=3, max_size=20))
def test_survivors_are_those_of_the_same_values_scaled(rows: list[tuple[float, float]]) -> None:
    """No crowding distance is NaN, and what a front's ends are does not hang on how large they are."""
    found = find().get("select", "nsga2").function(population(rows), len(rows), np.random.default_rng(0))
    assert len(found) == len(rows)
    assert not any(math.isnan(individual.crowding) for individual in found)
    order = [(individual.rank, -individual.crowding) for individual in found]
    assert order == sorted(order)


def test_a_range_past_all_doubles_is_measured_like_another() -> None:
    """Three between the ends of a front, at a quarter, a half and three quarters of it."""
    at = [-MOST, -MOST / 2, 0.0, MOST / 2, MOST]
    rows = [(value, -value) for value in at]
    large = find().get("select", "nsga2").function(population(rows), 5, np.random.default_rng(0))
    small = (
        find()
        .get("select", "nsga2")
        .function(population([(a / MOST, b / MOST) for a, b in rows]), 5, np.random.default_rng(0))
    )
    for one, other in zip(large, small, strict=True):
        assert (one.born, one.rank) == (other.born, other.rank)
        assert one.crowding == pytest.approx(other.crowding)


# --- whole runs

FITNESS = f"""
VALUES = {[repr(value) for value in EXTREME]}
INFINITE = float("inf"), float("-inf"), float("nan")

def spread(text, derivation, seed):
    return float(VALUES[seed % len(VALUES)])

def same(text, derivation, seed):
    return {MOST!r}

def denormal(text, derivation, seed):
    return {LEAST!r} * (seed % 3)

def one_finite(text, derivation, seed):
    return 1.0 if text == "a" else INFINITE[seed % 3]

def two(text, derivation, seed):
    return {{"+a": float(VALUES[seed % len(VALUES)]), "-b": float(VALUES[seed // 16 % len(VALUES)])}}

def one_of_two(text, derivation, seed):
    return {{"+a": float(len(text)), "-b": 5.0}}

def neither_of_two(text, derivation, seed):
    return {{"+a": 1.0, "-b": 5.0}}
"""
TWO = ("two", "one_of_two", "neither_of_two")  # objectives, of which both, one or none tells candidates apart
NSGA2 = ["--strategy", "nsga2", "--set", 'search.objectives=["+a","-b"]']


@pytest.mark.parametrize("name", ["spread", "same", "denormal", "one_finite", *TWO])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_run_of_any_floats_ends_and_is_resumed_reported_verified_and_repaired(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evosearch.toml").write_text("")
    letters = " | ".join(f'"{letter}"' for letter in "abcdefgh")
    (tmp_path / "lang.lark").write_text(f'// input: none\nstart: {letters} | both\nboth: "(" start "," start ")"\n')
    module = f"floats_{name}"
    (tmp_path / f"{module}.py").write_text(FITNESS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    arguments = ["--grammar", "lang.lark", "--budget", "60", "--name", "r", "-q", "--set", "workers.pool=inline"]
    strategy = NSGA2 if name in TWO else []
    assert main(["run", "--task", f"{module}:{name}", *arguments, *strategy]) == DONE
    for command in ("verify r", "repair r", "resume r --budget 90 -q", "report r", "status r", "best r", "list"):
        assert main(command.split()) == DONE, (command, capsys.readouterr().err)
    assert sum(record["kind"] == "score" for record in Run.open(tmp_path / "runs/r").records()) == 90
    page = (tmp_path / "runs/r/report.html").read_text()
    assert not re.findall(r'\b(?:x|y|cx|cy|d|points|x1|y1|x2|y2|width|height|transform)="[^"]*(?:nan|inf)[^"]*"', page)
    assert statistics.fmean([len(line) for line in capsys.readouterr().out.splitlines()]) < 200
