"""Proxies: figures of a network at initialisation that say something of how well it will train.

`estimators/proxy/<name>.py` has one function each, of a Probe; larger is better. They are measured where candidates are
evaluated, before a training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from evosearch.architecture import Architecture
    from evosearch.evaluation.recipe import Recipe
    from evosearch.plugins import Operator, Operators
    from evosearch.tasks.base import Task

EXAMPLES = 64  # of the train split, the same ones for every candidate
WORST = -1e12  # what a figure counts as that is infinitely low or no number: below all that are


def named(recipe: Recipe, objectives: Iterable[str], operators: Operators) -> dict[str, Operator]:
    """The proxies that a run measures: those of its recipe, and those that its search optimises."""
    asked = [*recipe.proxies, *(name for name in objectives if name in operators.of("proxy"))]
    return {name: operators.get("proxy", name) for name in dict.fromkeys(asked)}


@dataclass(frozen=True, eq=False)
class Probe:
    """A network to be measured, and what it is measured on.

    build: the network anew, its initial weights the same each time. x: (examples, *input shape), normalised. y: their
    targets as the loss takes them. loss: (outputs, targets) -> a scalar. classes: number of classes; 0 for numbers.
    pieces: the network anew in the pieces that it computes one after the other: stem, steps of its outermost series,
    head; None where it is known as a whole only. masked: whether the last number of a step says that it is there, as in
    Task.
    """

    build: Callable[[], nn.Module]
    x: Tensor
    y: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]
    classes: int
    pieces: Callable[[], list[nn.Module]] | None = None
    masked: bool = False

    def noise(self) -> Tensor:
        """Normal noise of the shape of x; series end in it where they do in x."""
        import torch

        found = torch.randn_like(self.x)
        return torch.cat([found[..., :-1], self.x[..., -1:]], -1) if self.masked else found

    def network(self) -> nn.Module:
        """The network in training mode, so that norms use the batch's own statistics."""
        return self.build().train()

    def stages(self) -> list[nn.Module]:
        """The network's pieces in training mode, one where it is known as a whole only."""
        return [piece.train() for piece in (self.pieces or (lambda: [self.build()]))()]

    def entropies(self) -> list[float]:
        """Of what leaves each stage for normal noise, how evenly it is spread over directions: the entropy of the
        eigenvalues of the channels' covariance over all examples and positions, as shares of their sum.

        Source: AZ-NAS (Lee and Ham 2024), its expressivity of one block.
        """
        import torch

        found = []
        stages = self.stages()
        with torch.no_grad():
            x = self.noise()
            for stage in stages:
                x = stage(x)
                rows = channels_last(x)
                rows = rows - rows.mean(0)
                values = torch.linalg.eigvalsh((rows.T @ rows / len(rows)).double()).clamp(min=0)
                shares = values / values.sum()
                found.append(float(-(shares * (shares + 1e-8).log()).sum()))
        return found

    def weights(self, network: nn.Module) -> list[Tensor]:
        """The weights of its linear and convolution layers, without biases, in the order of its modules."""
        from torch import nn

        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
        return [module.weight for module in network.modules() if isinstance(module, kinds)]

    def gradients(
        self, network: nn.Module, of: Sequence[Tensor], rows: slice = slice(None), *, graph: bool = False
    ) -> list[Tensor]:
        """Gradients of the loss over some examples, zero for what it does not depend on."""
        import torch

        loss = self.loss(network(self.x[rows]), self.y[rows])
        if not loss.requires_grad:
            return [torch.zeros_like(one) for one in of]
        found: Sequence[Tensor | None] = torch.autograd.grad(loss, [*of], create_graph=graph, allow_unused=True)
        return [torch.zeros_like(one) if g is None else g for one, g in zip(of, found, strict=True)]

    def jacobian(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(examples, inputs): of each example, the gradient of the sum of its outputs with respect to itself."""
        import torch

        x = self.x.detach().clone().requires_grad_()
        out = self.network()(x).sum()
        (gradient,) = torch.autograd.grad(out, x, allow_unused=True) if out.requires_grad else (None,)
        found = torch.zeros_like(x) if gradient is None else gradient
        return found.flatten(1).double().numpy()


def channels_last(x: Tensor) -> Tensor:
    """(rows, channels): a row for each example and position. x: (B, C, H, W), (B, S, D) or (B, D)."""
    return x.movedim(1, -1).flatten(0, -2) if x.dim() == 4 else x.flatten(0, -2)


def probe(architecture: Architecture, task: Task, recipe: Recipe, seed: int) -> Probe:
    """The probe of an architecture on a task. seed: of its initial weights."""
    import torch

    from evosearch import network
    from evosearch.evaluation.batches import Batches

    rows = np.random.default_rng(recipe.seed).permutation(len(task.train))[:EXAMPLES]
    batches = Batches(task, task.train, recipe, "cpu", torch.contiguous_format)
    x, y = batches.take(torch.from_numpy(np.sort(rows)))

    def build() -> nn.Module:
        torch.manual_seed(seed)
        return network.build(architecture)

    def pieces() -> list[nn.Module]:
        torch.manual_seed(seed)
        return network.segments(architecture)

    classes = task.outputs if task.kind.classes else 0
    return Probe(build, x.float(), y, partial(_loss, task, recipe), classes, pieces, task.masked)


def _loss(task: Task, recipe: Recipe, out: Tensor, y: Tensor) -> Tensor:
    loss: Tensor = task.kind.loss(out, y, recipe)
    return loss


def _float(value: Any) -> float:
    """A figure as a float; a whole number beyond all floats is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value > 0 or -1)


def measured(proxies: Mapping[str, Operator], at: Probe) -> dict[str, float]:
    """Each proxy's figure. What is infinitely low or no number, as a singular matrix makes it, is WORST.

    torch's own generator and settings are left as they were.
    """
    import torch

    figures = {}
    for name, proxy in proxies.items():
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            value = _float(proxy(at))
        figures[name] = max(value, WORST) if value > -math.inf else WORST
        if value == math.inf:
            figures[name] = -WORST
    return figures
