"""k-fold cross-validation: a candidate is trained once for each fold, and judged on the rows it was not trained on.

Of the folds the first few alone may be taken: a hold-out of as many rows, of which nothing was chosen before.
"""

from __future__ import annotations

import math
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.cost import Cost
from evosearch.evaluation.fit import Trained, train
from evosearch.tasks.folds import fold, fold_rows
from evosearch.tasks.noise import error_of_folds, standard_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from evosearch.evaluation.recipe import Recipe
    from evosearch.evaluation.stopping import StopRule
    from evosearch.tasks.base import Split, Task

Array = np.ndarray[Any, np.dtype[Any]]

_made: weakref.WeakKeyDictionary[Split, dict[tuple[int, int], tuple[Task, ...]]] = weakref.WeakKeyDictionary()


def folds_of(task: Task, count: int, seed: int = 0, first: int = 0) -> tuple[Task, ...]:
    """The folds of a task, or the first few of them, made once for all candidates of a process: those of one count and
    seed at a time, as each holds a copy of its rows.
    """
    kept, taken = _made.setdefault(task.train, {}), first or count
    made = kept.get((count, seed), ())
    if len(made) < taken:
        kept.clear()
        made += tuple(fold(task, number, count, seed) for number in range(len(made), taken))
        kept[count, seed] = made
    return made if len(made) == taken else made[:taken]


def judged_rows(task: Task, count: int, first: int = 0) -> Array:
    """Row numbers of train and validation together, train first, rising: those of the first few folds, 0: of all."""
    return np.sort(np.concatenate(fold_rows(task, count)[: first or count]))


def judged(
    build: Callable[[], nn.Module],
    task: Task,
    recipe: Recipe,
    *,
    device: str = "cpu",
    seed: int = 0,
    key: str = "",
    cost: Cost = Cost(),
    deadline: float = math.inf,
    rule: StopRule | None = None,
    brief: Any = None,
    repeat: int = 0,
    first: int = 0,
    begin: Callable[[nn.Module, int], None] | None = None,
    keep: Callable[[nn.Module, int], None] | None = None,
    parent: Callable[[int], nn.Module | None] | None = None,
) -> Trained:
    """A candidate's score by the recipe's validation scheme: on the held-out part, or over `recipe.folds` folds.

    repeat: of the same candidate; each has folds of its own. first: so many of the folds alone, the same ones for every
    repeat; 0: all. Other arguments as of `train`. Of folds: the metric is the mean over them, with its standard error;
    the curve is the mean of theirs; `outputs` are those for every row of these folds, in the order of train and
    validation together, by the network that was not trained on it; the network is the last fold's. A stop rule is asked
    in the first fold alone, and a fold that fails ends the rest.
    begin, keep: called with each fold's network when it was made, and when it was trained well. parent: of a fold, the
    network whose weights it begins with.
    """

    def trained_on(part: Task, number: int, seed: int, rule: StopRule | None) -> Trained:
        def made() -> nn.Module:
            network = build()
            if begin is not None:
                begin(network, number)
            return network

        one = train(
            made, part, recipe, device=device, seed=seed, key=key, cost=cost, deadline=deadline, rule=rule, brief=brief,
            parent=parent(number) if parent is not None else None,
        )  # fmt: skip
        if keep is not None and one.network is not None:
            keep(one.network, number)
        return one

    if recipe.folds < 2:
        return trained_on(task, 0, seed, rule)
    begun = time.monotonic()
    found: list[Trained] = []
    parts = folds_of(task, recipe.folds, 0 if first else repeat, first)
    rows = fold_rows(task, recipe.folds, 0 if first else repeat)
    outputs: Array | None = None
    for number, part in enumerate(parts):
        one = trained_on(part, number, (seed + number) % 2**63, rule if number == 0 else None)
        if one.score.status != "ok" or one.outputs is None:
            score = replace(one.score, seed=seed, seconds=time.monotonic() - begun)
            return one._replace(score=score, network=None)
        out = task.kind.normalise(task, task.kind.denormalise(part, one.outputs))  # each has constants of its own
        if outputs is None:
            outputs = np.empty((sum(map(len, rows)), *out.shape[1:]), out.dtype)
        outputs[rows[number]] = out
        found.append(one)
    if outputs is None or not first:
        return _mean(found, task.metric, outputs, seed, time.monotonic() - begun)._replace(fold=parts[-1])
    judged_on = judged_rows(task, recipe.folds, first)
    outputs, (y, groups) = outputs[judged_on], task.targets_by_group()
    y, groups = y[judged_on], None if groups is None else groups[judged_on]
    mean = _mean(found, task.metric, outputs, seed, time.monotonic() - begun)
    # Of a few parts, which are the same for all candidates, it is the rows that decide, as of one part alone.
    errors = {f"{task.metric}_se": standard_error(task.judge, y, outputs, groups)}
    return mean._replace(fold=parts[-1], score=replace(mean.score, metrics={**mean.score.metrics, **errors}))


def _mean(found: list[Trained], metric: str, outputs: Array | None, seed: int, seconds: float) -> Trained:
    """The folds as one score: the mean of every figure that all have."""
    first = found[0].score
    scores = [one.score for one in found]
    objectives = {n: float(np.mean([s.objectives[n] for s in scores])) for n in first.objectives}
    shared = [n for n in first.metrics if all(n in s.metrics for s in scores)]
    metrics = {n: float(np.mean([s.metrics[n] for s in scores])) for n in shared}
    values = [one.metric for one in found]
    metrics[f"{metric}_se"] = error_of_folds(values)
    if "seconds" in objectives:
        objectives["seconds"] = seconds
    curve = tuple(float(value) for value in np.mean([s.curve for s in scores], axis=0))
    score = replace(first, objectives=objectives, metrics=metrics, curve=curve, seconds=seconds, seed=seed)
    return Trained(score, found[-1].network, "", float(np.mean(values)), outputs)


__all__ = ["folds_of", "judged", "judged_rows"]
