"""Backpropagation: the gradient of the task's loss through the whole network."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from evosearch import network as networks
from evosearch.evaluation.mixing import cutmix, mixup
from evosearch.evaluation.precision import autocast

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from evosearch.architecture import Architecture
    from evosearch.evaluation.recipe import Recipe
    from evosearch.evaluation.rules import Learning


class Backprop:
    """Of mixed examples the loss against both targets; a subclass says otherwise what the loss of outputs is."""

    captured: ClassVar[bool] = True

    def __init__(self, network: nn.Module, learning: Learning) -> None:
        self.network, self.learning = network, learning

    @staticmethod
    def build(architecture: Architecture, recipe: Recipe) -> nn.Module:
        return networks.build(architecture, drop_path=recipe.drop_path > 0)

    @staticmethod
    def require(recipe: Recipe) -> None:
        """Nothing is needed."""

    def begin(self, epoch: int) -> None:
        """Nothing changes with the epochs."""

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        recipe = self.learning.recipe
        mixed = mixup(x, recipe.mixup) if recipe.mixup else cutmix(x, recipe.cutmix) if recipe.cutmix else None
        if mixed is None:
            return self.taken(x, lambda out: self.right(out, y))
        return self.taken(mixed.x, lambda out: mixed.loss(lambda targets: self.right(out, targets), y))

    def taken(self, x: Tensor, right: Callable[[Tensor], Tensor]) -> Tensor:
        """The loss of a batch of inputs, where `right` is that of outputs against the targets."""
        return right(self.outputs(self.network, x))

    def outputs(self, network: nn.Module, x: Tensor) -> Tensor:
        """What the network gives, in the type that losses are taken of."""
        with autocast(self.learning.device, self.learning.recipe):
            out = network(x)
        found: Tensor = out.to(self.learning.dtype)
        return found

    def right(self, out: Tensor, targets: Tensor) -> Tensor:
        """The task's loss of outputs."""
        return self.learning.task.kind.loss(out, targets, self.learning.recipe)

    def change(self, step: int) -> None:
        """The gradient is followed as it is."""

    def kept(self) -> nn.Module:
        return self.network
