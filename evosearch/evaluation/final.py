"""Trainings at the end of a run, each in a worker: what comes of one goes into a file, for whoever joins them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evosearch.evaluation.crossing import judged
from evosearch.evaluation.fit import final_train
from evosearch.evaluation.job import Evaluation
from evosearch.evaluation.rules import built

if TYPE_CHECKING:
    from torch import Tensor

    from evosearch.evaluation.evaluators import Spec
    from evosearch.evaluation.evaluators.network import Network
    from evosearch.evaluation.job import Job, Resources
    from evosearch.evaluation.recipe import Recipe

Array = np.ndarray[Any, np.dtype[Any]]
OUTPUTS, STATE = "outputs", "state."  # in the file of a training


@dataclass(frozen=True)
class Training:
    """What a job of the final phase is: its `brief`.

    whole: trained on train and validation together and tested; else by the recipe's validation scheme, of its folds the
    first `first`, 0: all. finish_by: a time.monotonic() by which a schedule on the whole is shortened to end, and by
    which any other is given up.
    """

    recipe: Recipe
    whole: bool
    finish_by: float = math.inf
    first: int = 0


@dataclass(frozen=True)
class TrainerSpec:
    """An EvaluatorSpec of final trainings. spec: of the run's own evaluations. folder: for the files."""

    spec: Spec
    folder: str

    def build(self, resources: Resources) -> Trainer:
        return Trainer(cast("Network", replace(self.spec, evaluator="").build(resources)), Path(self.folder))


class Trainer:
    """Trains one network after the other. Of each that goes well `NUMBER.safetensors` holds outputs and weights."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.context, self.task, self.folder = network.context, network.task, folder

    def __call__(self, job: Job) -> Evaluation:
        import torch
        from safetensors.torch import save_file

        training = cast("Training", job.brief)
        space, device = self.context.space, self.context.resources.device
        architecture = space.read(space.parse(job.text))
        what: dict[str, Any] = {"device": device, "seed": job.seed, "key": job.key, "cost": architecture.cost}
        what["finish_by" if training.whole else "deadline"] = training.finish_by
        if not training.whole:
            what |= {"repeat": job.repeat, "first": training.first}
        train = final_train if training.whole else judged
        trained = train(lambda: built(architecture, training.recipe), self.task, training.recipe, **what)
        if trained.score.status != "ok" or trained.network is None or trained.outputs is None:
            return Evaluation(trained.score, trained.log)
        kept = {OUTPUTS: torch.from_numpy(trained.outputs)}
        kept |= {f"{STATE}{name}": value for name, value in trained.network.state_dict().items()}
        save_file(
            {n: value.detach().cpu().contiguous() for n, value in kept.items()}, self.folder / name_of(job.number)
        )
        return Evaluation(trained.score)


def name_of(number: int) -> str:
    """The file of a training, by its job's number."""
    return f"{number}.safetensors"


def warm_up() -> None:
    """Load what `read` needs: a second, on a busy machine ten, that nobody waits for beside the trainings."""
    import safetensors.torch  # noqa: F401


def read(folder: Path, number: int) -> tuple[Array, dict[str, Tensor]]:
    """The outputs and the weights of a training that went well."""
    from safetensors.torch import load_file

    found = load_file(folder / name_of(number))
    outputs: Array = found.pop(OUTPUTS).numpy()
    return outputs, {name.removeprefix(STATE): value for name, value in found.items()}


__all__ = ["Trainer", "TrainerSpec", "Training", "name_of", "read", "warm_up"]
