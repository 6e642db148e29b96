"""What a run has learned, written back as a grammar: `evolve learn RUN -o new.lark`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evosearch import grammar as language
from evosearch.errors import UsageError
from evosearch.grammar.learning import CONCENTRATION, MIX, Choices, Learned, learn
from evosearch.grammar.rewriting import rewritten
from evosearch.report import figures
from evosearch.report.reading import read_run
from evosearch.search.learning import BEST, learned_from
from evosearch.search.screening import quantiles
from evosearch.search.standing import best_first
from evosearch.store.disk import hand_over

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from evosearch.grammar.core import Derivation
    from evosearch.grammar.learning import Slot
    from evosearch.report.reading import Candidates, RunReading

MODELS = 8  # boosted ensembles, each of other rows, that agree on what does harm
PRESENT = 10  # candidates that chose an option, and as many that did not, below which nothing is said of it
SURE = 2.0  # standard errors of the models' mean below 0


@dataclass(frozen=True)
class Written:
    """A grammar file that was learned. candidates: that the run scored. best: those that were learned from."""

    path: Path
    learned: Learned
    candidates: int
    best: int


def write(
    folder: Path,
    path: Path,
    *,
    best: float = BEST,
    concentration: float = CONCENTRATION,
    mix: float = MIX,
    prune: int = 0,
) -> Written:
    """Write the grammar of a run with the weights that its best candidates give, and read it back.

    best: the share of the candidates, the best ones, that is learned from, above 0 and up to 1; ten at the least.
    concentration, mix: as in `grammar.learning.learn`. prune: options at the most, those that do most harm, that get
    probability 0. What the grammar imports is written beside it. Runs no code of the run.

    Raises UsageError where the run has no candidate yet, something else lies at a path, or LightGBM is wanted and not
    there.
    """
    run = read_run(folder)
    ranked = ranking(run)
    if not ranked:
        raise UsageError(f"{folder}: no candidate has succeeded yet, so there is nothing to learn from")
    grammar = language.load(run.grammar_file)
    if path.suffix != ".lark":
        raise UsageError(f"-o {path}: a grammar's file ends in .lark")
    files = {path.parent / name: text for name, text in list(grammar.source.items())[1:]}
    if path in files:
        raise UsageError(f"-o {path}: the grammar imports a file of that name, which would be gone; choose another one")
    for file, text in files.items():
        if file.exists() and file.read_text(encoding="utf-8") != text:
            raise UsageError(
                f"{file}: imported by the grammar, and another file lies there; name another folder with -o"
            )
    chosen = ranked[: learned_from(len(ranked), best)]
    choices = Choices(grammar)
    counts = choices.count(language.parse(grammar, one.text) for one in chosen)
    bad = harmful(choices, [language.parse(grammar, one.text) for one in ranked])[:prune] if prune else ()
    learned = learn(choices, counts, concentration=concentration, mix=mix, pruned=bad)
    objectives = ", ".join(map(str, figures.objectives(run)))
    heading = [
        f"Learned from {folder.name}: the best {len(chosen):,} of {len(ranked):,} candidates, by {objectives}.",
        f"The file's own weights count for {concentration:g} choices, and make {mix:.0%} of what stands here.",
        "",
    ]
    files[path] = rewritten(learned, heading)
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        hand_over(file, text)
    language.load(path)
    return Written(path, learned, len(ranked), len(chosen))


def harmful(choices: Choices, ranked: Iterable[Derivation]) -> list[Slot]:
    """The options that lower a candidate's rank where they are chosen, the worst first.

    Boosted trees learn the rank from which options a candidate chose; of each option the exact Shapley values
    (TreeSHAP) are averaged over the candidates that chose it. It does harm where that mean is below 0 in the mean over
    MODELS ensembles by SURE of its standard errors. ranked: the best first.

    Source: space pruning of GBDT-NAS (Luo et al. 2020), with its ensembles of 100 rounds at a rate of 0.05. Raises
    UsageError where LightGBM is not installed.
    """
    try:
        from lightgbm import LGBMRegressor
    except ModuleNotFoundError:
        raise UsageError("--prune needs LightGBM: pip install 'evosearch[lightgbm]'") from None
    counts = [choices.count([one]) for one in ranked]
    chosen = sorted({slot for count in counts for slot in count})
    x = np.array([[count[slot] > 0 for slot in chosen] for count in counts], dtype=np.float32)
    told = [at for at, times in enumerate(x.sum(axis=0).astype(int)) if PRESENT <= times <= len(x) - PRESENT]
    if not told:
        return []
    y = quantiles(-np.arange(len(x), dtype=np.float64))
    y = (y - y.mean()) / y.std()
    means = []
    for seed in range(MODELS):
        model = LGBMRegressor(
            learning_rate=0.05, colsample_bytree=0.9, subsample=0.8, subsample_freq=5, min_child_samples=5,
            random_state=seed, deterministic=True, force_row_wise=True, n_jobs=1, verbosity=-1,
        ).fit(x[:, told], y)  # fmt: skip
        shares = np.asarray(model.booster_.predict(x[:, told], pred_contrib=True))[:, :-1]  # but the mean of all
        means.append((shares * x[:, told]).sum(axis=0) / x[:, told].sum(axis=0))
    mean, error = np.mean(means, axis=0), np.std(means, axis=0, ddof=1) / np.sqrt(MODELS)
    return [chosen[told[at]] for at in np.argsort(mean, kind="stable") if mean[at] < -SURE * error[at]]


def ranking(run: RunReading) -> Candidates:
    """The run's candidates that succeeded, each key once, as it was evaluated furthest; the best first."""
    objectives = figures.objectives(run)
    values = np.stack([one.sign * run.measured(one.name) for one in objectives], axis=1)
    shares, keys = run.columns.fidelities, run.columns.keys
    furthest: dict[int, int] = {}
    for number in np.flatnonzero(~np.isnan(values).any(axis=1)).tolist():
        known = furthest.get(keys[number])
        if known is None or shares[number] > shares[known]:
            furthest[keys[number]] = number
    found = list(furthest.values())
    order = best_first([(float(shares[number]), values[number].tolist()) for number in found])
    return run.candidates.at([found[index] for index in order])
