"""What was expected of screened candidates, beside what came, in `evolve why` and in the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from evosearch.cli import DONE, main
from evosearch.report.foresight import LEAST, came, foreseen, kendall, stretches
from evosearch.report.html import write_report
from evosearch.report.reading import RunReading, read_run
from tests.report_runs import searched

BUDGET = 110


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> RunReading:
    folder = tmp_path_factory.mktemp("knew") / "screened"
    searched(folder, budget=BUDGET, screen=3, surrogate="ridge", lookahead=2)
    return read_run(folder)


def test_what_came_is_the_quantile_among_those_before(reading: RunReading) -> None:
    screened = [one for one in reading.candidates if one.expected is not None]
    assert len(screened) > 60
    scores = [one.objectives.get("accuracy", -np.inf) for one in reading.candidates]
    for one in screened:
        before, score = np.array(scores[: one.number]), scores[one.number]
        wanted = ((before < score).mean() + (before <= score).mean()) / 2 if score > -np.inf else 0.0
        assert came(reading, one) == pytest.approx(wanted)
    assert came(reading, reading.candidates[0]) is None


def test_stretches_are_scipys_taus_of_equal_parts(reading: RunReading) -> None:
    """Each candidate that succeeded is in one stretch; where all are equal there is no tau. What was expected is the
    value at the quantile of those before, as numpy finds it, and beyond them where it is beyond."""
    known = foreseen(reading)
    able = [one for one in reading.candidates if one.expected is not None and one.status == "ok"]
    assert known.numbers.tolist() == [one.number for one in able]
    inside = 0
    scores = np.array([one.objectives.get("accuracy", -np.inf) for one in reading.candidates])
    for one, expected in zip(able, known.expected, strict=True):
        before = np.sort(scores[: one.number])
        middles = (np.arange(len(before)) + 0.5) / len(before)
        there, (quantile, _) = before > -np.inf, one.expected or (np.nan, 0)
        lowest, highest = middles[there][0], middles[-1]
        if lowest <= quantile <= highest:
            assert expected == pytest.approx(np.interp(quantile, middles[there], before[there]))
            inside += 1
        else:
            assert expected < before[there][0] if quantile < lowest else expected > before[-1]
    assert inside > len(able) / 2
    values = [one.objectives["accuracy"] for one in able]
    whole, parts = stretches(known)
    assert whole is not None
    assert sum(part.count for part in parts) == whole.count == len(able)
    assert min(part.count for part in parts) >= LEAST
    assert whole.surrogate == pytest.approx(kendalltau(known.expected, values).statistic)
    sizes = [one.objectives.get("params", 0) for one in able]
    assert whole.sizes["params"] == pytest.approx(kendalltau(sizes, values).statistic)
    assert kendall(np.ones(3), np.arange(3.0)) is None
    assert stretches(known.part(0, LEAST - 1)) == (None, [])


def test_the_report_has_it_beside_size(reading: RunReading, tmp_path: Path) -> None:
    page = write_report(reading.folder, tmp_path / "page.html").read_text()
    whole, _ = stretches(foreseen(reading))
    assert whole is not None
    assert whole.surrogate is not None
    assert f"<strong>{whole.surrogate:.2f}</strong>, beside {whole.sizes['params']:.2f} of parameters" in page
    assert 'class="chart knew"' in page


def test_a_run_without_screening_has_no_such_section(tmp_path: Path) -> None:
    searched(tmp_path / "run", budget=30)
    assert 'id="knew"' not in write_report(tmp_path / "run").read_text()


def test_why_says_what_was_expected(reading: RunReading, capsys: pytest.CaptureFixture[str]) -> None:
    one = next(one for one in reading.candidates if one.expected is not None and one.status == "ok")
    assert one.expected is not None
    quantile, deviation = one.expected
    outcome = came(reading, one)
    assert outcome is not None
    assert main(["why", str(reading.folder), one.key]) == DONE
    said = capsys.readouterr().out
    assert f"to be better than {quantile:.0%} so far" in said
    assert f"better than {outcome:.0%} so far" in said
    assert main(["why", str(reading.folder), one.key, "--json"]) == DONE
    told = json.loads(capsys.readouterr().out)["expected"]
    assert told == {"quantile": quantile, "deviation": deviation, "came": outcome}
    assert main(["why", str(reading.folder), reading.candidates[0].key, "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["expected"] is None
