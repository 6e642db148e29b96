"""Makes the golden runs that need no absolute path, the golden searches and the golden keys.

    python -m tests.golden.make_project DATA

Made once, by commit 2588839, and never again: they say what that commit did. Works in tests/golden/project, where the
grammars, layers and operators of the runs lie. DATA holds `nasbench201_cifar10.csv.xz`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from evosearch import config as configuration
from evosearch import engine
from evosearch.store.run import Run
from tests.chaos.sessions import words
from tests.golden.searches import SEEDS, keys, made_up, proposals, recorded, searched
from tests.journals import journal_digest
from tests.watch import Silent

PROJECT = Path(__file__).parent / "project"
SMALL = {"workers": {"pool": "inline", "device": "cpu"}, "recipe": {"epochs": 1, "batch": 64}}
DIGITS = {"grammar": "tiny_cnn", "task": "digits", "limits": {"max_params": 3000, "max_flops": 400_000}, **SMALL}
WORDS = {"grammar": "words.lark", "task": "table:words.csv"}
MORE = 5  # candidates by which a finished run is extended
NSGA2 = {"budget": 10, "population": 4, "strategy": "nsga2", "objectives": ["accuracy", "-params"]}
GATED = {"grammar": "gated.lark", "task": "vectors.npz", "layers": ["layers/gated.py"], **SMALL}
SHORT = {"budget": 10, "population": 4}

# By name: the configuration, and the scores after which the run is left unfinished (0: finished).
RUNS: dict[str, tuple[dict[str, Any], int]] = {
    "digits": ({**DIGITS, "seed": 1, "search": SHORT}, 0),
    "table": ({**WORDS, "seed": 2, "search": {"budget": 30, "population": 6}}, 0),
    "nsga2": ({**DIGITS, "seed": 3, "search": NSGA2}, 0),
    "layer": ({**GATED, "seed": 4, "search": SHORT}, 0),
    "operator": ({**DIGITS, "operators": ["own"], "seed": 5, "search": SHORT}, 0),
    "function": (
        {
            "grammar": "words.lark", "task": "letters:fitness", "seed": 6,
            "search": {**NSGA2, "budget": 30, "objectives": ["fitness", "-cost"]},
        },
        0,
    ),
    "unfinished-table": ({**WORDS, "seed": 7, "search": {"budget": 40, "population": 6}}, 13),
    "unfinished-digits": ({**DIGITS, "seed": 8, "search": SHORT}, 3),
    "unfinished-layer": ({**GATED, "seed": 10, "search": SHORT}, 3),
    "unfinished-operator": ({**DIGITS, "operators": ["own"], "seed": 9, "search": SHORT}, 3),
}  # fmt: skip


class Left(Exception):
    """Somebody pulled the plug."""


def make(name: str, settings: dict[str, Any], until: int) -> None:
    """One run, in a folder of its name here; left after so many scores where that is not 0."""
    append, told = Run.write_scores, [0]

    def write_scores(run: Run, records: list[dict[str, Any]]) -> None:
        append(run, records)
        told[0] += len(records)
        if until and told[0] >= until:
            raise Left

    Run.write_scores = write_scores  # type: ignore[method-assign, assignment]
    try:
        engine.start(configuration.validate(settings, name), Path(name), Silent())  # names as they stand
    except Left:
        pass
    finally:
        Run.write_scores = append  # type: ignore[method-assign]


def finished(name: str, more: int = 0) -> str:
    """The journal's digest of a run gone on with to its end, or `more` candidates beyond it, in a copy."""
    copy = Path("copy")
    shutil.copytree(name, copy)
    config = configuration.loads((copy / "config.toml").read_text())
    budget = config.search.budget + more if more else None
    engine.resume(copy, Silent(), budget=budget, layers=config.layers, operators=config.operators)
    digest = journal_digest(Run.open(copy))
    shutil.rmtree(copy)
    return digest


def main() -> None:
    data = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as made:
        words(Path(made), letters=3)
        for name in ("words.lark", "words.csv"):
            shutil.copy(Path(made) / name, PROJECT / name)
        evaluate = recorded(data / "nasbench201_cifar10.csv.xz", Path(made))
        there = searched()
        golden = {
            "nasbench201": {str(seed): proposals(there, seed, evaluate) for seed in SEEDS},
            "made_up": {str(seed): proposals(there, seed, made_up) for seed in SEEDS},
        }
    (PROJECT.parent / "searches.json").write_text(json.dumps(golden, indent=1) + "\n")
    (PROJECT.parent / "keys.tsv").write_text("".join("\t".join(row) + "\n" for row in keys()))
    os.chdir(PROJECT)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 8)).astype(np.float32)
    np.savez("vectors.npz", x=x, y=(x[:, 0] * x[:, 1] > 0).astype(np.int64))
    said = {}
    for name, (settings, until) in RUNS.items():
        make(name, settings, until)
        said[name] = {
            "left": journal_digest(Run.open(Path(name))),
            "finished": finished(name),
            "extended": finished(name, MORE),
        }
        print(name, said[name], flush=True)
    Path("journals.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
