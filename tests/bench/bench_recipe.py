"""What a recipe in the sentence is worth: the same time, once with `network "@" recipe` and once with the recipe fixed.

    python -m tests.bench.bench_recipe [SETS]
    python -m tests.bench.bench_recipe --task FILE --grammar tables --time 2m --set recipe.epochs=8

A row of JSON for each (data set, grammar, time, seed, arm) in recipe.jsonl, or in FILE.recipe.jsonl, appended as it is
measured; what has a row is not measured again. Then the table, in Markdown: the mean difference of the test metric
(joint less fixed) with its 95 % interval by Student's t over the seeds. Both arms have the same data, limits and time,
one worker, and one recipe, which is also what a joint sentence starts from in all that it does not say; what they end
with is tested once. One core, on which nothing else runs.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from scipy.stats import t

from evosearch import config as configuration
from evosearch import engine, paths
from evosearch.grammar import load
from tests.bench.arena import sets
from tests.bench.resumable import completed
from tests.watch import Silent

FILE = Path(__file__).with_name("recipe.jsonl")
SEEDS = (0, 1, 2)
ARMS = ("joint", "fixed")
Settings = Mapping[str, Any]
SAME: Settings = {"seeds": [], "workers.workers": 1, "workers.device": "cpu", "ensemble.members": 1}


def _case(grammar: str, time: str, recipe: Settings, epochs: int, **more: Any) -> Settings:
    """A set's settings. recipe: of the search and the final training, but for the latter's epochs."""
    known = {"optimizer": "adamw", "schedule": "onecycle", "weight_decay": 0.05, "clip": 1.0, **recipe}
    both = {f"{phase}.{name}": value for phase in ("recipe", "final") for name, value in known.items()}
    limits = {f"limits.{name}": value for name, value in more.items()}
    return {"grammar": grammar, "time": time, **both, "final.epochs": epochs, **limits}


IMAGES: Settings = {"epochs": 4, "batch": 64, "lr": 0.003}
ROWS: Settings = {"epochs": 8, "batch": 256, "lr": 0.002}
SETS: Mapping[str, Settings] = {
    "digits": _case("tiny_cnn", "60s", IMAGES, 12, max_params=100_000, max_flops=10_000_000),
    "fashion_mnist": _case("tiny_cnn", "3m", IMAGES, 12, max_params=100_000, max_flops=10_000_000),
    "adult": _case("tables", "2m", ROWS, 8),
}
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
    start, *_ = grammar.rules[grammar.start]
    alone = len(grammar.rules[grammar.start]) == 1 and start.layer is None
    made = folder / f"{file.stem}_joint.lark"
    rule = start.rules[0] if alone else grammar.start
    made.write_text(JOINT.format(input=grammar.input, rule=rule, name=file.stem), encoding="utf-8")
    return made


def measured(cases: Mapping[str, Settings], name: str, grammar: str, time: str, seed: int, arm: str) -> dict[str, Any]:
    """One search: the test metric of the best single network. No score is known that another arm has paid for."""
    case = cases[name]
    with tempfile.TemporaryDirectory() as place, mock.patch.dict(os.environ, EVOSEARCH_CACHE=place):
        task = case.get("task") or str(sets.load(name, seed, Path(place) / "data").file)
        searched = str(joint_grammar(grammar, Path(place))) if arm == "joint" else grammar
        given = {**SAME, **case, "grammar": searched, "task": task, "seed": seed}
        summary = engine.start(configuration.load(None, given), Path(place) / "run", Silent())
        (metric, value), *_ = summary.test_metric.items()
        row = {"set": name, "grammar": grammar, "time": time, "seed": seed, "arm": arm}
        return {**row, "metric": metric, "test": value, "candidates": summary.evaluated, "best": summary.best_text}


def _key(case: Settings, name: str) -> dict[str, Any]:
    return {"set": name, "grammar": case["grammar"], "time": case["time"]}


def interval(joint: Sequence[float], fixed: Sequence[float]) -> tuple[float, float]:
    """Mean of the paired differences, and half the width of its 95 % interval; NaN of a single pair."""
    apart = [a - b for a, b in zip(joint, fixed, strict=True)]
    if len(apart) < 2:
        return apart[0], math.nan
    half = float(t.ppf(0.975, len(apart) - 1)) * statistics.stdev(apart) / math.sqrt(len(apart))
    return statistics.fmean(apart), half


def table(cases: Mapping[str, Settings], rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| set | time | seeds | joint | fixed | joint less fixed | candidates, joint and fixed |"
    yield "|---|---|---|---|---|---|---|"
    for name, case in cases.items():
        mine = [row for row in rows if _key(case, name).items() <= row.items()]
        found = {arm: {row["seed"]: row for row in mine if row["arm"] == arm} for arm in ARMS}
        pairs = sorted(found["joint"].keys() & found["fixed"].keys())
        if not pairs:
            continue
        tests = {arm: [found[arm][seed]["test"] for seed in pairs] for arm in ARMS}
        counts = [statistics.fmean(found[arm][seed]["candidates"] for seed in pairs) for arm in ARMS]
        mean, half = interval(tests["joint"], tests["fixed"])
        figures = " | ".join(f"{statistics.fmean(tests[arm]):.4f}" for arm in ARMS)
        yield (
            f"| {name} | {case['time']} | {len(pairs)} | {figures} | {mean:+.4f} ± {half:.4f} | "
            f"{counts[0]:.0f} and {counts[1]:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all where none is named")
    parser.add_argument("--task", help="a file of your own in place of the sets")
    parser.add_argument("--grammar", default="tiny_cnn")
    parser.add_argument("--time", default="60s", help="of each run, its final training included")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    cases, file, names = SETS, FILE, given.sets or list(SETS)
    if given.task:
        own = dict(configuration.parse_setting(one) for one in given.set)
        cases = {given.task: {"grammar": given.grammar, "time": given.time, "task": given.task, **own}}
        file, names = Path(f"{given.task}.recipe.jsonl"), [given.task]
    keys = ({**_key(cases[name], name), "seed": seed, "arm": arm} for seed in SEEDS for name in names for arm in ARMS)
    print("\n".join(table(cases, completed(keys, functools.partial(measured, cases), file))))


if __name__ == "__main__":
    main()
