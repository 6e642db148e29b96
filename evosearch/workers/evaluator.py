"""What a worker does with a sentence: read it, refuse what cannot fit, build it, train it, score it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from evosearch import grammar
from evosearch.architecture import Architecture, Limits, Space
from evosearch.errors import ArchitectureError, TaskError
from evosearch.evaluation.failures import one_line
from evosearch.evaluation.fit import train, warm_up
from evosearch.evaluation.memory import memory_estimate
from evosearch.evaluation.recipe import Recipe, check
from evosearch.score import Score
from evosearch.space import space_of
from evosearch.tasks import DirectTask, Task, TaskSettings, load
from evosearch.workers import Evaluation, Evaluator, Job, Resources

GPU_LIBRARIES = 192 << 20  # bytes that cuBLAS and cuDNN work in: 32 MiB for each of two streams, and convolutions'


def evaluator(space: Space, task: Task | DirectTask, recipe: Recipe, resources: Resources) -> Evaluator:
    """The function that scores a job of this task: by training a network, or by the task itself."""
    if isinstance(task, DirectTask):
        return _Direct(space, task)
    return _Network(space, task, recipe, resources)


@dataclass(frozen=True)
class _Network:
    space: Space
    task: Task
    recipe: Recipe
    resources: Resources

    def __call__(self, job: Job) -> Evaluation:
        from evosearch import network

        begun = time.monotonic()
        try:
            architecture = self.space.read(self.space.parse(job.text))
        except ArchitectureError as error:
            return Evaluation(Score(job.key, "invalid", seed=job.seed, error=one_line(error)))
        cost = architecture.cost
        room = self.resources.device_memory
        if room and (needed := self.memory(architecture)) > room:
            said = f"would take {needed / 2**30:.2f} GiB to train, and the limit is {room / 2**30:.2f}"
            return Evaluation(Score(job.key, "over_budget", cost=cost, seed=job.seed, error=said))
        limit = self.resources.time_limit
        trained = train(
            lambda: network.build(architecture),
            self.task,
            self.recipe,
            device=self.resources.device,
            seed=job.seed,
            key=job.key,
            cost=cost,
            deadline=begun + limit if limit else math.inf,
            medians=job.medians,
        )
        return Evaluation(trained.score, trained.log)

    def memory(self, architecture: Architecture) -> int:
        """Bytes of the device's memory that training it is estimated to take; on a GPU with what is there besides."""
        from evosearch import network

        resources = self.resources
        working = network.working_scalars(architecture)
        needed = memory_estimate(architecture.cost.params, working, self.task, self.recipe, resources.device)
        if resources.device == "cpu":
            return needed
        data = sum(split.x.nbytes + split.y.nbytes for split in (self.task.train, self.task.validation))
        return needed + GPU_LIBRARIES + min(data, resources.device_memory // 4)


@dataclass(frozen=True)
class _Direct:
    space: Space
    task: DirectTask

    def __call__(self, job: Job) -> Evaluation:
        try:
            derivation = self.space.parse(job.text)
        except ArchitectureError as error:
            return Evaluation(Score(job.key, "invalid", seed=job.seed, error=one_line(error)))
        return Evaluation(self.task.evaluate(job.text, derivation, job.key, job.seed))


@dataclass(frozen=True)
class Spec:
    """An EvaluatorSpec in plain values, as a configuration has them.

    grammar: the grammar file. search_path: folders named for grammars. layers: files of the user's own layers.
    """

    grammar: str
    task: str
    search_path: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    data: TaskSettings = field(default_factory=TaskSettings)
    recipe: Recipe = field(default_factory=Recipe)

    def build(self, resources: Resources) -> Evaluator:
        task = load(self.task, self.data)
        if not isinstance(task, Task | DirectTask):
            raise TaskError(f"task {task.name} neither has data to train on nor scores candidates itself")
        if isinstance(task, Task):
            import torch

            check(task, self.recipe)
            torch.set_num_threads(resources.threads)
            warm_up(resources.device)
        language = grammar.load(self.grammar, self.search_path)
        space = space_of(task, language, self.layers, self.limits)
        return evaluator(space, task, self.recipe, resources)
