"""Guidance: a network is drawn towards the inner representations of another one, trained or not.

Subramaniam et al. 2024 (arXiv 2410.20035): the task's loss and, of layers paired evenly, 1 - CKA between what they give
on a batch. CKA is linear and centred (Kornblith et al. 2019, arXiv 1905.00414, equation 3), by the Gram matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from evosearch.evaluation.rules.backprop import Backprop
from evosearch.evaluation.teachers import require, teacher_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from evosearch.evaluation.recipe import Recipe
    from evosearch.evaluation.rules import Learning

LAYERS = ("linear", "conv1d", "conv2d")  # operations of torch's whose results are representations


class Guidance(Backprop):
    """`recipe.teacher` is the guide's file, of torch.export; its linear and convolution layers are compared."""

    captured: ClassVar[bool] = False

    def __init__(self, network: nn.Module, learning: Learning) -> None:
        super().__init__(network, learning)
        import torch

        self.guide = teacher_of(learning.recipe.teacher, learning.device)
        self.seen: list[Tensor] = []
        kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)
        looked_at = [module for module in network.modules() if isinstance(module, kinds)]
        self.hooks = [module.register_forward_hook(self._note) for module in looked_at]

    @staticmethod
    def require(recipe: Recipe) -> None:
        require(recipe.teacher)

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if module.training:
            self.seen.append(output)

    def taken(self, x: Tensor, right: Callable[[Tensor], Tensor]) -> Tensor:
        import torch

        self.seen.clear()
        loss = right(self.outputs(self.network, x))
        with torch.no_grad():
            guiding = layers_of(self.guide, x)
        for mine, theirs in paired(self.seen, guiding):
            loss = loss + (1 - cka(mine.to(self.learning.dtype), theirs.to(self.learning.dtype)))
        self.seen.clear()
        return loss

    def kept(self) -> nn.Module:
        for hook in self.hooks:
            hook.remove()
        return self.network


def cka(a: Tensor, b: Tensor) -> Tensor:
    """||B'A||^2 / (||A'A|| ||B'B||) of features (N, ...) centred over the batch, a scalar from 0 to 1."""
    a, b = (one.flatten(1) - one.flatten(1).mean(0) for one in (a, b))
    k, m = a @ a.T, b @ b.T
    found: Tensor = (k * m).sum() / (k.norm() * m.norm()).clamp_min(1e-12)
    return found


def paired(mine: list[Tensor], theirs: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each layer with the one at the same share of the other's depth; the last ones, which answer, are left out."""
    mine, theirs = mine[:-1], theirs[:-1]
    if not mine or not theirs:
        return []
    return [(one, theirs[round(at * (len(theirs) - 1) / max(1, len(mine) - 1))]) for at, one in enumerate(mine)]


def layers_of(guide: nn.Module, x: Tensor) -> list[Tensor]:
    """What the linear and convolution layers of an exported program give, in its order."""
    import torch

    found: list[Tensor] = []

    class Looking(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            result = super().run_node(n)
            if n.op == "call_function" and getattr(n.target, "__name__", "").partition(".")[0] in LAYERS:
                found.append(result)
            return result

    Looking(guide).run(x)
    return found
