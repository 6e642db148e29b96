"""`evolve run --dry-run`: what a run would do, without training anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch import config as configuration
from evosearch import engine
from evosearch.cli import output
from evosearch.errors import SpaceExhausted
from evosearch.report.text import count
from evosearch.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST = 5  # candidates shown
SAMPLES = 100  # within the limits, for the estimate of what a candidate costs
DRAWS = 1_000  # for them at the most: a second of einspace
TRAINING = 3  # FLOPs of a training step, as a multiple of the forward pass: the backward pass takes twice as many


def preview(config: configuration.Config, as_json: bool, why: Sequence[str] = ()) -> None:
    """Print the resolved config, what the search is estimated to cost, and its first candidates with their sizes."""
    setup = engine.prepare(config)
    cost = estimate(setup)
    found = first(setup)
    if as_json:
        output.as_json({"config": config.model_dump(mode="json"), "estimate": cost, "candidates": found})
        return
    for line in why:
        output.say(f"# {line}")
    output.say(configuration.dumps(config))
    output.say(f"# {cost['candidates']} candidates on {setup.task.name}")
    if "total_flops" in cost:
        output.say(
            f"# estimated: {cost['epochs']} epochs of {cost['examples']:,} examples each, "
            f"{count(cost['median_flops'])} FLOPs by the median of {cost['samples']} samples, "
            f"{count(cost['mean_flops'])} by their mean; {count(cost['total_flops'])} for all of the search"
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
    steps = TRAINING * config.recipe.epochs * len(setup.task.train)
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
        "examples": len(setup.task.train),
        "samples": len(flops),
        "median_flops": float(np.median(flops)),
        "mean_flops": mean,
        "total_flops": mean * config.search.budget,
    }


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
