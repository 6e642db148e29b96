"""Dropout that a recipe has and a sentence has not: before the last linear layer, and of residual parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


class DropsPaths(Protocol):
    """What a class of a written source is where its residual parts may be passed by."""

    drop_path: float


def dropped(network: nn.Module, share: float) -> Callable[[], None]:
    """Have what the network's last linear layer reads dropped in training; the function returned ends that."""
    import torch

    linear = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    if not share or not linear:
        return lambda: None

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (torch.nn.functional.dropout(inputs[0], share, module.training), *inputs[1:])

    return linear[-1].register_forward_pre_hook(hook).remove


def drop_paths(network: nn.Module, rate: float) -> None:
    """Set the probability by which an example passes a residual part by; the source's classes have it as a number."""
    for module in network.modules():
        if hasattr(type(module), "drop_path"):
            cast("DropsPaths", module).drop_path = rate
