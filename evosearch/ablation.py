"""What a search owes to each of its parts: the same budget without one of them, over several seeds, and a test.

Each arm with each seed is a run of its own in one folder, so that whatever ends the work early loses nothing: what is
finished stays, what was begun is gone on with. Runs of one seed begin with the same candidates, and share what these
cost through the ledger.
"""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, dataclass, fields, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from evosearch import config as configuration
from evosearch import engine
from evosearch.errors import UsageError
from evosearch.report import figures
from evosearch.report.compare import RESAMPLES, holm, tested
from evosearch.report.reading import read_run
from evosearch.store.disk import handing_over
from evosearch.store.run import JOURNAL_FILE, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from evosearch.config import Config
    from evosearch.watch import Watch

TABLE = "ablation.csv"
WHOLE, RANDOM = "whole", "random"


@dataclass(frozen=True)
class Row:
    """One arm with one seed. best: the first objective's on validation. test: the final network's; None without one."""

    arm: str
    seed: int
    evaluations: int
    best: float
    test: float | None
    seconds: float


@dataclass(frozen=True)
class Effect:
    """An arm beside the whole search, seed by seed.

    difference: the whole search's mean less the arm's, signed so that above 0 the part helps. error: its standard error
    over seeds. p: of a sign-flipping permutation test of the pairs, two-sided; p_corrected: by Holm's method. least_p:
    that so few seeds can give. Errors and p are None of a single seed.
    """

    arm: str
    runs: int
    best: float
    test: float | None
    difference: float
    error: float | None
    p: float | None
    p_corrected: float | None
    least_p: float


def arms(config: Config) -> dict[str, Config]:
    """The search as it is, without each of the parts that it has, and at random."""
    search = config.search
    unscreened: dict[str, Any] = {"screen": 1, "proxies": ()}
    without: dict[str, dict[str, Any]] = {WHOLE: {}}
    if search.policy != "uniform" or search.learn:
        without["no learner"] = {"policy": "uniform", "learn": 0}
    if search.screen > 1:
        without["no screening"] = unscreened
    if search.crossover > 0:
        without["no crossover"] = {"crossover": 0.0}
    found = {name: _changed(config, less) for name, less in without.items()}
    at_random = _changed(config, {"strategy": "random", **unscreened, "learn": 0}).model_copy(update={"strategy": {}})
    return {**found, RANDOM: at_random} if search.strategy != "random" else found


def _changed(config: Config, less: Mapping[str, Any]) -> Config:
    """The configuration with other keys of [search]; other runs are learned from only where drafts are screened."""
    search = replace(config.search, **less)
    return config.model_copy(update={"search": search, "learn_from": config.learn_from if search.screen > 1 else ()})


def ablate(folder: Path, path: Path | None, overrides: Mapping[str, Any], seeds: int, watch: Watch) -> Iterator[Row]:
    """Every arm with every seed, in `folder`, and its row as soon as it is there; ablation.csv holds all rows so far.

    path, overrides: the configuration, as `engine.chosen` takes it. Raises UsageError where a run that lies there is of
    another configuration; else as a run does.
    """
    rows: list[Row] = []
    for seed in range(seeds):
        config = engine.chosen(path, {**overrides, "seed": seed}).config
        for arm, settings in arms(config).items():
            at = folder / f"{arm.replace(' ', '-')}-{seed}"
            rows.append(_row(arm, seed, _run(at, settings, watch)))
            _write(folder / TABLE, rows)
            yield rows[-1]


def _run(at: Path, config: Config, watch: Watch) -> Path:
    """A run to its end: begun, gone on with, or left as it is where it has come there."""
    if not (at / JOURNAL_FILE).exists():
        engine.start(config, at, watch)
        return at
    changed = configuration.differences(Run.open(at).text("config.toml"), config)
    if changed:
        raise UsageError(f"{at}: {changed[0]}; name another --output")
    run = read_run(at)
    if not run.metrics or run.budget < config.search.budget:
        engine.resume(
            at, watch, budget=config.search.budget, layers=config.layers, operators=config.operators, task=config.task
        )
    return at


def _row(arm: str, seed: int, at: Path) -> Row:
    run = read_run(at)
    best = figures.improvements(run)[-1].value
    return Row(arm, seed, run.evaluated, best, tested(run), round(figures.seconds_spent(run), 3))


def _write(path: Path, rows: Sequence[Row]) -> None:
    with handing_over(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def effects(rows: Sequence[Row], sign: int) -> list[Effect]:
    """Each arm beside the whole search, over the seeds that both have. sign: 1 where larger is better, else -1."""
    best: dict[str, dict[int, Row]] = {}
    for row in rows:
        best.setdefault(row.arm, {})[row.seed] = row
    pairs = {
        arm: [sign * (best[WHOLE][seed].best - found[seed].best) for seed in sorted(found) if seed in best[WHOLE]]
        for arm, found in best.items()
        if arm != WHOLE
    }
    p = {arm: permuted(found) for arm, found in pairs.items()}
    known = [value for value in p.values() if value is not None]
    corrected = iter(holm(known))
    made = [_effect(WHOLE, best[WHOLE], [], None, None)]
    for arm, found in pairs.items():
        made.append(_effect(arm, best[arm], found, p[arm], None if p[arm] is None else next(corrected)))
    return made


def _effect(
    arm: str, found: Mapping[int, Row], pairs: Sequence[float], p: float | None, corrected: float | None
) -> Effect:
    tests = [row.test for row in found.values() if row.test is not None]
    return Effect(
        arm,
        len(found),
        fmean(row.best for row in found.values()),
        fmean(tests) if tests else None,
        fmean(pairs) if pairs else 0.0,
        stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else None,
        p,
        corrected,
        min(1.0, 2.0 ** (1 - len(pairs))),
    )


def permuted(differences: Sequence[float]) -> float | None:
    """The two-sided p of paired differences under flips of their signs; None of fewer than two, or where all are 0."""
    import numpy as np
    from scipy import stats

    if len(differences) < 2 or not any(differences):
        return None
    found = stats.permutation_test(
        (np.array(differences),),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
