"""Comparing searches: the harness gives what probability theory says, and the same on any number of processes."""

from __future__ import annotations

import csv
import itertools
import json
import multiprocessing
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evosearch import bench, grammar, operators, tasks
from evosearch.architecture import Space
from evosearch.errors import GrammarError, TaskError, UsageError
from evosearch.search import Search, SearchSettings

CELLS = """
// input: none
start: "cell" "(" op "," op "," op "," op ")" -> cell
op: "a" -> a | "b" -> b | "c" -> c
"""
BUDGETS = (5, 20, 40)
SEEDS = 24


def value(cell: tuple[str, ...]) -> tuple[float, float]:
    """(validation, test) of a cell: the letters' values added, with a term that makes every cell's its own."""
    validation = sum(10.0**-place * "bca".index(letter) for place, letter in enumerate(cell))
    return validation, 50 + 10 * validation + (3 if cell[3] == "c" else 0)


def arena_of(folder: Path, header: str, row: Callable[[tuple[str, ...]], str]) -> bench.Arena:
    """All cells of four letters, each with the columns that `row` gives it."""
    lines = [f"arch,{header}"]
    lines += [f'"cell({",".join(cell)})",{row(cell)}' for cell in itertools.product("abc", repeat=4)]
    (folder / "cells.csv").write_text("\n".join(lines))
    (folder / "cells.lark").write_text(CELLS)
    return bench.Arena(f"table:{folder / 'cells.csv'}", str(folder / "cells.lark"))


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> bench.Arena:
    return arena_of(tmp_path_factory.mktemp("bench"), "val,test", lambda cell: "{},{}".format(*value(cell)))


@pytest.fixture(scope="module")
def results(arena: bench.Arena) -> list[bench.Result]:
    competing = bench.entrants(["aging", "random"], ["q", "uniform"], SearchSettings(population=8))
    return bench.compare(arena, competing, range(SEEDS), BUDGETS, jobs=1)


def test_random_search_gives_the_exact_expectation(results: list[bench.Result]) -> None:
    """With replacement, of n cells sorted by validation: sum_k t_k ((k/n)^b - ((k-1)/n)^b), within four errors."""
    cells = sorted(value(cell) for cell in itertools.product("abc", repeat=4))
    tests = np.array([test for _, test in cells])
    steps = np.arange(len(tests) + 1) / len(tests)
    random = results[0]
    for column, budget in enumerate(BUDGETS):
        exact = float((tests * np.diff(steps**budget)).sum())
        figures = random.figures[:, column]
        assert abs(figures.mean() - exact) < 4 * figures.std(ddof=1) / np.sqrt(len(figures))
    assert random.sampled == pytest.approx(tests.mean(), abs=4 * tests.std() / np.sqrt(SEEDS * 40))


def test_every_strategy_runs_with_every_policy_and_random_once(results: list[bench.Result]) -> None:
    assert [result.entrant.name for result in results] == ["random", "aging q", "aging uniform"]
    assert all(result.figures.shape == (SEEDS, 3) for result in results)
    assert all((np.diff(result.figures, axis=1) >= -13).all() for result in results)


def test_evolution_without_repeats_finds_the_best_of_81(results: list[bench.Result]) -> None:
    best = max(value(cell) for cell in itertools.product("abc", repeat=4))[1]
    assert results[1].figures[:, 2].mean() == pytest.approx(best, abs=0.3)


def test_any_number_of_processes_gives_the_same_figures(arena: bench.Arena, results: list[bench.Result]) -> None:
    entrant = results[1].entrant
    (again,) = bench.compare(arena, [entrant], range(6), BUDGETS, jobs=2)
    assert (again.figures == results[1].figures[:6]).all()


def test_the_table_states_mean_deviation_interval_and_ri(results: list[bench.Result]) -> None:
    rows = bench.table(results, BUDGETS)
    row = next(row for row in rows if (row["entrant"], row["budget"]) == ("aging q", 20))
    figures = results[1].figures[:, 1]
    assert row["mean"] == pytest.approx(figures.mean())
    assert row["deviation"] == pytest.approx(figures.std(ddof=1))
    assert row["ci95"] == pytest.approx(1.96 * figures.std(ddof=1) / np.sqrt(SEEDS), rel=1e-3)
    sampled = results[0].sampled
    assert row["ri"] == pytest.approx(100 * (figures.mean() - sampled) / sampled)


def test_pairs_are_compared_seed_by_seed(results: list[bench.Result]) -> None:
    difference = results[1].figures - results[0].figures
    for column, (mean, error) in enumerate(bench.paired(results[1], results[0])):
        assert mean == pytest.approx(difference[:, column].mean())
        assert error == pytest.approx(difference[:, column].std(ddof=1) / np.sqrt(SEEDS))


def test_csv_and_plot_hold_every_entrant(results: list[bench.Result], tmp_path: Path) -> None:
    rows = bench.table(results, BUDGETS)
    bench.write_csv(rows, tmp_path / "bench.csv")
    with (tmp_path / "bench.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [(r["entrant"], int(r["budget"])) for r in read] == [(r["entrant"], r["budget"]) for r in rows]
    root = ET.fromstring(bench.svg(rows, "a < b & c"))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"random", "aging q", "aging uniform", "a < b & c"} <= set(texts)
    lines = [element.attrib["d"] for element in root.iter() if element.get("class") == "own-line"]
    assert [line.count("L") for line in lines] == [len(BUDGETS) - 1] * 3


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> bench.Arena:
    """The cells, each taking as many seconds as its letters say, a tenth of an evaluation a tenth of that."""

    def row(cell: tuple[str, ...]) -> str:
        validation, test = value(cell)
        return f"{validation},{test},{10 * (1 + cell.count('c'))},{validation / 2}"

    return arena_of(tmp_path_factory.mktemp("timed"), "val,test,train_seconds,val@0.1", row)


def test_the_clock_goes_by_what_evaluations_took(timed: bench.Arena) -> None:
    """By hand: a search's evaluations one after another, each counted where it ended by then; later ones are not."""
    settings = SearchSettings(population=8, budget=40, objectives=("+val",))
    (found,) = bench.compare(timed, [bench.Entrant("q", settings)], range(3), (60, 150, 400), jobs=1, clock=True)
    task = tasks.load(timed.task)
    assert isinstance(task, tasks.DirectTask)
    for seed, figures in enumerate(found.figures):
        search = Search(Space(grammar.load(timed.grammar), None, None), replace(settings, seed=seed), operators.find())
        now, best, at = 0.0, (-1.0, np.nan), {}
        while (proposal := search.ask()) is not None and now <= 400:
            score = task.evaluate(proposal.text, proposal.derivation, proposal.key, 0)
            search.tell(proposal.number, score)
            now += score.objectives["train_seconds"]
            best = max(best, (score.objectives["val"], score.metrics["test"]), key=lambda pair: pair[0])
            at[now] = best[1]
        wanted = [at[max(ended for ended in at if ended <= budget)] for budget in (60, 150, 400)]
        assert list(figures) == wanted


def test_rungs_take_their_share_of_the_time(timed: bench.Arena) -> None:
    """Short evaluations are a tenth as long, and only whole ones count as found."""
    settings = SearchSettings(population=8)
    competing = bench.entrants(["aging"], ["q"], settings, rungs=[(), (0.1,)])
    assert [one.name for one in competing] == ["random", "aging q", "aging q rungs 0.1"]
    _, plain, halved = bench.compare(timed, competing, range(6), (60, 180), jobs=1, clock=True)
    assert halved.figures[:, 1].mean() > 70
    first = [steps[0][0] for steps in halved.improvements]
    assert min(first) > 10  # at least three short ones, and a whole one
    assert all(now <= 180 for steps in (*plain.improvements, *halved.improvements) for now, _ in steps)


def test_what_cannot_be_compared_is_refused(arena: bench.Arena) -> None:
    entrant = bench.Entrant("q", SearchSettings())
    with pytest.raises(UsageError, match="at least one seed"):
        bench.compare(arena, [entrant], [], BUDGETS, jobs=1)
    with pytest.raises(UsageError, match="does not say what an evaluation took; name its column"):
        bench.compare(arena, [entrant], [0], BUDGETS, jobs=1, clock=True)


@pytest.mark.parametrize("wrong", ["task", "grammar"])
def test_what_is_not_there_is_told_before_processes_are_begun(
    arena: bench.Arena, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool whose processes fail to begin would start others for ever."""

    def begun(method: str) -> None:
        raise AssertionError(f"processes are begun by {method}")

    monkeypatch.setattr(multiprocessing, "get_context", begun)
    broken = {"task": replace(arena, task="table:nofile.csv"), "grammar": replace(arena, grammar="nogrammar")}[wrong]
    with pytest.raises((TaskError, GrammarError), match=r"nofile|nogrammar"):
        bench.compare(broken, bench.entrants([], [], SearchSettings()), range(4), BUDGETS, jobs=2)


@pytest.mark.parametrize(("objective", "report"), [("-val_loss", ""), ("+val", ""), ("-val_loss", "test_accuracy")])
def test_ri_is_above_0_where_random_search_is_beaten(objective: str, report: str, tmp_path: Path) -> None:
    """Also of figures below 0, and of losses: a report that is none beside a loss is better the larger it is."""
    sign = 1 if objective.startswith("+") else -1

    def row(cell: tuple[str, ...]) -> str:
        return f"{sign * (value(cell)[0] - 3)}" + (f",{value(cell)[1]}" if report else "")

    arena = arena_of(tmp_path, ",".join(filter(None, [objective[1:], report])), row)
    settings = SearchSettings(population=8, objectives=(objective,))
    competing = bench.entrants(["aging"], ["uniform"], settings)
    results = bench.compare(replace(arena, task=f"{arena.task},fitness={objective[1:]}"), competing, range(6), (40,), 1)
    found = bench.table(results, (40,))[1]
    gained = (1 if report else sign) * (found["mean"] - results[0].sampled)
    assert found["ri"] == pytest.approx(100 * gained / abs(results[0].sampled))
    assert found["ri"] > 0


def test_where_nothing_is_known_nothing_is_said(tmp_path: Path) -> None:
    """Of seeds that had failures alone by a budget there is no mean, and against a random mean of 0 no improvement."""
    failing = arena_of(tmp_path, "val", lambda cell: "0" if cell[0] == "a" else "nan")
    competing = bench.entrants(["aging"], ["uniform"], SearchSettings(population=8))
    rows = bench.table(bench.compare(failing, competing, range(8), (1, 40), jobs=1), (1, 40))
    assert [(row["budget"], row["mean"], row["ci95"], row["ri"]) for row in rows] == [
        (1, None, None, None),
        (40, 0.0, 0.0, None),
    ] * 2
    assert "nan" not in json.dumps(rows) + bench.svg(rows, "failures")
    bench.write_csv(rows, tmp_path / "bench.csv")
    none = arena_of(tmp_path, "val", lambda cell: "1" if cell == tuple("abca") else "nan")  # which none of them finds
    rows = bench.table(bench.compare(none, competing, range(2), (5,), jobs=1), (5,))
    assert [(row["mean"], row["ri"], row["found"]) for row in rows] == [(None, None, 0.0)] * 2
    assert bench.svg(rows, "nothing").startswith("<svg")
