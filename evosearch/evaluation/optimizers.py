"""A recipe's optimizer, and its learning rate at each step."""

from __future__ import annotations

import functools
import inspect
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from evosearch.evaluation.recipe import Recipe

POWER = 10.0  # order of cosine power annealing, as its authors train to the end
ONE_CYCLE_RISE = 0.3  # share of the steps in which one-cycle rises where no warm-up is given, as torch's default


def optimizer_of(network: nn.Module, recipe: Recipe, device: str) -> torch.optim.Optimizer:
    """The recipe's optimizer. Decayed are parameters called `weight` with two axes or more, which linear and
    convolution layers have, and norms, biases and positional encodings do not.
    """
    import torch

    decayed = [p for name, p in network.named_parameters() if name.rpartition(".")[2] == "weight" and p.ndim >= 2]
    chosen = {id(p) for p in decayed}
    others = [p for p in network.parameters() if id(p) not in chosen]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    cuda = device.startswith("cuda")
    lr = torch.tensor(float(recipe.lr), device=device) if cuda else float(recipe.lr)
    # One fused kernel for all parameters: on small networks the step is otherwise mostly Python.
    fused = cuda or device == "cpu"
    if recipe.optimizer == "sgd":
        return _uncompiled(torch.optim.SGD)(
            groups, lr=lr, momentum=recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0, fused=fused
        )
    return _uncompiled(torch.optim.AdamW)(
        groups, lr=lr, betas=(float(recipe.momentum), 0.999), fused=fused, capturable=cuda
    )


@functools.cache
def _uncompiled(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """torch's optimizer without what keeps these methods of it out of what is compiled, since nothing here is.

    With that, the first optimizer of a process loads the compiler: 1 s and 70 MB in each worker (docs/decisions.md).
    """
    import torch

    methods = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad")}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of step 0 <= step < steps.

    As torch's CosineAnnealingLR and OneCycleLR (cos, its default factors, rate only), stepped after every batch.
    """
    warm = min(round(recipe.warmup * steps / recipe.epochs), steps)
    if recipe.schedule == "onecycle":
        rise = warm or ONE_CYCLE_RISE * steps
        low, high, end = recipe.lr / 25, recipe.lr, recipe.lr / 25 / 1e4
        peak = max(rise - 1, 0.0)
        if step <= peak and peak > 0:
            return low + (high - low) * (1 - math.cos(math.pi * step / peak)) / 2
        done = (step - peak) / max(steps - 1 - peak, 1e-9)
        return end + (high - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
    if step < warm:
        return recipe.lr * (step + 1) / warm
    if recipe.schedule == "constant":
        return recipe.lr
    cosine = (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1))) / 2
    return recipe.lr * (powered(cosine, POWER) if recipe.schedule == "power" else cosine)


def powered(share: float, order: float) -> float:
    """Cosine power annealing's share of the rate (Hundt et al. 2019, arXiv 1903.09900, equation 1).

    order^(share + 1), brought to 0 at a share of 0 and to 1 at 1; an order of 1 is the share itself, its limit.
    """
    return share if order == 1 else (order**share - 1) / (order - 1)
