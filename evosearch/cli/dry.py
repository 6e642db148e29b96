"""`evolve run --dry-run`: what a run would do, without training anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch import config as configuration
from evosearch import engine
from evosearch.architecture import MAX_DRAWS, Space
from evosearch.cli import output
from evosearch.errors import SpaceExhausted
from evosearch.report.text import count

SAMPLES = 5


def preview(config: configuration.Config, as_json: bool) -> None:
    """Print the resolved config, and samples within the limits with what each costs."""
    setup = engine.prepare(config)
    found = samples(setup.space, np.random.default_rng(config.seed))
    if as_json:
        output.as_json({"config": config.model_dump(mode="json"), "candidates": found})
        return
    output.say(configuration.dumps(config))
    output.say(
        f"# {config.search.budget} candidates on {setup.task.name}, {config.recipe.epochs} epochs each, such as:"
    )
    for one in found:
        size = f"{count(one['params'])} parameters, {count(one['flops'])} FLOPs  " if "params" in one else ""
        output.say(f"#   {size}{one['text']}")


def samples(space: Space, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A few sentences within the limits. Raises SpaceExhausted where ten thousand draws hold fewer."""
    found: list[dict[str, Any]] = []
    for _ in range(MAX_DRAWS):
        derivation = space.draw(rng)
        if space.input is None:
            found.append({"text": space.render(derivation)})
        else:
            architecture = space.read(derivation)
            if space.within(architecture) is None:
                cost = architecture.cost
                found.append({"text": architecture.text, "params": cost.params, "flops": cost.flops})
        if len(found) == SAMPLES:
            return found
    raise SpaceExhausted(f"{MAX_DRAWS} samples hold {len(found)} within the limits; raise them")
