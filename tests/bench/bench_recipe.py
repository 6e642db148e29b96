"""What a recipe in the sentence is worth: the same time, once with `network "@" recipe` and once with the recipe fixed.

    python -m tests.bench.bench_recipe --grammar tiny_cnn --task digits --time 60s --seeds 3

For each seed both searches have the same data, limits and time on one worker. A line for each run, then the mean
difference of the test metric (joint less fixed, larger is better for a metric that is to be large) with its 95 %
interval by Student's t over the seeds. --set changes the recipe that is fixed, which is also what a joint sentence
starts from in all that it does not say.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t

from evosearch import config as configuration
from evosearch import engine, paths
from evosearch.grammar import load
from tests.watch import Silent

JOINT = """\
// input: {input}
start: {rule} "@" recipe -> with_recipe
%import .{name}.{rule}
%import .recipe.recipe
%import common.WS
%ignore WS
"""


def joint_grammar(name: str, folder: Path) -> Path:
    """The grammar with a recipe behind each of its sentences, in a folder with what it imports."""
    file = paths.find("grammars", name, ".lark")
    grammar = load(file)
    for one in (file, paths.find("grammars", "recipe", ".lark")):
        shutil.copy(one, folder)
    (alternative,) = grammar.rules[grammar.start]
    rule = alternative.rules[0] if alternative.layer is None else grammar.start
    made = folder / f"{file.stem}_joint.lark"
    made.write_text(JOINT.format(input=grammar.input, rule=rule, name=file.stem), encoding="utf-8")
    return made


def compared(
    grammar: str, task: str, time: str, seeds: int, settings: Mapping[str, Any], folder: Path
) -> dict[str, list[float]]:
    """The test metric of every run by what was searched: `joint` and `fixed`, in the order of the seeds."""
    found: dict[str, list[float]] = {"joint": [], "fixed": []}
    grammars = {"joint": str(joint_grammar(grammar, folder)), "fixed": grammar}
    for seed in range(seeds):
        for which, name in grammars.items():
            given = {"grammar": name, "task": task, "time": time, "seed": seed, "workers.workers": 1, **settings}
            summary = engine.start(configuration.load(None, given), folder / f"{which}-{seed}", Silent())
            (metric, value), *_ = summary.test_metric.items()
            found[which].append(value)
            print(f"{which:<6} seed {seed}  test {metric} {value:.4f}  {summary.evaluated} candidates", flush=True)
    return found


def interval(joint: Sequence[float], fixed: Sequence[float]) -> tuple[float, float]:
    """Mean of the paired differences, and half the width of its 95 % interval; NaN of a single pair."""
    apart = [a - b for a, b in zip(joint, fixed, strict=True)]
    if len(apart) < 2:
        return apart[0], math.nan
    half = float(t.ppf(0.975, len(apart) - 1)) * statistics.stdev(apart) / math.sqrt(len(apart))
    return statistics.fmean(apart), half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grammar", default="tiny_cnn")
    parser.add_argument("--task", default="digits")
    parser.add_argument("--time", default="60s", help="of each run, its final training included")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    settings = dict(configuration.parse_setting(one) for one in given.set)
    with tempfile.TemporaryDirectory() as folder:
        found = compared(given.grammar, given.task, given.time, given.seeds, settings, Path(folder))
    mean, half = interval(found["joint"], found["fixed"])
    print(f"joint less fixed: {mean:+.4f} ± {half:.4f}")


if __name__ == "__main__":
    main()
