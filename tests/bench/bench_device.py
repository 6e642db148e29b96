"""Whether what is measured of a device helps a search for it, and whether a table of layers says what is measured.

`python -m tests.bench.bench_device front`: NSGA-II on (accuracy, latency) against (accuracy, FLOPs), by the hypervolume
of both fronts in measured latency, on digits and Fashion-MNIST. A row of JSON for each (set, seed) in device.jsonl,
appended as it is measured; what has a row is not measured again. `python -m tests.bench.bench_device table`: Spearman's
rank correlation of the table's latency with the measured one, over thirty networks. Measure on a machine with nothing
else to do.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from deap.benchmarks.tools import hypervolume
from scipy.stats import spearmanr

from evosearch import config as configuration
from evosearch import engine, network
from evosearch.architecture import Limits
from evosearch.engine import refinement
from evosearch.engine.setup import prepare
from evosearch.evaluation import hardware
from evosearch.evaluation.hardware import HardwareSettings, LayerTable
from evosearch.report.reading import read_run
from tests.bench.arena import sets
from tests.bench.resumable import completed
from tests.spaces import headed, samples
from tests.watch import Silent

FILE = Path(__file__).with_name("device.jsonl")
SEEDS = (0, 1, 2)
BUDGET, POPULATION, EPOCHS = 80, 20, 4
SETS: dict[str, dict[str, Any]] = {
    "digits": {"limits.max_params": 100_000, "limits.max_flops": 10_000_000},
    "fashion_mnist": {"limits.max_params": 200_000, "limits.max_flops": 40_000_000},
}
ARMS = ("latency", "flops")
NETWORKS = 30
SMALL = Limits(max_flops=20_000_000, max_params=400_000, max_modules=200)

Point = tuple[float, float]  # accuracy on validation rows, ms


def measured(name: str, seed: int) -> dict[str, Any]:
    """Both searches; the candidates of both fronts measured in turn, and the hypervolume of each front.

    Against accuracy 0 and the largest latency of all; each front by what was measured of it then, and not by what the
    search was told, which is the smallest of many noisy figures.
    """
    with tempfile.TemporaryDirectory() as place:
        data = sets.load(name, seed, Path(place) / "data")
        found: dict[str, list[tuple[str, float]]] = {}
        config = None
        for arm in ARMS:
            config = configuration.load(None, {
                "task": str(data.file), "grammar": "tiny_cnn", "seeds": [], "seed": seed, "search.budget": BUDGET,
                "search.strategy": "nsga2", "search.objectives": ["accuracy", arm], "search.population": POPULATION,
                "recipe.epochs": EPOCHS, "recipe.batch": 64, "recipe.optimizer": "adamw", "recipe.lr": 0.003,
                "final.epochs": 1, "workers.workers": 1, "workers.device": "cpu", **SETS[name],
            })  # fmt: skip
            folder = Path(place) / arm
            engine.start(config, folder, Silent())
            reading = read_run(folder)
            found[arm] = [(one.text, one.objectives["accuracy"]) for one in reading.front(arm)]
        assert config is not None
        space = prepare(config).space
        texts = sorted({text for front in found.values() for text, _ in front})
        spreads = refinement.compared([space.read(space.parse(text)) for text in texts], config)
        taken = {text: spread.median for text, spread in zip(texts, spreads, strict=True)}
        worst = max(taken.values())
        fronts = {arm: [(accuracy, taken[text]) for text, accuracy in front] for arm, front in found.items()}
        volumes = {arm: volume(front, worst) / worst for arm, front in fronts.items()}
        return {"set": name, "seed": seed, "volume": volumes, "worst": worst, "fronts": fronts}


def volume(front: list[Point], worst: float) -> float:
    """The area that a front dominates, above accuracy 0 and below the latency `worst`, by DEAP's hypervolume."""
    points = [SimpleNamespace(fitness=SimpleNamespace(wvalues=(accuracy, -taken))) for accuracy, taken in front]
    return float(hypervolume(points, np.array([0.0, worst])))


def correlation(count: int = NETWORKS, seed: int = 3) -> tuple[float, list[Point]]:
    """Spearman's, of table and measured latency over sampled networks of tiny_cnn; and both of each, in ms."""
    networks = [headed(one, 10) for one in samples("tiny_cnn", count, shape=(1, 28, 28), seed=seed, limits=SMALL)]
    settings = HardwareSettings()
    rows = hardware.measured_layers(networks, settings)
    table = LayerTable({row: spread.median for row, spread in rows.items()}, "measured here")
    pairs = [(table.latency(one), hardware.latency(network.build(one), one.input, settings).median) for one in networks]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic), pairs


def front(wanted: list[str]) -> None:
    rows = completed(({"set": name, "seed": seed} for seed in SEEDS for name in wanted or SETS), measured, FILE)
    print("| set | by latency | by FLOPs | difference |\n|---|---|---|---|")
    for name in SETS:
        mine = [row["volume"] for row in rows if row["set"] == name]
        if mine:
            by_latency, by_flops = (np.array([row[arm] for row in mine]) for arm in ARMS)
            cells = " | ".join(map(_mean, (by_latency, by_flops, by_latency - by_flops)))
            print(f"| {name}, {len(mine)} seeds | {cells} |")


def _mean(values: np.ndarray[Any, Any]) -> str:
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():.4f} ± {error:.4f}"


def main() -> None:
    command, *more = sys.argv[1:] or ["front"]
    if command == "table":
        rank, pairs = correlation()
        for table, taken in sorted(pairs):
            print(f"{table:8.3f} ms by the table, {taken:8.3f} measured")
        print(f"Spearman {rank:.3f} over {len(pairs)} networks")
    else:
        front(more)


if __name__ == "__main__":
    main()
