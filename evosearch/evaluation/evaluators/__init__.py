"""How candidates are scored: each evaluator is one file with one class, made with a Context.

network    trains the network that a sentence is
direct     asks the task itself: a function, or a table of recorded figures
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from evosearch import grammar, plugins
from evosearch.architecture import Limits
from evosearch.errors import TaskError
from evosearch.evaluation import measures, proxies, stopping
from evosearch.evaluation.evaluators.direct import Direct
from evosearch.evaluation.evaluators.network import Network
from evosearch.evaluation.hardware import HardwareSettings
from evosearch.evaluation.job import EvaluationContext, Evaluator, Resources
from evosearch.evaluation.recipe import Recipe
from evosearch.space import space_of
from evosearch.tasks import DirectTask, Task, TaskSettings, load
from evosearch.tasks.kinds import named
from evosearch.tasks.shared import SharedTask  # noqa: TC001 - a parcel's Spec is read by its fields' types

if TYPE_CHECKING:
    from collections.abc import Callable

    from evosearch.tasks import AnyTask
    from evosearch.tasks.kinds import Kinds


def evaluator(context: EvaluationContext, own: Callable[[EvaluationContext], Evaluator] | None = None) -> Evaluator:
    """The evaluator of the context's task: a person's own, or by training a network, or by the task itself."""
    if own is not None:
        return own(context)
    return Direct(context) if isinstance(context.task, DirectTask) else Network(context)


@dataclass(frozen=True)
class Spec:
    """An EvaluatorSpec in plain values, as a configuration has them.

    grammar: the grammar file. search_path: folders named for grammars. layers: files of the user's own layers.
    folder: the run's; empty where there is none. signs: the search's objectives, names to 1 or -1.
    operators: folders of the user's own plug-ins. evaluator, head: of those, by name; empty for the usual ones.
    hardware: how what is measured of hardware is measured. shared: the task as another process of this machine has read
    it; None where it is to be read.
    """

    grammar: str
    task: str
    search_path: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    data: TaskSettings = field(default_factory=TaskSettings)
    recipe: Recipe = field(default_factory=Recipe)
    folder: str = ""
    signs: tuple[tuple[str, int], ...] = ()
    operators: tuple[str, ...] = ()
    evaluator: str = ""
    head: str = ""
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    shared: SharedTask | None = None

    def build(self, resources: Resources) -> Evaluator:
        own = plugins.find(self.operators)
        task = self._task(named(own.own("kind"), self.data.kind))
        if not isinstance(task, Task | DirectTask):
            raise TaskError(f"task {task.name} neither has data to train on nor scores candidates itself")
        head = own.get("head", self.head).function if self.head else None
        read = grammar.load(self.grammar, self.search_path)
        space = space_of(task, read, self.layers, self.limits, head, self.recipe.modifier)
        rule, signs = stopping.find(self.recipe.stop, own.own("stop")), dict(self.signs)
        taken = measures.asked(signs, own.own("measure"), self.hardware, usual=not self.evaluator)
        seen = proxies.named(self.recipe, signs, own)
        context = EvaluationContext(space, task, self.recipe, resources, rule, signs, taken, seen)
        found = evaluator(context, own.get("evaluator", self.evaluator).function if self.evaluator else None)
        found.prepare(Path(self.folder) if self.folder else None)
        return found

    def _task(self, kinds: Kinds) -> AnyTask:
        task = None
        if self.shared is not None:
            task = self.shared.task(kinds.named(self.shared.kind if self.data.kind == "auto" else self.data.kind))
        return load(self.task, self.data, kinds) if task is None else task


__all__ = ["Spec", "evaluator"]
