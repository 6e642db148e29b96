"""How a network learns: each rule is one file with one class, made for one training.

    rule = "backprop"        # the gradient of the task's loss through the whole network: what every network did before
    rule = "mono_forward"    # each segment by a loss of its own

A rule builds what is trained, gives the loss that a step follows, may change the gradient, and hands over the network
that is kept. Its name is its file's, and what `recipe.rule` says. Nothing here imports torch before it is called.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from evosearch import paths
from evosearch.errors import ConfigError
from evosearch.plugins import class_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor, nn

    from evosearch.architecture import Architecture
    from evosearch.evaluation.recipe import Recipe
    from evosearch.tasks.base import Task


@dataclass(frozen=True)
class Learning:
    """What a rule is made with: the task, its recipe, the device, and the type of what a loss is taken of.

    parent: the network whose weights the one that learns began with, as it was; None where it began from nothing.
    """

    task: Task
    recipe: Recipe
    device: str
    dtype: torch.dtype
    parent: nn.Module | None = None


class Rule(Protocol):
    """Made with the network that `build` gave, on its device, and a Learning.

    captured: whether every step does the same, so that it may become a CUDA graph.
    """

    captured: bool

    def __init__(self, network: nn.Module, learning: Learning) -> None: ...

    @staticmethod
    def build(architecture: Architecture, recipe: Recipe) -> nn.Module:
        """What is trained and judged: a batch in, the task's outputs out. Its weights are drawn as network.build's.

        Where its parameters' names are not the plain network's, it is Renamed.
        """

    @staticmethod
    def require(recipe: Recipe) -> None:
        """Raise ConfigError where the recipe lacks what the rule needs."""

    def begin(self, epoch: int) -> None:
        """Called before each epoch."""

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of a batch, whose gradient a step follows. Augmented examples, normalised targets."""

    def change(self, step: int) -> None:
        """Called after backward, before the gradient is clipped; step: from 0."""

    def kept(self) -> nn.Module:
        """The plain network, with what was learned, that goes into files."""


def bundled() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def named(name: str) -> type[Rule]:
    """The class of a rule. Raises ConfigError with near names."""
    if name not in bundled():
        raise ConfigError(f"recipe.rule: no rule {name!r}; {paths.offer(name, bundled())}")
    found: type[Rule] = getattr(import_module(f"{__name__}.{name}"), class_name(name))
    return found


@runtime_checkable
class Renamed(Protocol):
    """What a rule trains, where its parameters have other names than the plain network's, or it has more of them."""

    def plain_state(self) -> dict[str, Tensor]:
        """Its weights by the plain network's names."""

    def load_plain(self, state: Mapping[str, Tensor]) -> None:
        """Take a plain network's weights; what it has beside them stays as it is."""


def plain_state(made: nn.Module) -> dict[str, Tensor]:
    """The weights of what a rule trains, by the names that the plain network gives them."""
    found: dict[str, Tensor] = made.plain_state() if isinstance(made, Renamed) else made.state_dict()
    return found


def load_plain(made: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give what a rule trains the weights of a plain network."""
    if isinstance(made, Renamed):
        made.load_plain(state)
    else:
        made.load_state_dict(state)


def built(architecture: Architecture, recipe: Recipe) -> nn.Module:
    """What the recipe's rule trains of an architecture, freshly initialised by torch's generator."""
    return named(recipe.rule).build(architecture, recipe)


__all__ = ["Learning", "Rule", "built", "bundled", "load_plain", "named", "plain_state"]
