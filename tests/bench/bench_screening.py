"""Screened searches against the same ones without, on problems of several kinds whose scores cost next to nothing.

`python -m tests.bench.bench_screening [-n SEEDS] DATA [PROBLEMS]`: a row of JSON for each (problem, drafts, block of
five seeds) in screening.jsonl, appended as it is measured; what has a row is not measured again. Then the table, in
Markdown, by the fitness that the search sees. DATA: the folder with nasbench201_cifar10.csv.xz. One core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evosearch.bench import Arena, Entrant, Result, compare
from evosearch.search import SearchSettings
from tests.bench.resumable import completed

FILE = Path(__file__).with_name("screening.jsonl")
BUDGETS = (50, 100, 150, 200, 300)
BLOCK = 5  # seeds of a row
DRAFTS = (1, 20)
SYMBOLIC = str(Path(__file__).with_name("symbolic.lark"))
TABLE = "table:{data}/nasbench201_cifar10.csv.xz"
PROBLEMS: Mapping[str, tuple[str, str]] = {  # task and grammar
    "cells, validation": (f"{TABLE},fitness=val_accuracy_12ep,report=test_accuracy_200ep", "nasbench201"),
    "cells, test": (f"{TABLE},fitness=test_accuracy_200ep,report=val_accuracy_12ep", "nasbench201"),
    "cells, speed": (f"{TABLE},fitness=-train_seconds_12ep,report=val_accuracy_12ep", "nasbench201"),
    "quartic": ("tests.bench.problems:quartic", SYMBOLIC),
    "einspace, norms": ("tests.bench.problems:norms", "einspace"),
    "einspace, planted": ("tests.bench.problems:planted", "einspace"),
}


def measured(problem: str, drafts: int, first: int, data: str) -> dict[str, Any]:
    """Five seeds: figures at the budgets, and after how many evaluations which fitness was found."""
    task, grammar = PROBLEMS[problem]
    entrant = Entrant(f"screen {drafts}", SearchSettings(screen=drafts))
    arena = Arena(task.format(data=data), grammar)
    (found,) = compare(arena, [entrant], range(first, first + BLOCK), BUDGETS, jobs=1)
    row = {"problem": problem, "drafts": drafts, "first": first}
    return {**row, "figures": found.figures.tolist(), "improvements": found.improvements}


def gathered(rows: list[dict[str, Any]], problem: str, drafts: int, firsts: list[int]) -> Result:
    """The blocks of one search on one problem as one result, seeds in their order."""
    blocks = {row["first"]: row for row in rows if (row["problem"], row["drafts"]) == (problem, drafts)}
    figures = [seed for first in firsts for seed in blocks[first]["figures"]]
    improvements = [[tuple(step) for step in seed] for first in firsts for seed in blocks[first]["improvements"]]
    return Result(Entrant("", SearchSettings(screen=drafts)), np.array(figures), 0.0, improvements)


def fitness(result: Result) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(seeds, budgets): the best signed fitness by then."""
    return np.array([
        [max((value for at, value in steps if at <= budget), default=math.nan) for budget in BUDGETS]
        for steps in result.improvements
    ])  # fmt: skip


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"| problem | seeds | | {' | '.join(map(str, BUDGETS))} | to the best, median | found by 100 / 300 |"
    yield "|---|---|---|" + "---|" * len(BUDGETS) + "---|---|"
    for problem in PROBLEMS:
        done = [{row["first"] for row in rows if (row["problem"], row["drafts"]) == (problem, one)} for one in DRAFTS]
        if not (firsts := sorted(set.intersection(*done))):
            continue
        results = [gathered(rows, problem, one, firsts) for one in DRAFTS]
        best, values = max(result.best() for result in results), [fitness(result) for result in results]
        seeds = len(values[0])
        for drafts, result, found in zip(DRAFTS, results, values, strict=True):
            took = result.took(best)
            shares = " / ".join(f"{100 * float((took <= budget).mean()):.0f}" for budget in (100, 300))
            for name, shown in (("fitness", found), ("reported", result.figures)):
                if name == "fitness" or "cells" in problem:
                    means = " | ".join(f"{mean:.4f}" for mean in shown.mean(axis=0))
                    last = f"{np.median(took):g} | {shares} %"
                    yield f"| {problem} | {seeds} | screen {drafts}, {name} | {means} | {last} |"
        errors = (values[1] - values[0]).std(axis=0, ddof=1) / math.sqrt(seeds)
        means = (values[1] - values[0]).mean(axis=0)
        said = (f"{mean:+.4f} ± {error:.4f}" for mean, error in zip(means, errors, strict=True))
        yield f"| {problem} | {seeds} | difference in fitness | {' | '.join(said)} | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("-n", "--seeds", type=int, default=40)
    parser.add_argument("problems", nargs="*", default=list(PROBLEMS))
    said = parser.parse_args()
    keys = (
        {"problem": problem, "drafts": drafts, "first": first}
        for first in range(0, said.seeds, BLOCK)
        for problem in said.problems
        for drafts in DRAFTS
    )

    def measure(problem: str, drafts: int, first: int) -> dict[str, Any]:
        return measured(problem, drafts, first, said.data)

    print("\n".join(table(completed(keys, measure, FILE))))


if __name__ == "__main__":
    main()
