"""Mono-Forward: each segment learns by a classifier of its own on what it gives; no gradient crosses to the next.

Gong et al. 2025 (arXiv 2501.09238): a projection of a segment's output to the classes, its cross-entropy, and the last
segment's answer as the network's. Memory of one segment at a time, and on small perceptrons the same accuracy sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from evosearch import network as networks
from evosearch.evaluation.precision import autocast
from evosearch.evaluation.rules.backprop import Backprop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from evosearch.architecture import Architecture
    from evosearch.evaluation.recipe import Recipe


class Segmented(nn.Module):
    """The network in segments, one after the other, with a projection to the outputs behind each but the last."""

    def __init__(self, architecture: Architecture, drop_path: bool) -> None:
        super().__init__()
        self.architecture = architecture
        self.segments = nn.ModuleList(_grouped(networks.segments(architecture, drop_path=drop_path)))
        x = torch.zeros(1, *architecture.input)
        widths = []
        with torch.no_grad():
            for segment in self.segments:
                x = segment.eval()(x)
                segment.train()
                widths.append(_pooled(x).shape[1])
        self.projections = nn.ModuleList(nn.Linear(width, widths[-1]) for width in widths[:-1])

    def forward(self, x: Tensor) -> Tensor:
        for segment in self.segments:
            x = segment(x)
        return x

    def pieces(self) -> Iterator[nn.Module]:
        """The network's parts in order, each with its parameters by the names that the plain network gives them."""
        for segment in self.segments:
            assert isinstance(segment, nn.Sequential)
            yield from segment

    def plain_state(self) -> dict[str, Tensor]:
        return {name: value for piece in self.pieces() for name, value in piece.state_dict().items()}

    def load_plain(self, state: Mapping[str, Tensor]) -> None:
        for piece in self.pieces():
            piece.load_state_dict({name: state[name] for name in piece.state_dict()})


class MonoForward(Backprop):
    network: Segmented

    @staticmethod
    def build(architecture: Architecture, recipe: Recipe) -> nn.Module:
        return Segmented(architecture, recipe.drop_path > 0)

    def taken(self, x: Tensor, right: Callable[[Tensor], Tensor]) -> Tensor:
        """The sum of the segments' losses, each of which reaches the weights of one segment and its projection."""
        network, total = self.network, None
        for segment, projection in zip(network.segments, [*network.projections, None], strict=True):
            with autocast(self.learning.device, self.learning.recipe):
                x = segment(x)
                out = x if projection is None else projection(_pooled(x))
            own = right(out.to(self.learning.dtype))
            total = own if total is None else total + own
            x = x.detach()
        assert total is not None
        return total

    def kept(self) -> nn.Module:
        """The network as `network.build` makes it: its parameters' names are those of the segments'."""
        network = self.network
        plain = networks.build(network.architecture)
        plain.load_state_dict(network.plain_state())
        first = next(network.parameters())
        return plain.to(first.device, first.dtype)


def _grouped(pieces: list[nn.Module]) -> list[nn.Sequential]:
    """The pieces in groups, each from one with parameters to the next; what learns nothing goes with what is before."""
    groups: list[list[nn.Module]] = []
    for piece in pieces:
        learns = any(True for _ in piece.parameters())
        if not groups or (learns and any(True for one in groups[-1] for _ in one.parameters())):
            groups.append([])
        groups[-1].append(piece)
    return [nn.Sequential(*group) for group in groups]


def _pooled(x: Tensor) -> Tensor:
    """(B, features): the mean over H and W of images, over S of sequences."""
    return x.mean((2, 3)) if x.dim() == 4 else x.mean(1) if x.dim() == 3 else x
