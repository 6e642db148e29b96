"""From a trained network to a faster one: parts of it are narrowed or removed until a call takes no longer than it may.

The search is that of `operators/strategy/netadapt.py` (NetAdapt, Yang et al. 2018); here is its configuration, and what
is measured before it begins, so that a target that cannot be reached is refused before anything is trained.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evosearch import config as configuration
from evosearch import network, workers
from evosearch.engine.lifecycle import begin
from evosearch.engine.setup import prepare
from evosearch.errors import UsageError
from evosearch.evaluation import hardware
from evosearch.operators import find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.architecture import Architecture, Space
    from evosearch.config import Config
    from evosearch.evaluation.hardware import Spread
    from evosearch.final import Subject
    from evosearch.watch import Summary, Watch

MUTATIONS = ("narrow", "remove_node")
OWN = ("step", "tries")  # settings of the strategy that a person may give
START = "start"  # the seed that the search starts from
CUTS = 400  # mutations on the way to the smallest network
SERIES = 3  # measurements of each network in a comparison
TIME = re.compile(r"(?P<number>\d+\.?\d*|\.\d+) ?(?P<unit>us|ms|s)")
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Room(NamedTuple):
    """Milliseconds of a call: of the network as it is, and of the smallest one that it was narrowed to."""

    now: float
    least: float


def milliseconds(text: str) -> float:
    """ "3ms", "800us" and "0.1 s" in milliseconds. Raises UsageError."""
    found = TIME.fullmatch(text.strip())
    if found is None or not float(found["number"]):
        raise UsageError(f"--latency {text}: say a time with its unit, as in 3ms, 800us or 0.1s")
    return float(found["number"]) * UNITS[found["unit"]]


def room(subject: Subject) -> Room:
    """What there is to save, measured on this machine, or read from the table of layers that the configuration names.

    The smallest network is narrowed and cut at random until nothing is left to take away: another way down may end
    elsewhere, so a target below it is out of reach as a rule and not for certain. Raises ConfigError where a table
    lacks a layer of the network.
    """
    settings = subject.config.hardware
    least = _smallest(subject.space, subject.architecture)
    if settings.table:
        table = hardware.read_table(Path(settings.table))
        return Room(table.latency(subject.architecture), 0.0)
    return Room(*(found.median for found in compared([subject.architecture, least], subject.config)))


def compared(architectures: Sequence[Architecture], config: Config) -> list[Spread]:
    """The latency of each, in ms, measured in turn so that what else the machine does meets all alike.

    The median measurement of SERIES for each, on the device that candidates are trained on.
    """
    device = workers.devices(config.workers)[0]
    built = [network.build(one).to(device) for one in architectures]
    series: list[list[Spread]] = [[] for _ in built]
    for _ in range(SERIES):
        for one, module, found in zip(architectures, built, series, strict=True):
            found.append(hardware.latency(module, one.input, config.hardware))
    return [sorted(found)[SERIES // 2] for found in series]


def refining(config: Config, metric: str, target: float) -> Config:
    """The configuration of a search that makes a network take `target` milliseconds at the most. metric: the task's.

    One candidate at a time: another training beside would slow down what is measured. What a network is trained for
    after each change is `recipe.inherit_epochs`, a third of `recipe.epochs` where nothing says so.
    """
    latency = "-table_latency" if config.hardware.table else "-latency"
    kept = {name: value for name, value in config.strategy.items() if name in OWN}
    changes = {
        "search.strategy": "netadapt", "search.objectives": (metric, latency), "search.mutations": MUTATIONS,
        "search.lookahead": 0, "search.order": "proposal", "search.replacement": False, "search.screen": 1,
        "search.rungs": (), "search.grow": False, "search.learn": 0, "search.select": "", "search.survive": "",
        "recipe.inherit": "parent", "recipe.stop": "off", "seeds": (), "time": "",
        "learn_from": (), "evaluator": "", "workers.executor": workers.LOCAL,
        "strategy": {**kept, "target": target},
    }  # fmt: skip
    plain = configuration.loads(configuration.dumps(config), "the configuration", changes)
    return plain.model_copy(update={"layers": config.layers, "operators": config.operators})


def refine(config: Config, text: str, folder: Path, watch: Watch) -> Summary:
    """Run the search of a `refining` configuration in `folder`, from the network that `text` is.

    `evolve resume` goes on with it. Raises RunError where the target is not reached.
    """
    began = time.monotonic()
    config = config.model_copy(update={"seeds": (START,)})
    return begin(prepare(config, seed_texts={START: text}), folder, watch, began)


def _smallest(space: Space, architecture: Architecture) -> Architecture:
    """The architecture with its layers narrowed and its parts removed, as far as they can be; by one random way."""
    operators, rng = find(), np.random.default_rng(0)
    mutations = [operators.get("mutate", name) for name in MUTATIONS]
    derivation = architecture.derivation
    for _ in range(CUTS):
        children = (mutation(derivation, space, rng) for mutation in mutations)
        smaller = next((child for child in children if child is not None), None)
        if smaller is None:
            break
        derivation = smaller
    return space.read(derivation)


__all__ = ["Room", "compared", "milliseconds", "refine", "refining", "room"]
