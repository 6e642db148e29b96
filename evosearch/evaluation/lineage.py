"""Where a candidate's weights come from and go to: `weights/NUMBER.safetensors` in the run's folder.

A child begins with its parent's weights (`evosearch.inherit`), each fold's with those of the same fold, so that no
network has seen what it is judged on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from evosearch import inherit, network
from evosearch.errors import RunError
from evosearch.evaluation.batches import Batches
from evosearch.evaluation.rules import load_plain, plain_state
from evosearch.evaluation.teachers import PARENT
from evosearch.score import LINEAGE_EPOCHS

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from evosearch.architecture import Architecture
    from evosearch.evaluation.fit import Trained
    from evosearch.evaluation.job import EvaluationContext, Job
    from evosearch.evaluation.recipe import Recipe
    from evosearch.tasks import Task

FOLDER = "weights"
SEEN = 32  # examples on which parent and child are compared
EPOCHS = "epochs"  # a file's only metadata, whose order is not kept: of the whole lineage, and of this very network

State = dict[str, "Tensor"]


def file_of(folder: Path, number: int) -> Path:
    """The file of a candidate's weights in a run's folder, by its proposal's number."""
    return folder / FOLDER / f"{number}.safetensors"


@dataclass
class Lineage:
    """One candidate's: what it begins with, and what it leaves behind.

    architecture: its own. recipe: that it is trained with now. parent: its parent's architecture, None where it begins
    from nothing; its own, where it goes on from a lower rung. states: the parent's weights, one for each fold. epochs:
    of all trainings before; own: of this very network before. inherited: what was taken over, as far as it is known
    yet. kept: what it leaves behind, by fold.
    """

    folder: Path
    number: int
    architecture: Architecture
    task: Task
    recipe: Recipe
    parent: Architecture | None = None
    states: list[State] = field(default_factory=list)
    epochs: float = 0.0
    own: float = 0.0
    inherited: dict[str, float] = field(default_factory=dict)
    kept: dict[int, State] = field(default_factory=dict)

    @classmethod
    def of(
        cls, job: Job, architecture: Architecture, context: EvaluationContext, recipe: Recipe, folder: Path
    ) -> Lineage:
        """The lineage of a job; recipe: of a whole evaluation. Raises RunError where it lacks the parent's weights."""
        new = cls(folder, job.number, architecture, cast("Task", context.task), recipe.at(job.fidelity))
        if job.parent is None:
            return new
        number, text = job.parent
        found = read(file_of(folder, number))
        parent = context.space.read(context.space.parse(text))
        after = replace(new, parent=parent, states=found.states, epochs=found.epochs)
        if parent.key != architecture.key:
            return replace(after, recipe=recipe.inheriting.at(job.fidelity))
        whole = recipe if found.own == found.epochs else recipe.inheriting  # as it began, from nothing or a parent
        left = max(1, round(whole.at(job.fidelity).epochs - found.own))
        return replace(after, recipe=replace(recipe, epochs=left), own=found.own)

    def begin(self, made: nn.Module, fold: int) -> None:
        """Give a network that was just made its parent's weights."""
        if self.parent is None:
            return
        state = self.states[fold]
        taken = inherit.inherit(self.parent, state, self.architecture, plain_state(made))
        load_plain(made, taken.weights)
        if fold == 0:
            difference = self._difference(made, self.parent)
            self.inherited = {"inherited": taken.copied / max(1, taken.of), "inherited_difference": difference}

    def taught(self, fold: int) -> nn.Module | None:
        """The parent's network, where the recipe says that it is learned from; None of a candidate without one."""
        import torch

        if self.parent is None or self.recipe.teacher != PARENT:
            return None
        with torch.random.fork_rng(devices=[]):
            before = network.build(self.parent)
        before.load_state_dict(self.states[fold])
        return before.eval().requires_grad_(False)

    def _difference(self, made: nn.Module, parent: Architecture) -> float:
        """The largest one between the outputs of a child that begins and of its parent, on a batch."""
        import torch

        with torch.random.fork_rng(devices=[]), torch.no_grad():
            before = network.build(parent)
            before.load_state_dict(self.states[0])
            batches = Batches(self.task, self.task.train, self.recipe, "cpu", torch.contiguous_format)
            x, _ = batches.take(torch.arange(min(SEEN, batches.count)))
            x = x.float()  # whatever the training is in: both networks are as they are built
            before.eval()
            made.eval()
            difference = float((before(x) - made(x)).abs().max())
        made.train()
        return difference

    def keep(self, trained: nn.Module, fold: int) -> None:
        """Hold a fold's trained weights, for the file."""
        state = trained.state_dict()
        self.kept[fold] = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}

    def finish(self, trained: Trained) -> Trained:
        """Write the weights of a training that went well; the score with what was inherited, and all epochs so far."""
        score = trained.score
        if score.status != "ok":
            return trained
        trained_for = score.metrics.get("epochs", 0.0)
        epochs = self.epochs + trained_for
        _write(file_of(self.folder, self.number), self.kept, epochs, self.own + trained_for)
        metrics = {**score.metrics, **self.inherited, LINEAGE_EPOCHS: epochs}
        return trained._replace(score=replace(score, metrics=metrics))


def _write(path: Path, states: dict[int, State], epochs: float, own: float) -> None:
    from safetensors.torch import save

    tensors = {f"{fold}/{name}": value for fold, state in states.items() for name, value in state.items()}
    put(path, save(tensors, {EPOCHS: f"{epochs!r} {own!r}"}))


def put(path: Path, data: bytes) -> None:
    """Write a file of weights, whole or not at all, and durably: before the score that children are chosen by."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.name}.new-{os.getpid()}")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


class Kept(NamedTuple):
    """What a file of weights holds: the states by fold, the epochs of the whole lineage, and those of this network."""

    states: list[State]
    epochs: float
    own: float


def read(path: Path) -> Kept:
    """A file of weights. Raises RunError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            epochs, *more = map(float, (file.metadata() or {})[EPOCHS].split())
            own = more[0] if more else epochs  # of a run that had no rungs
            states: dict[int, Any] = {}
            for key in file.keys():  # noqa: SIM118 - not a dict
                fold, _, name = key.partition("/")
                states.setdefault(int(fold), {})[name] = file.get_tensor(key)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise RunError(f"{path}: the weights that a candidate begins with cannot be read: {error}") from None
    return Kept([states[fold] for fold in sorted(states)], epochs, own)


__all__ = ["FOLDER", "Kept", "Lineage", "file_of", "put", "read"]
