"""How well a surrogate orders real trainings that it has not seen, beside size alone.

`python -m tests.bench.bench_foresight [CASES]`: a row of JSON for each (case, seed, explore) in foresight.jsonl,
appended as it is measured; what has a row is not measured again. Then the table, in Markdown. One core, one worker.

With explore 1 the surrogate predicts and has no say: candidates are what aging evolution proposes, of two drafts any
one. With 0.1 they are those that it liked best of twenty, which are more alike: order among them is harder to tell.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from evosearch import config as configuration
from evosearch import engine
from evosearch.report.foresight import foreseen, stretches
from evosearch.report.reading import read_run
from tests.bench.arena import sets
from tests.bench.resumable import completed
from tests.watch import Silent

FILE = Path(__file__).with_name("foresight.jsonl")
SEEDS = (0, 1, 2)
EVALUATIONS = 200
DRAFTS: Mapping[float, int] = {1.0: 2, 0.1: 20}  # by the share of proposals that the surrogate has no say in
CASES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "tiny_cnn on digits": (
        "digits",
        {"grammar": "tiny_cnn", "limits.max_params": 60_000, "limits.max_flops": 5_000_000},
    ),
    "einspace on digits": (
        "digits",
        {"grammar": "einspace", "limits.max_params": 60_000, "limits.max_flops": 5_000_000},
    ),
    "tiny_cnn on fashion_mnist": (
        "fashion_mnist",
        {"grammar": "tiny_cnn", "limits.max_params": 60_000, "limits.max_flops": 4_000_000},
    ),
}


def measured(case: str, seed: int, explore: float) -> dict[str, Any]:
    """One search: Kendall's tau of its predictions with what came, and that of sizes, of all and by parts."""
    name, settings = CASES[case]
    with tempfile.TemporaryDirectory() as place:
        data = sets.load(name, seed, Path(place) / "data")
        config = configuration.load(None, {
            "task": str(data.file), "seeds": [], "seed": seed, "search.budget": EVALUATIONS,
            "search.screen": DRAFTS[explore], "search.explore": explore,
            "recipe.epochs": 3, "recipe.batch": 64, "recipe.optimizer": "adamw", "recipe.lr": 0.003,
            "recipe.schedule": "onecycle", "final.epochs": 3, "workers.workers": 1, **settings,
        })  # fmt: skip
        engine.start(config, Path(place) / "run", Silent())
        whole, parts = stretches(foreseen(read_run(Path(place) / "run")))
        assert whole is not None
        over_time = [(one.last, one.surrogate, one.sizes) for one in parts]
        row = {
            "case": case,
            "seed": seed,
            "explore": explore,
            "count": whole.count,
            "surrogate": whole.surrogate,
            **whole.sizes,
        }
        return {**row, "over_time": over_time}


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| case | explore | seeds | surrogate | parameters | FLOPs |"
    yield "|---|---|---|---|---|---|"
    for case in CASES:
        for explore in DRAFTS:
            mine = [row for row in rows if (row["case"], row["explore"]) == (case, explore)]
            if mine:
                taus = [f"{fmean(row[name] or 0.0 for row in mine):.2f}" for name in ("surrogate", "params", "flops")]
                yield f"| {case} | {explore} | {len(mine)} | {' | '.join(taus)} |"


def main() -> None:
    wanted = sys.argv[1:] or list(CASES)
    keys = ({"case": case, "seed": seed, "explore": explore} for seed in SEEDS for explore in DRAFTS for case in wanted)
    print("\n".join(table(completed(keys, measured, FILE))))


if __name__ == "__main__":
    main()
