"""Proximity-informed calibration error: examples far from what was trained on are looked at by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evosearch.evaluation import calibration
from evosearch.evaluation.measures.judged import without_classes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task

BATCH = 512


class Piece:
    """Xiong et al. 2023; the network answers the validation split, in the features that its head reads.

    By folds of the last one's network, on that fold.
    """

    name, sign, unit, timed = "piece", -1, "share of examples", False
    lacking = staticmethod(without_classes)

    def value(self, trained: Trained, task: Task) -> float | None:
        if without_classes(task) or trained.network is None:
            return None
        task = trained.fold or task  # the rows that this very network was not trained on
        known, _ = features(trained.network, task.normalise(task.train.x))
        mine, out = features(trained.network, task.normalise(task.validation.x))
        probabilities, y = task.kind.averaging.to_average(out), task.validation.y
        confidences, hits = calibration.confidence(probabilities), calibration.right(probabilities, y)
        return calibration.piece(confidences, hits, calibration.proximity(mine, known))


def features(network: nn.Module, x: np.ndarray[Any, np.dtype[Any]]) -> tuple[Any, Any]:
    """What the last linear layer reads, (N, D), and what the network gives, (N, outputs), for normalised examples."""
    import torch

    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    first = next(network.parameters())
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().flatten(1).float().cpu()))
    network.eval()
    out = []
    try:
        with torch.no_grad():
            for start in range(0, len(x), BATCH):
                batch = torch.from_numpy(x[start : start + BATCH]).to(first.device, first.dtype)
                out.append(network(batch).float().cpu())
    finally:
        hook.remove()
    return torch.cat(seen).numpy(), torch.cat(out).numpy()
