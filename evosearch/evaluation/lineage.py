"""Where a candidate's weights come from and go to: `weights/NUMBER.safetensors` in the run's folder.

A child begins with its parent's weights (`evosearch.inherit`), each fold's with those of the same fold, so that no
network has seen what it is judged on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from evosearch import inherit, network
from evosearch.errors import RunError
from evosearch.evaluation.batches import Batches

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
EPOCHS = "epochs"  # in a file's metadata: along the whole lineage

State = dict[str, "Tensor"]


def file_of(folder: Path, number: int) -> Path:
    """The file of a candidate's weights in a run's folder, by its proposal's number."""
    return folder / FOLDER / f"{number}.safetensors"


@dataclass
class Lineage:
    """One candidate's: what it begins with, and what it leaves behind.

    architecture: its own. recipe: that candidates from nothing are trained with. parent: its parent's architecture,
    None where it begins from nothing. states: the parent's weights, one for each fold. epochs: of the trainings before.
    inherited: what was taken over, as far as it is known yet. kept: what it leaves behind, by fold.
    """

    folder: Path
    number: int
    architecture: Architecture
    task: Task
    recipe: Recipe
    parent: Architecture | None = None
    states: list[State] = field(default_factory=list)
    epochs: float = 0.0
    inherited: dict[str, float] = field(default_factory=dict)
    kept: dict[int, State] = field(default_factory=dict)

    @classmethod
    def of(
        cls, job: Job, architecture: Architecture, context: EvaluationContext, recipe: Recipe, folder: Path
    ) -> Lineage:
        """The lineage of a job. Raises RunError where its parent's weights are not there."""
        own = cls(folder, job.number, architecture, cast("Task", context.task), recipe)
        if job.parent is None:
            return own
        number, text = job.parent
        states, epochs = read(file_of(folder, number))
        parent = context.space.read(context.space.parse(text))
        return replace(own, recipe=recipe.inheriting, parent=parent, states=states, epochs=epochs)

    def begin(self, made: nn.Module, fold: int) -> None:
        """Give a network that was just made its parent's weights."""
        if self.parent is None:
            return
        state = self.states[fold]
        taken = inherit.inherit(self.parent, state, self.architecture, made.state_dict())
        made.load_state_dict(taken.weights)
        if fold == 0:
            difference = self._difference(made, self.parent)
            self.inherited = {"inherited": taken.copied / max(1, taken.of), "inherited_difference": difference}

    def _difference(self, made: nn.Module, parent: Architecture) -> float:
        """The largest one between the outputs of a child that begins and of its parent, on a batch."""
        import torch

        with torch.random.fork_rng(devices=[]), torch.no_grad():
            before = network.build(parent)
            before.load_state_dict(self.states[0])
            batches = Batches(self.task, self.task.train, self.recipe, "cpu", torch.contiguous_format)
            x, _ = batches.take(torch.arange(min(SEEN, batches.count)))
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
        epochs = self.epochs + score.metrics.get("epochs", 0.0)
        _write(file_of(self.folder, self.number), self.kept, epochs)
        metrics = {**score.metrics, **self.inherited, "lineage_epochs": epochs}
        return trained._replace(score=replace(score, metrics=metrics))


def _write(path: Path, states: dict[int, State], epochs: float) -> None:
    from safetensors.torch import save

    tensors = {f"{fold}/{name}": value for fold, state in states.items() for name, value in state.items()}
    data = save(tensors, {EPOCHS: repr(epochs)})
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.name}.new-{os.getpid()}")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # on the disk before the score that children are chosen by
    beside.replace(path)


def read(path: Path) -> tuple[list[State], float]:
    """The states by fold, and the epochs they took. Raises RunError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            epochs = float((file.metadata() or {})[EPOCHS])
            states: dict[int, Any] = {}
            for key in file.keys():  # noqa: SIM118 - not a dict
                fold, _, name = key.partition("/")
                states.setdefault(int(fold), {})[name] = file.get_tensor(key)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise RunError(f"{path}: the weights that a candidate begins with cannot be read: {error}") from None
    return [states[fold] for fold in sorted(states)], epochs


__all__ = ["FOLDER", "Lineage", "file_of", "read"]
