"""Evolution and random search for the same time in each grammar for images, its own samples alone to begin with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.bench.arena import arms, sets
from tests.bench.arena.rows import Key
from tests.bench.arena.sets import DataSet

FILE = Path(__file__).with_name("rows.jsonl")
GRAMMARS = (
    "images",
    "convnets",
    "mobile",
    "vit",
    "hybrid",
    "darts",
    "nasnet",
    "nasbench201",
    "ofa_mbv3",
    "einspace",
)
SETS = ("digits", "fashion_mnist")
ROWS = 2_000  # to train on, at the most: of 10,000 a search of three minutes trains one to three of these networks
STRATEGIES = ("aging", "random")
# The same for all: what an automatic run takes for images, and networks that train in seconds on two cores.
SETTINGS = (
    "--epochs=4",
    "--max-flops=20000000",
    "--set=recipe.optimizer=adamw",
    "--set=recipe.schedule=onecycle",
    "--set=recipe.lr=0.003",
    "--set=recipe.weight_decay=0.05",
    "--set=recipe.batch=64",
)


def arm(grammar: str, strategy: str) -> str:
    """How a search is called in the rows."""
    return f"{grammar}, {strategy}"


def wanted(names: Iterable[str], seeds: Sequence[int], grammars: Sequence[str], time: str) -> list[Key]:
    """What there is to measure: both strategies of a grammar beside each other, all of a seed before the next seed."""
    return [
        Key(name, seed, arm(grammar, strategy), time)
        for seed in seeds
        for name in names
        for grammar in grammars
        for strategy in STRATEGIES
    ]


def load(name: str, seed: int, folder: Path) -> DataSet:
    """As the arena draws it, with no more images to train on than ROWS. Raises NotHereError."""
    return sets.fewer(sets.load(name, seed, folder), ROWS, seed, folder)


def measure(arm: str, data: DataSet, seed: int, time: str, folder: Path) -> arms.Result:
    """One search, judged once on the test rows by its best single network. Raises ArmError."""
    grammar, strategy = arm.split(", ")
    flags = ("--grammar", grammar, "--strategy", strategy, "--start", "none", "--single", *SETTINGS)
    return arms.search(flags, data, seed, time, folder)
