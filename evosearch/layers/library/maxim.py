"""MAXIM's multi-axis gated perceptrons: tokens mixed within blocks of an image, and across a grid of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require
from evosearch.layers.block import Block, Body, Composed, residual
from evosearch.layers.library.activations import GELU
from evosearch.layers.library.combinators import Branching
from evosearch.layers.library.conv_free import Convolution
from evosearch.layers.library.merges import Cat
from evosearch.layers.library.norms import LayerNorm
from evosearch.layers.library.reshapes import image
from evosearch.layers.library.splits import Group

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

GATED = '''
def spatial_gate(x, norm, mix, size, across):
    """u (mix(norm(v)) + 1), u and v the halves of the channels; mix works within blocks, or across a grid of them."""
    u, v = x.chunk(2, 1)
    v = norm(v.permute(0, 2, 3, 1))
    h, w, c = v.shape[1:]
    rows, columns = ((size, h // size), (size, w // size)) if across else ((h // size, size), (w // size, size))
    order = (0, 2, 4, 5, 1, 3) if across else (0, 1, 3, 5, 2, 4)
    v = mix(v.unflatten(1, rows).unflatten(3, columns).permute(order).flatten(4)).unflatten(4, (size, size))
    order = (0, 3, 4, 1, 5, 2) if across else (0, 3, 1, 4, 2, 5)
    return u * (v.permute(order).flatten(4).flatten(2, 3) + 1)
'''

PLACES = ("block", "grid")


@register("spatial_gate")
@dataclass(frozen=True)
class SpatialGate(WrittenLeaf):
    """(C, H, W) -> (C / 2, H, W): one half of the channels opened by the other, mixed along places (Tu et al. 2022).

    how: "block" mixes the size x size places of each block; "grid" parts the image into size x size blocks and mixes
    those at one place of all of them.
    """

    size: int
    how: str = "block"

    def __post_init__(self) -> None:
        require(self.size >= 1, f"the size is at least 1, not {self.size}")
        require(self.how in PLACES, f"places of a {' or a '.join(PLACES)}, not {self.how!r}")

    def shape(self, x: Shape) -> Shape:
        channels, height, width = image(self, x)
        if channels % 2 or height % self.size or width % self.size:
            raise ShapeError("spatial_gate: {} has odd channels or does not divide by {}", x, self.size)
        return (channels // 2, height, width)

    def params(self, x: Shape) -> int:
        tokens = self.size**2
        return x[0] + tokens * tokens + tokens

    def flops(self, x: Shape) -> int:
        return x[0] * x[1] * x[2] * self.size**2

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (c, h, w), tokens = node.inputs, self.size**2
        build.helper(GATED)
        norm = build.module(f"nn.LayerNorm({c // 2})", "norm")
        mix = build.module(f"nn.Linear({tokens}, {tokens})", "linear")
        code = f"spatial_gate({{}}, {norm}, {mix}, {self.size}, {self.how == 'grid'})"
        extra = 2 * c * h * w + 2 * h * w  # v for its norm and mixed for the linear layer, both factors; statistics
        return build.line(code, x, shape=node.output, extra=extra)


@register("multi_axis")
@dataclass(frozen=True)
class MultiAxis(Block):
    """Half of the channels through a gated perceptron across a grid, half within blocks, beside the input (MAXIM).

    block: places along a block's side. grid: blocks along the image's side.
    """

    block: int = 8
    grid: int = 8

    def __post_init__(self) -> None:
        SpatialGate(self.block)
        SpatialGate(self.grid)

    def body(self, x: Shape) -> Body:
        c = image(self, x)[0]

        def gated(size: int, how: str) -> Body:
            wide, back = Convolution(2 * c, 1, bias=1), Convolution(c, 1, bias=1)
            return residual(LayerNorm(), wide, GELU(), SpatialGate(size, how), back)

        halves = Composed(Branching(Group(2, 1), Cat(1)), (gated(self.grid, "grid"), gated(self.block, "block")))
        return residual(LayerNorm(), Convolution(2 * c, 1, bias=1), GELU(), halves, Convolution(c, 1, bias=1))
