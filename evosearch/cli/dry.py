"""`evolve run --dry-run`: what a run would do and take; a few steps of one candidate are trained, to measure it."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch import config as configuration
from evosearch import engine
from evosearch.cli import output
from evosearch.errors import SpaceExhausted
from evosearch.report.text import count, duration
from evosearch.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEASURED = 4  # batches of a candidate that are trained to measure it
FIRST = 5  # candidates shown
SAMPLES = 100  # within the limits, for the estimate of what a candidate costs
DRAWS = 1_000  # for them at the most: a second of einspace
TRAINING = 3  # FLOPs of a training step, as a multiple of the forward pass: the backward pass takes twice as many


def preview(config: configuration.Config, as_json: bool, why: Sequence[str] = ()) -> None:
    """Print the resolved config, what the search is estimated to cost, and its first candidates with their sizes."""
    setup = engine.prepare(config)
    cost = estimate(setup)
    found = first(setup)
    cost |= measured(setup, found, cost)
    if as_json:
        output.as_json({"config": config.model_dump(mode="json"), "estimate": cost, "candidates": found})
        return
    for line in why:
        output.say(f"# {line}")
    output.say(configuration.dumps(config))
    endless = config.search.budget >= configuration.NO_END
    many = f"as many candidates as {config.time} allow" if endless else f"{cost['candidates']} candidates"
    output.say(f"# {many} on {setup.task.name}")
    folds = f" in {config.recipe.folds} folds" if config.recipe.folds > 1 else ""
    if "total_flops" in cost:
        output.say(
            f"# estimated: {cost['epochs']} epochs of {cost['examples']:,} examples each{folds}, "
            f"{count(cost['median_flops'])} FLOPs by the median of {cost['samples']} samples, "
            f"{count(cost['mean_flops'])} by their mean"
            + ("" if endless else f"; {count(cost['total_flops'])} for all of the search")
        )
    if "seconds" in cost:
        known = f"; all of them {duration(cost['search_seconds'])}" if "search_seconds" in cost else ""
        output.say(
            f"# measured here: {duration(cost['seconds'])} for a candidate of {count(cost['measured_flops'])} FLOPs an "
            f"example in one process, {cost['processes']} at a time{known}"
        )
    output.say("# the first of them:")
    for one in found:
        size = f"{count(one['params'])} parameters, {count(one['flops'])} FLOPs  " if "params" in one else ""
        text = one["text"].replace("\n", "\n#   ")  # what is printed is a config, whatever a sentence holds
        output.say(f"#   {size}{text}")


def estimate(setup: engine.Setup) -> dict[str, Any]:
    """What evaluating the whole budget is estimated to take, by samples within the limits.

    FLOPs are those of a candidate's whole training. Nothing is estimated where none of DRAWS samples is within them.
    """
    config, space = setup.config, setup.space
    cost: dict[str, Any] = {"candidates": config.search.budget}
    if not isinstance(setup.task, Task):
        return cost
    rng = np.random.default_rng(config.seed)
    steps = TRAINING * config.recipe.epochs * _shown(setup.task, config.recipe.folds)
    flops: list[int] = []
    for _ in range(DRAWS):
        architecture = space.read(space.draw(rng))
        if space.within(architecture) is None:
            flops.append(steps * architecture.cost.flops)
        if len(flops) == SAMPLES:
            break
    if not flops:
        return cost
    mean = float(np.mean(flops))
    return cost | {
        "epochs": config.recipe.epochs,
        "examples": _shown(setup.task, config.recipe.folds),
        "samples": len(flops),
        "median_flops": float(np.median(flops)),
        "mean_flops": mean,
        "total_flops": mean * config.search.budget,
    }


def _shown(task: Task, folds: int) -> int:
    """Examples that a candidate is trained on in an epoch, in all folds together."""
    return len(task.train) if folds == 1 else (folds - 1) * (len(task.train) + len(task.validation))


def measured(setup: engine.Setup, found: Sequence[dict[str, Any]], cost: Mapping[str, Any]) -> dict[str, Any]:
    """What one of the first candidates takes here, by a few batches of it: seconds of its whole evaluation.

    It is the one whose FLOPs are nearest to the median.

    On CPU they are those that the processor is at work, so that other work beside counts for nothing.
    search_seconds: of the whole budget, where it has an end, each candidate by its FLOPs. Empty where there is nothing
    to train, or it came to nothing.
    """
    import torch

    from evosearch import network, workers
    from evosearch.evaluation.fit import train

    config, space, task = setup.config, setup.space, setup.task
    if not isinstance(task, Task) or config.evaluator or not found:
        return {}
    shown = _shown(task, config.recipe.folds)
    passes = TRAINING * config.recipe.epochs * shown
    usual = cost.get("median_flops", 0.0) / passes
    nearest = min(found, key=lambda one: abs(math.log((one["flops"] + 1) / (usual + 1))))
    architecture = space.read(space.parse(nearest["text"]))
    recipe = replace(config.recipe, folds=1, stop="off")
    rows = np.arange(min(len(task.train), MEASURED * recipe.batch))
    part = task.train.take(rows)
    few = replace(task, train=part, validation=part)
    clock = time.process_time if setup.device == "cpu" else time.monotonic
    seconds, threads = [], torch.get_num_threads()
    torch.set_num_threads(config.workers.threads)
    try:
        for epochs in (1, 1, 4):  # the first one loads and chooses kernels
            once = replace(recipe, epochs=epochs)
            score = train(lambda: network.build(architecture), few, once, device=setup.device, clock=clock).score
            if score.status != "ok":
                return {}
            seconds.append(score.seconds)
    finally:
        torch.set_num_threads(threads)
    one = max(seconds[2] - seconds[1], 0.0) / 3 * config.recipe.epochs * shown / len(rows) + seconds[1]
    processes = 1 if config.workers.pool == "inline" else config.workers.workers or workers.cores()
    told = {"seconds": one, "measured_flops": architecture.cost.flops, "processes": processes}
    if config.search.budget < configuration.NO_END and "mean_flops" in cost and architecture.cost.flops:
        share = cost["mean_flops"] / (passes * architecture.cost.flops)
        told["search_seconds"] = one * share * config.search.budget / processes
    return told


def first(setup: engine.Setup) -> list[dict[str, Any]]:
    """The candidates that the run would evaluate first; fewer where the next ones depend on their scores."""
    search = setup.search()
    found: list[dict[str, Any]] = []
    while len(found) < min(FIRST, setup.config.search.budget):
        try:
            proposal = search.ask()
        except SpaceExhausted:
            if not found:
                raise
            break
        if proposal is None:
            break
        one: dict[str, Any] = {"text": proposal.text}
        if setup.space.input is not None:
            cost = setup.space.read(proposal.derivation).cost
            one |= {"params": cost.params, "flops": cost.flops}
        found.append(one)
    return found
