"""Rules that end trainings early: what they foresee, and what the report says that they saved and cost."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch import grammar, operators
from evosearch.architecture import Space
from evosearch.engine.curves import Curves
from evosearch.evaluation import stopping
from evosearch.evaluation.stopping.curve import RENEWED, Curve, _features
from evosearch.evaluation.stopping.median import Median
from evosearch.report.html import write_report
from evosearch.report.reading import read_run
from evosearch.report.stopping import happened, replayed
from evosearch.score import Score
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.search.history import History
from evosearch.store.framing import decode, encode
from tests.report_runs import searched

EPOCHS = 10
NOISE = 0.01  # deviation of a figure
Matrix = np.ndarray[Any, np.dtype[np.float64]]


def curves(count: int, seed: int = 0, noise: float = NOISE) -> Matrix:
    """Saturating curves, (count, EPOCHS): ends of 0.5 to 0.95, their speeds of their own."""
    rng = np.random.default_rng(seed)
    ends, speeds = rng.uniform(0.5, 0.95, (count, 1)), rng.uniform(0.3, 1.0, (count, 1))
    epochs = np.arange(1, EPOCHS + 1)
    found: Matrix = ends * (1 - np.exp(-speeds * epochs)) + noise * rng.standard_normal((count, EPOCHS))
    return found


def ended(rule: Curve, brief: Any, curve: Matrix, sign: int = 1) -> int:
    """After how many epochs the rule ends a training."""
    return next((at for at in range(1, EPOCHS) if rule.stop(brief, tuple(curve[:at]), sign)), EPOCHS)


@pytest.mark.parametrize(("sign", "count"), [(1, 200), (-1, 100)])
def test_the_curve_rule_saves_half_of_the_epochs_and_keeps_the_best_but_for_noise(sign: int, count: int) -> None:
    """In order, each told of those before: half of all epochs at the least, and one is trained in whole that
    is as good as the best."""
    found, rule = sign * curves(count), Curve()
    known: list[Matrix] = []
    for one in found:
        known.append(one[: ended(rule, rule.brief(map(tuple, known)), one, sign)])
    lengths = np.array([len(one) for one in known])
    assert lengths.sum() < 0.55 * found.size
    ends = sign * found[:, -1]
    assert ends.max() - ends[lengths == EPOCHS].max() <= NOISE


def test_its_curves_are_learned_from_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums in another order have other last bits, and a run would hang on how many cores a machine has."""
    from sklearn.linear_model import BayesianRidge
    from threadpoolctl import threadpool_info, threadpool_limits

    used: set[int] = set()
    fit = BayesianRidge.fit

    def seen(self: Any, *given: Any) -> Any:
        used.update(one["num_threads"] for one in threadpool_info())
        return fit(self, *given)

    monkeypatch.setattr(BayesianRidge, "fit", seen)
    with threadpool_limits(2):
        Curve().brief(map(tuple, curves(30)))
    assert used == {1}


def test_one_in_twenty_that_it_ends_is_better_than_the_best_at_the_most() -> None:
    """P(end <= best) >= 0.95 where the curves are of one kind with those that it has learned from."""
    rule = Curve()
    brief = rule.brief(map(tuple, curves(100)))
    best = curves(100)[:, -1].max()
    wrong = [one[-1] > best for one in curves(2000, seed=5) if ended(rule, brief, one) < EPOCHS]
    assert len(wrong) > 1000
    assert np.mean(wrong) <= 0.05


def test_its_deviation_is_that_of_curves_left_out() -> None:
    """Against fits without each curve in turn, by the same priors."""
    found = curves(40)
    _, _, fits = Curve().brief(map(tuple, found))
    from sklearn.linear_model import BayesianRidge, Ridge

    x, y = _features(found[:, :3]), found[:, -1]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    prior = BayesianRidge().fit(z, y)
    left = [np.arange(40) != out for out in range(40)]
    errors = [
        y[~keep][0] - Ridge(alpha=prior.lambda_ / prior.alpha_).fit(z[keep], y[keep]).predict(z[~keep])[0]
        for keep in left
    ]
    assert fits[2][1] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.05)


def test_what_a_training_is_told_is_plain_and_a_function_of_the_curves() -> None:
    """It crosses processes as msgpack, and a rule that saw it grow says the same as one made anew."""
    found, steady = [tuple(map(float, one)) for one in curves(60)], Curve()
    for count in (19, 20, 25, 33, 60):
        brief = steady.brief(found[:count])
        anew = Curve().brief(found[:count])
        assert brief == anew
        assert (brief is None) == (count < 20)
        again = decode(encode(brief))
        assert [steady.stop(again, one[:3], 1) for one in found] == [steady.stop(brief, one[:3], 1) for one in found]
    assert Curve().brief([(0.5,)] * 30) is None
    assert Curve(least=20).brief(found[: 20 + RENEWED - 1])[2] == Curve().brief(found[:20])[2]


@pytest.mark.parametrize("name", stopping.bundled())
def test_a_rule_that_is_told_of_curves_one_by_one_says_what_it_says_of_all_at_once(name: str) -> None:
    """Also where some ended early, and where longer ones come later."""
    rng = np.random.default_rng(3)
    found = [tuple(map(float, one[: rng.integers(0, EPOCHS + 1) or EPOCHS])) for one in curves(70)]
    found += [tuple(map(float, one)) for one in np.hstack([curves(21, 1), curves(21, 2)[:, :2]])]
    rule = stopping.find(name)
    assert rule is not None
    known = stopping.known(rule)
    for at, curve in enumerate(found, 1):
        known.add(curve)
        if at % 10 == 0 or at > 89:
            assert known.brief() == rule.brief(iter(found[:at]))


def test_the_median_is_numpy_s() -> None:
    found = curves(40)
    assert Median().brief(map(tuple, found)) == tuple(np.median(found, axis=0))


def bits(**settings: Any) -> Search:
    there = Space(grammar.loads('// input: none\nstart: bit bit bit bit bit bit bit bit\nbit: "0" | "1"\n'), None, None)
    return Search(there, SearchSettings(population=6, **settings), operators.find(), history=True)


def walked(search: Search, proposal: Proposal, window: int) -> list[tuple[float, ...]]:
    """The curves of the same fidelity below a proposal's window, by their numbers."""
    rows = [row for row in search.history if row.number < proposal.number - window]
    return [row.curve for row in sorted(rows, key=lambda row: row.number) if row.fidelity == proposal.fidelity]


@pytest.mark.parametrize("settings", [{}, {"rungs": (0.25,)}, {"order": "arrival"}], ids=["plain", "rungs", "arrival"])
def test_each_curve_of_a_run_is_looked_at_once(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """And a training is told what the rule says of all of them below its window."""
    search, window = bits(budget=90, lookahead=4, **settings), 0 if "order" in settings else 4
    given, looked = Curves(Median(), search), Counter[int]()
    curve = History.curve

    def counted(self: History, row: int) -> tuple[float, ...]:
        looked[row] += 1
        return curve(self, row)

    rng, out = np.random.default_rng(0), list[Proposal]()
    while not search.done:
        proposal = search.ask()
        if proposal is not None:
            with monkeypatch.context() as patch:
                patch.setattr(History, "curve", counted)
                brief = given.brief(proposal)
            assert brief == Median().brief(walked(search, proposal, window))
            out.append(proposal)
        if proposal is None or len(out) > 3:
            told = out.pop(int(rng.integers(len(out))))
            ends = tuple(map(float, np.sort(rng.random(6))))
            search.tell(told.number, Score(told.key, "ok", {"fitness": ends[-1]}, curve=ends))
    assert len(looked) > 80
    assert set(looked.values()) == {1}


def test_who_is_evaluated_out_of_order_is_told_of_no_more_than_it_was_made_from() -> None:
    search = bits(budget=60, lookahead=2)
    given = Curves(Median(), search)
    proposals = []
    for number in range(40):
        proposal = search.ask()
        assert proposal is not None
        proposals.append(proposal)
        search.tell(number, Score(proposal.key, "ok", {"fitness": number / 40}, curve=(number / 80, number / 40)))
    for proposal in (proposals[30], proposals[12], proposals[39]):
        assert given.brief(proposal) == Median().brief(walked(search, proposal, 2)) != ()


def test_the_report_says_what_each_rule_would_have_saved_and_cost(tmp_path: Path) -> None:
    """The median rule, by hand; the curves of these runs are straight, so that their ends are foreseen from the first
    epoch on and nothing is lost.
    """
    searched(tmp_path / "run", budget=80, strategy="random", lookahead=3, failing=0.0)
    run = read_run(tmp_path / "run")
    tried = {one.rule: one for one in replayed(run)}
    assert sorted(tried) == ["curve", "median"] == list(stopping.bundled())
    lines = [one.score["curve"] for one in run.scored() if one.score]
    rule, known, saved = stopping.find("median"), list[Any](), 0
    assert rule is not None
    for at, curve in enumerate(lines):
        brief = rule.brief(known[: max(0, at - 3)])
        ends = next((n for n in range(1, len(curve)) if rule.stop(brief, curve[:n], 1)), len(curve))
        known.append(curve[:ends])
        saved += len(curve) - ends
    assert tried["median"].saved == saved > 50
    assert tried["curve"].saved > 200
    assert tried["curve"].lost == 0
    page = write_report(tmp_path / "run").read_text()
    assert f"{saved:,} ({100 * saved / sum(map(len, lines)):.0f} %)" in page
    assert happened(run) is None


def test_behind_a_warm_up_the_first_fit_loads_nothing() -> None:
    """On a live page it would be some score's second."""
    script = """
import sys
from evosearch.evaluation import stopping
from evosearch.report.stopping import warm_up
warm_up()
before = set(sys.modules)
for name in stopping.bundled():
    known = stopping.known(stopping.find(name))
    for at in range(50):
        known.add((at / 50, at % 7, at % 11))
    assert known.brief()
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
