"""`evolve run --dry-run`: what a run would do, without training anything."""

from __future__ import annotations

import numpy as np

from evosearch import config as configuration
from evosearch.cli import output
from evosearch.errors import SpaceExhausted, UsageError
from evosearch.report.text import count

SAMPLES = 5


def preview(config: configuration.Config, as_json: bool) -> None:
    """Print the resolved config, and the first candidates that sampling finds within the limits."""
    from evosearch import tasks
    from evosearch.architecture import MAX_DRAWS, Space
    from evosearch.cli.spaces import load_layers
    from evosearch.grammar import load
    from evosearch.layers import vocabulary

    grammar = load(config.grammar)
    task = tasks.load(config.task, config.data)
    shape = task.input_shape
    if (grammar.input == "none") != (shape is None):
        raise UsageError(f"grammar {grammar.name} takes {grammar.input} input, which task {task.name} does not give")
    words = vocabulary(grammar, load_layers(config.layers)) if shape is not None else None
    space = Space(grammar, words, shape, config.limits)
    rng = np.random.default_rng(config.seed)
    found: list[dict[str, object]] = []
    for _ in range(MAX_DRAWS):
        derivation = space.draw(rng)
        if shape is None:
            found.append({"text": space.render(derivation)})
        else:
            architecture = space.read(derivation)
            if space.within(architecture) is None:
                cost = architecture.cost
                found.append({"text": architecture.text, "params": cost.params, "flops": cost.flops})
        if len(found) == SAMPLES:
            break
    else:
        raise SpaceExhausted(f"{MAX_DRAWS} samples hold fewer than {SAMPLES} within the limits; raise them")
    text = configuration.dumps(config)
    if as_json:
        output.as_json({"config": config.model_dump(mode="json"), "candidates": found})
        return
    output.say(text)
    output.say(f"# {config.search.budget} candidates of {config.recipe.epochs} epochs on {task.name}; samples like:")
    for one in found:
        size = f"{count(float(str(one['params'])))} parameters" if "params" in one else ""
        output.say(f"#   {size}  {one['text']}")
