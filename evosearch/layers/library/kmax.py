"""Attention that assigns each place to one centre, as k-means does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, WrittenLeaf, register, require
from evosearch.layers.library.reshapes import image

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

ASSIGNED = '''
def kmeans_update(x, centres, key, value):
    """For each centre the sum of the values of the places nearest to it. x: an image; centres: (queries, width)."""
    scores = centres.to(x.dtype) @ key(x).flatten(2)
    soft = torch.softmax(scores, 1)
    hard = torch.zeros_like(soft).scatter(1, scores.argmax(1, keepdim=True), 1.0)
    return (hard - soft.detach() + soft) @ value(x).flatten(2).transpose(1, 2)
'''


@register("kmeans_attention")
@dataclass(frozen=True)
class KMeansAttention(WrittenLeaf):
    """(C, H, W) -> (queries, width): learned centres take up the places assigned to them (kMaX, Yu et al. 2022).

    Each place counts for the one centre it is nearest to; gradients flow as if it counted for all by softmax, where
    kMaX has a loss on the assignment. What was taken up goes through a linear layer and batch norm onto the centre.
    """

    queries: int
    width: int

    def __post_init__(self) -> None:
        require(self.queries >= 1 and self.width >= 1, f"{self.queries} queries, {self.width} wide: at least 1 each")

    def shape(self, x: Shape) -> Shape:
        image(self, x)
        return (self.queries, self.width)

    def params(self, x: Shape) -> int:
        w = self.width
        return self.queries * w + 2 * (x[0] * w + 2 * w) + w * w + 2 * w

    def flops(self, x: Shape) -> int:
        places, w = x[1] * x[2], self.width
        return 4 * places * x[0] * w + 4 * self.queries * places * w + 2 * self.queries * w * w

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (c, h, wide), w, q = node.inputs, self.width, self.queries
        build.helper(ASSIGNED)
        centres = build.module(f"nn.Parameter(torch.randn({q}, {w}))", "centres")
        part = f"nn.Sequential(nn.Conv2d({c}, {w}, 1, bias=False), nn.BatchNorm2d({w}))"
        key, value = build.module(part, "key"), build.module(part, "value")
        linear = build.module(f"nn.Linear({w}, {w}, bias=False)", "linear")
        norm = build.module(f"nn.BatchNorm1d({w})", "norm")
        places = h * wide
        # The input for both convolutions, their outputs for norms and products, the assignment twice.
        extra = 2 * c * places + 4 * places * w + 2 * q * places
        x = build.line(f"kmeans_update({{}}, {centres}, {key}, {value})", x, shape=node.output, extra=extra)
        x = build.line(f"{linear}({{}})", x, shape=node.output, keeps="in")
        code = f"{norm}({{0}}.transpose(1, 2)).transpose(1, 2) + {centres}.to({{0}}.dtype)"
        return build.line(code, x, shape=node.output, keeps="in")
