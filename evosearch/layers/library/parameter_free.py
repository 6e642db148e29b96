"""Layers without weights of their own in the place of attention (Han et al. 2022, arXiv 2202.02777)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evosearch.layers.base import Shape, ShapeError, register, require, width
from evosearch.layers.block import Block, Body, chain, residual
from evosearch.layers.library.activations import GELU
from evosearch.layers.library.conv_free import Convolution
from evosearch.layers.library.linear import Linear
from evosearch.layers.library.norms import LayerNorm
from evosearch.layers.library.pools import MaxWindow
from evosearch.layers.library.reshapes import Tokens, Untokens, column
from evosearch.layers.library.transformers import feed_forward


@register("max_mixer")
@dataclass(frozen=True)
class MaxMixer(Block):
    """A perceptron at each place, whose hidden numbers become the largest of those around before the layer back.

    Of an image, or of a column whose rows are the tokens of a square one. expand: hidden numbers, times the width.
    """

    expand: int = 3
    kernel: int = 3

    def __post_init__(self) -> None:
        require(self.expand >= 1, f"at least 1 hidden number for each channel, not {self.expand}")
        MaxWindow(self.kernel)

    def body(self, x: Shape) -> Body:
        hidden, largest = self.expand * width(x), MaxWindow(self.kernel)
        if len(x) == 3:
            wide, back = Convolution(hidden, 1, bias=1), Convolution(width(x), 1, bias=1)
            return chain(wide, GELU(), largest, GELU(), back)
        rows, features = column(self, x)
        side = math.isqrt(rows)
        if side**2 != rows:
            raise ShapeError("{} rows are not the tokens of a square image", rows)
        return chain(Linear(hidden), GELU(), Untokens(side), largest, Tokens(), GELU(), Linear(features))


@register("max_encoder")
@dataclass(frozen=True)
class MaxEncoder(Block):
    """`max_mixer`, then a perceptron, each behind layer norm and beside its input: ViT's block without attention."""

    expand: int = 3
    ratio: float = 4.0

    def __post_init__(self) -> None:
        MaxMixer(self.expand)
        require(self.ratio > 0, f"the ratio is above 0, not {self.ratio}")

    def body(self, x: Shape) -> Body:
        column(self, x)
        mixing = residual(LayerNorm(), MaxMixer(self.expand))
        return chain(mixing, residual(LayerNorm(), *feed_forward(x, self.ratio)))
