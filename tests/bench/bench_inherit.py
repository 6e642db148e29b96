"""Children that begin with their parents' weights, and rungs, against training from nothing, at equal total epochs.

`python -m tests.bench.bench_inherit [SETS]`: a row of JSON for each (data set, seed, arm) in inherit.jsonl, appended as
it is measured; what has a row is not measured again. Then the table, in Markdown.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evosearch import config as configuration
from evosearch import engine
from evosearch.score import Score
from evosearch.store.run import Run
from tests.bench.arena import sets
from tests.bench.resumable import completed
from tests.watch import Silent

FILE = Path(__file__).with_name("inherit.jsonl")
SEEDS = (0, 1, 2)
POPULATION, EPOCHS, CHILD = 20, 6, 2
CANDIDATES = 60  # from nothing; with inheritance as many more as these epochs allow
LIMITS: dict[str, dict[str, Any]] = {
    "digits": {"limits.max_params": 60_000, "limits.max_flops": 5_000_000},
    "fashion_mnist": {"limits.max_params": 60_000, "limits.max_flops": 4_000_000},
}
ARMS = ("off", "parent", "rungs", "rungs, going on")
RUNGS: dict[str, Any] = {"search.rungs": [CHILD / EPOCHS]}  # one in three goes on
CHANGES: dict[str, dict[str, Any]] = {
    "off": {}, "parent": {"recipe.inherit": "parent", "recipe.inherit_epochs": CHILD},
    "rungs": RUNGS, "rungs, going on": {**RUNGS, "recipe.inherit": "self"},
}  # fmt: skip


def budget(arm: str) -> int:
    """Evaluations that take as many epochs as CANDIDATES from nothing do."""
    if arm in ("off", "parent"):
        return CANDIDATES if arm == "off" else POPULATION + (CANDIDATES - POPULATION) * EPOCHS // CHILD
    again = EPOCHS if arm == "rungs" else EPOCHS - CHILD  # of each third one
    return CANDIDATES * EPOCHS * 4 // (3 * CHILD + again)


def measured(name: str, seed: int, arm: str) -> dict[str, Any]:
    """One search: the best accuracy on validation rows by total epochs; the winner's on test, trained from nothing."""
    with tempfile.TemporaryDirectory() as place:
        data = sets.load(name, seed, Path(place) / "data")
        settings = configuration.load(None, {
            "task": str(data.file), "grammar": "tiny_cnn", "seeds": [], "seed": seed, "search.budget": budget(arm),
            "search.population": POPULATION, "recipe.epochs": EPOCHS, "recipe.batch": 64, "final.batch": 64,
            "recipe.optimizer": "adamw", "recipe.lr": 0.003, "final.optimizer": "adamw", "final.lr": 0.003,
            "final.epochs": 12, "workers.workers": 1, **LIMITS[name], **CHANGES[arm],
        })  # fmt: skip
        folder = Path(place) / "run"
        summary = engine.start(settings, folder, Silent())
        spent, best, curve = 0.0, -np.inf, []
        short: set[int] = set()  # on the lower rung
        for record in Run.open(folder).records():
            if record["kind"] == "proposal" and record.get("fidelity", 1.0) < 1:
                short.add(record["number"])
            if record["kind"] != "score":
                continue
            score = Score.unpack(record)
            spent += score.metrics.get("epochs", EPOCHS)
            if record["number"] not in short:
                best = max(best, score.objectives.get("accuracy", -np.inf))
            curve.append((round(spent, 1), round(float(best), 5)))
        return {
            "set": name, "seed": seed, "arm": arm, "curve": curve, "test": summary.test_metric,
            "candidates": summary.evaluated, "best": summary.best_text,
        }  # fmt: skip


def at(curve: list[tuple[float, float]], epochs: float) -> float:
    """The best accuracy on validation rows after so many epochs in all."""
    return max((best for spent, best in curve if spent <= epochs), default=float("nan"))


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    total = CANDIDATES * EPOCHS
    yield f"| set | weights | validation after {total // 3} epochs | after {total} | test, trained from nothing |"
    yield "|---|---|---|---|---|"
    for name in LIMITS:
        for arm in ARMS:
            mine = [row for row in rows if (row["set"], row["arm"]) == (name, arm)]
            if mine:
                third, whole = ([at(row["curve"], share) for row in mine] for share in (total / 3, total))
                test = [next(iter(row["test"].values())) for row in mine]
                figures = " | ".join(map(_mean, (third, whole, test)))
                yield f"| {name}, {len(mine)} seeds | {arm} | {figures} |"


def _mean(values: list[float]) -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):.4f} ± {error:.4f}"


def main() -> None:
    wanted = sys.argv[1:] or list(LIMITS)
    keys = ({"set": name, "seed": seed, "arm": arm} for seed in SEEDS for name in wanted for arm in ARMS)
    print("\n".join(table(completed(keys, measured, FILE))))


if __name__ == "__main__":
    main()
