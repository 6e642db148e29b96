"""From a large network to a small one: a search that starts from the large one and takes away.

Parts are removed and layers narrowed, children begin with their parents' weights, and NSGA-II keeps what is best for
its size. Source: N2N (Ashok et al. 2018), whose two actions, removing and shrinking a layer, are the mutations here; in
place of its reward the whole front of accuracy and size is kept.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch import config as configuration
from evosearch.engine.lifecycle import begin
from evosearch.engine.setup import prepare
from evosearch.errors import RunError
from evosearch.evaluation.lineage import file_of
from evosearch.evaluation.measures import objective
from evosearch.evaluation.teachers import PARENT
from evosearch.score import Score
from evosearch.store.run import Run
from evosearch.workers import LOCAL

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.config import Config
    from evosearch.watch import Summary, Watch

MUTATIONS = ("narrow", "remove_node")
TEACHER = "teacher"  # the seed that the search starts from
POPULATION = 12


@dataclass(frozen=True)
class Small:
    """A candidate of a compressing run, with the large network's figures beside. value: the metric on held-out rows.

    number: its proposal's, by which its weights are found (evaluation.lineage). best: the best value of any candidate.
    """

    number: int
    text: str
    params: int
    value: float
    teacher_params: int
    teacher_value: float
    best: float


def compressing(
    config: Config,
    metric: str,
    params: int,
    against: str = "params",
    distil: bool = False,
    population: int = POPULATION,
) -> Config:
    """The configuration of a search that makes a network of `params` parameters smaller. metric: the task's.

    Unless it says otherwise, children are trained for as many epochs as the large network: what is cut has to heal.
    against: the objective that is to become small. distil: children learn their parents' answers, too.
    """
    epochs = config.recipe.inherit_epochs or config.recipe.epochs
    changes = {
        "search.strategy": "nsga2", "search.objectives": (metric, f"-{against}"), "search.mutations": MUTATIONS,
        "search.crossover": 0.0, "search.initialise": "shrunk", "search.initial": 0, "search.population": population,
        "search.select": "", "search.survive": "", "recipe.inherit": "parent", "recipe.inherit_epochs": epochs,
        "limits.max_params": params, "seeds": (), "strategy": {},
        # of the run that the network may be from: what does not go with weights that pass on through a folder, or with
        # this strategy and these objectives
        "search.rungs": (), "search.grow": False, "search.replacement": False, "learn_from": (), "evaluator": "",
        "workers.executor": LOCAL,
    }  # fmt: skip
    changes |= {"recipe.rule": "distillation", "recipe.teacher": PARENT} if distil else {}
    plain = configuration.loads(configuration.dumps(config), "the configuration", changes)
    return plain.model_copy(update={"layers": config.layers, "operators": config.operators})


def compress(config: Config, text: str, folder: Path, watch: Watch) -> Summary:
    """Run the search of a `compressing` configuration in `folder`, from the network that `text` is."""
    began = time.monotonic()
    config = config.model_copy(update={"seeds": (TEACHER,)})
    return begin(prepare(config, seed_texts={TEACHER: text}), folder, watch, began)


def smallest(folder: Path, lost: float) -> Small:
    """The smallest candidate of a compressing run whose metric is at most `lost` below the best of all, the large
    network among them; smallest by what the run is to make small.

    All as the search measured them, on held-out rows. A candidate has the epochs of all from which its weights are, so
    most have been trained for longer than the large network, which would be better too by then: what is lost to
    smallness shows beside the best of them. Only a candidate whose weights were kept is taken: those of the front are.
    Raises RunError where there is none.
    """
    run = Run.open(folder)
    texts: dict[int, str] = {}
    scores: dict[int, Score] = {}
    for record in run.records():
        if record["kind"] == "proposal":
            texts[record["number"]] = record["text"]
        elif record["kind"] == "score" and record["status"] == "ok":
            scores[record["number"]] = Score.unpack(record)
    if 0 not in scores:
        raise RunError(f"{folder}: the network to start from has no score; `evolve report {folder}` says why")
    first, second = map(objective, run.header["objectives"])
    value = {number: first.sign * score.figures[first.name] for number, score in scores.items()}
    there = {number for number in scores if file_of(folder, number).is_file()}
    most = max(value.values())
    large = scores[0].figures[second.name]
    smaller = [number for number in sorted(there) if scores[number].figures[second.name] < large]
    good = [number for number in smaller if value[number] >= most - lost]
    if not good:
        raise RunError(f"{folder}: nothing smaller loses as little as {lost:g}; allow more, or a larger --budget")
    best = min(good, key=lambda number: (scores[number].figures[second.name], -value[number], number))
    params, large = scores[best].cost.params, scores[0].cost.params
    return Small(best, texts[best], params, first.sign * value[best], large, first.sign * value[0], first.sign * most)


__all__ = ["Small", "compress", "compressing", "smallest"]
