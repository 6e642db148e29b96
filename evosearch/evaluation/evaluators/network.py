"""Candidates scored by training the network that their sentence is: read it, refuse what cannot fit, build, train."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from evosearch.cost import COUNTED
from evosearch.errors import ArchitectureError, ConfigError
from evosearch.evaluation import measures, proxies
from evosearch.evaluation.crossing import judged
from evosearch.evaluation.failures import one_line
from evosearch.evaluation.fit import warm_up
from evosearch.evaluation.job import Evaluation, EvaluationContext, Job
from evosearch.evaluation.memory import memory_estimate
from evosearch.evaluation.recipe import Recipe, check
from evosearch.evaluation.rules import built
from evosearch.score import Score
from evosearch.tasks.share import share_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evosearch.architecture import Architecture
    from evosearch.evaluation.fit import Trained
    from evosearch.evaluation.lineage import Lineage
    from evosearch.layers.builder import Working
    from evosearch.tasks import Task

GPU_LIBRARIES = 192 << 20  # bytes that cuBLAS and cuDNN work in: 32 MiB for each of two streams, and convolutions'


class Network:
    def __init__(self, context: EvaluationContext) -> None:
        self.context = context
        self.task = cast("Task", context.task)
        self.folder: Path | None = None
        self._shares: dict[float, Task] = {}

    @property
    def digest(self) -> str:
        resources, recipe = self.context.resources, self.context.recipe
        usual = recipe.digest(resources.device, threads=resources.threads)
        if set(self.context.proxies) <= set(recipe.proxies) and not self.untrained:
            return usual
        more = json.dumps([usual, sorted(self.context.proxies), self.untrained])
        return hashlib.blake2b(more.encode(), digest_size=16).hexdigest()

    @property
    def measures(self) -> Mapping[str, int]:
        known = (*measures.of_networks(self.task), *self.context.measures)
        return {**dict.fromkeys(self.context.proxies, 1), **{measure.name: measure.sign for measure in known}}

    @property
    def untrained(self) -> bool:
        """Whether all that the search optimises is known before a training: proxies, and what a network costs."""
        asked = set(self.context.signs)
        return bool(asked & set(self.context.proxies)) and asked <= {*self.context.proxies, *COUNTED}

    def prepare(self, folder: Path | None) -> None:
        """Torch's threads set and its libraries loaded. Raises ConfigError where the recipe is not for the task."""
        import torch

        check(self.task, self.context.recipe)
        self.folder = folder
        torch.set_num_threads(self.context.resources.threads)
        warm_up(self.context.resources.device)

    def __call__(self, job: Job) -> Evaluation:
        from evosearch import network

        begun = time.monotonic()
        space, resources = self.context.space, self.context.resources
        try:
            architecture = space.read(space.parse(job.text))
            whole = self.context.recipe.said(architecture.trained_with)
            recipe = whole.at(job.fidelity)
            check(self.task, recipe)
        except (ArchitectureError, ConfigError) as error:
            return Evaluation(Score(job.key, "invalid", seed=job.seed, error=one_line(error)))
        network.require_true(architecture)
        cost = architecture.cost
        task = self._task(job.fidelity)
        room = resources.device_memory
        if room and (needed := self.memory(cost.params, network.working_scalars(architecture), recipe)) > room:
            said = f"would take {needed / 2**30:.2f} GiB to train, and the limit is {room / 2**30:.2f}"
            return Evaluation(Score(job.key, "over_budget", cost=cost, seed=job.seed, error=said))
        seen = self._proxies(architecture, recipe, job.seed)
        if self.untrained:
            seconds = time.monotonic() - begun
            return Evaluation(Score(job.key, "ok", seen, cost=cost, seconds=seconds, seed=job.seed))
        lineage = self._lineage(job, architecture, whole)
        trained = judged(
            lambda: built(architecture, recipe),
            task,
            lineage.recipe if lineage else recipe,
            device=resources.device,
            seed=job.seed,
            key=job.key,
            cost=cost,
            deadline=begun + resources.time_limit if resources.time_limit else math.inf,
            rule=self.context.stop,
            brief=job.brief,
            repeat=job.repeat,
            begin=lineage.begin if lineage else None,
            keep=lineage.keep if lineage else None,
            parent=lineage.taught if lineage else None,
        )
        trained = (lineage.finish(trained) if lineage else trained)._replace(architecture=architecture)
        score = self._measured(trained, task)
        if seen and score.status == "ok":
            asked = {name: value for name, value in seen.items() if name in self.context.signs}
            score = replace(score, objectives={**score.objectives, **asked}, metrics={**score.metrics, **seen})
        return Evaluation(score, trained.log)

    def _proxies(self, architecture: Architecture, recipe: Recipe, seed: int) -> dict[str, float]:
        """What is measured of the network before it is trained."""
        if not self.context.proxies:
            return {}
        return proxies.measured(self.context.proxies, proxies.probe(architecture, self.task, recipe, seed))

    def _lineage(self, job: Job, architecture: Architecture, recipe: Recipe) -> Lineage | None:
        """What the candidate begins with and leaves behind; None where nobody inherits."""
        if self.context.recipe.inherit == "off" or self.folder is None:
            return None
        from evosearch.evaluation.lineage import Lineage

        return Lineage.of(job, architecture, self.context, recipe, self.folder)

    def _task(self, fidelity: float) -> Task:
        """The task that a share of an evaluation trains on."""
        if self.context.recipe.shorten != "rows":
            return self.task
        if fidelity not in self._shares:
            self._shares[fidelity] = share_of(self.task, fidelity, self.context.recipe.folds)
        return self._shares[fidelity]

    def _measured(self, trained: Trained, task: Task) -> Score:
        """The score with the measures that the search asked for, and what they report beside themselves.

        task: what was trained on.
        """
        if trained.score.status != "ok":
            return trained.score
        try:
            values = {measure.name: measure.value(trained, task) for measure in self.context.measures}
        except ConfigError as error:
            return replace(trained.score, status="invalid", objectives={}, error=one_line(error))
        found = {name: float(value) for name, value in values.items() if value is not None}
        if bad := [name for name, value in found.items() if not math.isfinite(value)]:
            said = f"{bad[0]} is {found[bad[0]]}"
            return replace(trained.score, status="nan", objectives={}, error=said)
        metrics = dict(trained.score.metrics)
        for measure in self.context.measures:
            metrics |= measure.beside(trained, task) if hasattr(measure, "beside") else {}
        return replace(trained.score, objectives={**trained.score.objectives, **found}, metrics=metrics)

    def memory(self, params: int, working: Working, recipe: Recipe) -> int:
        """Bytes of the device's memory that a training is estimated to take; on a GPU with what is there besides."""
        resources = self.context.resources
        needed = memory_estimate(params, working, self.task, recipe, resources.device)
        if resources.device == "cpu":
            return needed
        data = sum(split.x.nbytes + split.y.nbytes for split in (self.task.train, self.task.validation))
        return needed + GPU_LIBRARIES + min(data, resources.device_memory // 4)
