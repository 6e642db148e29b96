"""Charts of a report: what an axis leaves out, where labels stand, and what a page of a function holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evosearch import config as configuration
from evosearch.cli import DONE, main
from evosearch.report.html import write_report
from evosearch.report.page.svg import LINE, fitting, free, without_outliers
from evosearch.score import Score
from tests.journals import append_score
from tests.report_runs import created, searched, stamped

Segment = tuple[float, float, float, float]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.sampled_from([1, -1]))
def test_what_an_axis_is_made_for_holds_the_better_half(values: list[float], sign: int) -> None:
    kept = without_outliers(values, sign)
    assert sorted(values, key=lambda value: -sign * value)[: len(kept)] == sorted(kept, key=lambda value: -sign * value)
    assert len(kept) >= len(values) * 3 // 4
    fitting(kept, 100, 0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_outliers_do_not_flatten_the_curve(sign: int, scale: float) -> None:
    """One value a thousand times as far off as the others are apart: these have the axis."""
    values = [sign * scale * value for value in [*range(20, 60), -1e4]]
    y = fitting(without_outliers(values, sign), 300, 0)
    assert abs(y(sign * scale * 59) - y(sign * scale * 20)) > 200


@given(st.floats(0, 300), st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), max_size=6))
def test_a_label_stands_where_nothing_is(at: float, taken: list[tuple[float, float]]) -> None:
    """The nearest free height; any other, tried one by one, is as far or taken."""
    found = free(at, taken, 0, 300)

    def is_free(y: float) -> bool:
        return all(not min(pair) - LINE / 2 < y < max(pair) + LINE / 2 for pair in taken)

    others = [y for y in range(301) if is_free(y)]
    assert is_free(found) or not others
    assert all(abs(found - at) <= abs(y - at) + 1.001 for y in others)


def segments(path: str) -> Iterator[Segment]:
    """The straight pieces of a path that M, L, H, V, h and v draw."""
    x = y = 0.0
    for kind, numbers in re.findall(r"([MLHVhvZ])([-\d. ]*)", path):
        to = [float(number) for number in numbers.split()]
        before = x, y
        if kind in "ML":
            x, y = to
        elif kind in "Hh":
            x = to[0] + (x if kind == "h" else 0)
        elif kind in "Vv":
            y = to[0] + (y if kind == "v" else 0)
        if kind != "M":
            yield (*before, x, y)


def crossed(page: str, name: str) -> list[str]:
    """The labels of all charts of a name that a line goes through."""
    found = []
    for svg in re.findall(rf'<svg class="chart {name}".*?</svg>', page, re.DOTALL):
        drawn = ET.fromstring(svg)
        lines = [
            piece
            for path in drawn.iter("path")
            if path.get("class") in {"best", "chance", "grid", "axis", "own-line"}
            for piece in segments(path.get("d", ""))
        ]
        for text in drawn.iter("text"):
            if not (text.get("class") or "").startswith(("mark", "own")):
                continue
            left, at = float(text.get("x", 0)), float(text.get("y", 0))
            right = left + 6.5 * len(text.text or "")
            for ax, ay, bx, by in lines:
                steps = [(ax + (bx - ax) * k / 50, ay + (by - ay) * k / 50) for k in range(51)]
                if any(left < x < right and at - 5 < y < at + 5 for x, y in steps):
                    found.append(f"{text.text} at {at}: {(ax, ay, bx, by)}")
                    break
    return found


@pytest.mark.parametrize(("settings", "failing"), [({}, 0.0), ({"population": 60}, 0.3), ({"strategy": "random"}, 0.3)])
def test_no_line_goes_through_a_label(tmp_path: Path, settings: dict[str, Any], failing: float) -> None:
    run = searched(tmp_path / "r", budget=90, failing=failing, **settings)
    page = write_report(run.folder).read_text()
    assert 'class="mark' in page
    assert crossed(page, "progress") == []


def test_the_lines_of_a_test_are_seen() -> None:
    """That the test above can fail."""
    line = '<path class="best" d="M0 50H100"/>'
    svg = f'<svg class="chart progress">{line}<text class="mark" x="20" y="52">0.5</text></svg>'
    assert crossed(svg, "progress")


def function_run(folder: Path, values: list[float]) -> None:
    settings = configuration.validate({"grammar": "lang", "task": "fit:fitness", "search": {"budget": len(values)}}, "")
    with created(folder, settings, metric="fitness", input=None) as run:
        for number, value in enumerate(values):
            key = f"{number:032x}"
            made = {"number": number, "key": key, "text": "a", "parents": [], "operator": "sample", "seed": 1}
            run.append_proposal(made)
            append_score(run, stamped(Score(key, "ok", {"fitness": value}, seconds=0.1), number))


def test_a_function_has_no_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page says how many candidates its axis has no room for, and nothing of a size that no candidate has."""
    function_run(tmp_path / "r", [*map(float, range(30)), -1e9])
    page = write_report(tmp_path / "r").read_text()
    assert "One candidate is worse than the axis shows" in page
    assert "Parameters" not in page
    assert "0 parameters" not in page
    for command in ("status", "best", "list"):
        assert main([command, str(tmp_path / "r" if command != "list" else tmp_path)]) == DONE
    out = capsys.readouterr().out
    assert "parameters" not in out
