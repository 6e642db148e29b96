"""Rungs and stop rules against training every candidate in whole, by the epochs that all trainings take together.

`python -m tests.bench.bench_effort [SETS] [ARMS]`: a row of JSON for each (data set, seed, arm) in effort.jsonl,
appended as it is measured; what has a row is not measured again. Then the table, in Markdown. One core, one worker.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from evosearch import config as configuration
from evosearch import engine
from evosearch.report.reading import read_run
from tests.bench.arena import sets
from tests.bench.resumable import completed
from tests.watch import Silent

FILE = Path(__file__).with_name("effort.jsonl")
SEEDS = (0, 1, 2)
EPOCHS, CANDIDATES = 9, 60  # of the search that trains every candidate in whole
LIMITS: Mapping[str, dict[str, Any]] = {
    "digits": {"limits.max_params": 60_000, "limits.max_flops": 5_000_000},
    "fashion_mnist": {"limits.max_params": 60_000, "limits.max_flops": 4_000_000},
}
RUNGS = {"search.rungs": [1 / 9, 1 / 3], "search.eta": 3}
OFTEN = {"search.budget": 4 * CANDIDATES + CANDIDATES // 3}  # evaluations on three rungs that take about as many epochs
ARMS: Mapping[str, dict[str, Any]] = {
    "whole": {},
    "rungs": {**RUNGS, **OFTEN},
    "rungs that grow": {**RUNGS, **OFTEN, "search.grow": True},
    "rungs of rows": {**RUNGS, **OFTEN, "recipe.shorten": "rows"},
    "median": {"recipe.stop": "median"},
    "curve": {"recipe.stop": "curve"},
}


def measured(name: str, seed: int, arm: str) -> dict[str, Any]:
    """One search: the best accuracy of whole trainings on validation rows, by epochs that all trainings took so far."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["EVOSEARCH_CACHE"] = place  # no score that another arm has paid for
        data = sets.load(name, seed, Path(place) / "data")
        settings = configuration.load(None, {
            "task": str(data.file), "grammar": "tiny_cnn", "seeds": [], "seed": seed, "search.budget": CANDIDATES,
            "recipe.epochs": EPOCHS, "recipe.batch": 64, "recipe.optimizer": "adamw", "recipe.lr": 0.003,
            "recipe.schedule": "onecycle", "final.epochs": EPOCHS, "workers.workers": 1, **LIMITS[name], **ARMS[arm],
        })  # fmt: skip
        summary = engine.start(settings, Path(place) / "run", Silent())
        epochs, best, curve = 0.0, 0.0, []
        for one in read_run(Path(place) / "run").scored():
            assert one.score is not None
            rows = one.fidelity if arm == "rungs of rows" else 1.0
            epochs += rows * len(one.score["curve"])
            if one.fidelity == 1 and "accuracy" in one.objectives:
                best = max(best, one.objectives["accuracy"])
            curve.append((round(epochs, 1), round(best, 5)))
        test = next(iter(summary.test_metric.values()))
        return {"set": name, "seed": seed, "arm": arm, "curve": curve, "test": test, "candidates": summary.evaluated}


def reached(curve: list[tuple[float, float]], accuracy: float) -> float | None:
    """The epochs after which the best was as good; None where it never was."""
    return next((epochs for epochs, best in curve if best >= accuracy), None)


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| set | trained | epochs in all | best after a third | at the end | as good as whole after | test |"
    yield "|---|---|---|---|---|---|---|"
    for name in LIMITS:
        whole = {row["seed"]: row["curve"] for row in rows if (row["set"], row["arm"]) == (name, "whole")}
        for arm in ARMS:
            mine = [row for row in rows if (row["set"], row["arm"]) == (name, arm) and row["seed"] in whole]
            if not mine:
                continue
            curves = [row["curve"] for row in mine]
            third = [max(best for spent, best in curve if spent <= EPOCHS * CANDIDATES / 3) for curve in curves]
            took = [reached(row["curve"], whole[row["seed"]][-1][1]) for row in mine]
            said = ", ".join("never" if epochs is None else f"{epochs:.0f}" for epochs in took)
            spent, best = (fmean(curve[-1][at] for curve in curves) for at in (0, 1))
            test = fmean(row["test"] for row in mine)
            yield (
                f"| {name}, {len(mine)} seeds | {arm} | {spent:.0f} | {fmean(third):.4f} | {best:.4f} | {said} | "
                f"{test:.4f} |"
            )


def main() -> None:
    names, arms = ([one for one in known if one in sys.argv[1:]] or list(known) for known in (LIMITS, ARMS))
    keys = ({"set": name, "seed": seed, "arm": arm} for seed in SEEDS for name in names for arm in arms)
    print("\n".join(table(completed(keys, measured, FILE))))


if __name__ == "__main__":
    main()
