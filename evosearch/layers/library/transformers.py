"""Blocks on tokens: transformer encoders, mixers; and Swin's, on images."""

from __future__ import annotations

from dataclasses import dataclass

from evosearch.layers.base import Shape, ShapeError, register, require, width
from evosearch.layers.block import Block, Body, Composed, both, chain, residual, swapped
from evosearch.layers.library.activations import GELU, Identity, activation
from evosearch.layers.library.attention import Attention, PooledAttention, WindowAttention
from evosearch.layers.library.combinators import Branching
from evosearch.layers.library.conv_free import Convolution
from evosearch.layers.library.dropout import Dropout
from evosearch.layers.library.elementwise import Gate, Multiply
from evosearch.layers.library.linear import Linear
from evosearch.layers.library.norm import Norm
from evosearch.layers.library.norms import Affine, BatchNorm, LayerNorm, LayerScale
from evosearch.layers.library.reshapes import SpaceToDepth
from evosearch.layers.library.splits import Group


def feed_forward(x: Shape, ratio: float) -> tuple[Body, ...]:
    """A linear layer to `ratio` times the width, GELU, and one back."""
    return Linear(int(x[-1] * ratio)), GELU(), Linear(x[-1])


@register("encoder")
@dataclass(frozen=True)
class Encoder(Block):
    """Attention, then a perceptron, each behind layer norm and beside its input (ViT; norm first)."""

    heads: int
    ratio: float = 4.0
    causal: int = 0

    def __post_init__(self) -> None:
        require(self.ratio > 0, f"the ratio is above 0, not {self.ratio}")
        Attention(self.heads, self.causal)

    def body(self, x: Shape) -> Body:
        attention = Attention(self.heads, self.causal)
        return chain(residual(LayerNorm(), attention), residual(LayerNorm(), *feed_forward(x, self.ratio)))


@register("post_encoder")
@dataclass(frozen=True)
class PostEncoder(Block):
    """Attention, then a perceptron, each beside its input and layer norm behind the sum (Vaswani et al. 2017; BERT)."""

    heads: int
    ratio: float = 4.0

    def __post_init__(self) -> None:
        require(self.ratio > 0, f"the ratio is above 0, not {self.ratio}")
        Attention(self.heads)

    def body(self, x: Shape) -> Body:
        feed = feed_forward(x, self.ratio)
        return chain(residual(Attention(self.heads)), LayerNorm(), residual(*feed), LayerNorm())


@register("gated_encoder")
@dataclass(frozen=True)
class GatedEncoder(Block):
    """Attention, then a perceptron of act(W1 x) * (W2 x), each behind layer norm and beside its input.

    With act "relu" FT-Transformer's block, dropout behind attention and gate (Gorishniy et al. 2021); with "silu" the
    usual one of language models, there without biases.
    """

    heads: int
    ratio: float = 4 / 3
    act: str = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require(self.ratio > 0, f"the ratio is above 0, not {self.ratio}")
        Attention(self.heads)
        activation(self.act)
        Dropout(self.dropout)

    def body(self, x: Shape) -> Body:
        hidden = Linear(int(x[-1] * self.ratio))
        gate = both(Multiply(), chain(hidden, activation(self.act)), hidden)
        drop: tuple[Body, ...] = (Dropout(self.dropout),) if self.dropout else ()
        attending = residual(LayerNorm(), Attention(self.heads), *drop)
        return chain(attending, residual(LayerNorm(), gate, *drop, Linear(x[-1])))


@register("mixer")
@dataclass(frozen=True)
class Mixer(Block):
    """A perceptron along the tokens, then one along the features (MLP-Mixer, Tolstikhin et al. 2021).

    tokens, features: hidden widths of the two.
    """

    tokens: int
    features: int

    def body(self, x: Shape) -> Body:
        if len(x) != 2:
            raise ShapeError("{} is not a column", x)
        along = residual(Norm(), swapped(Linear(self.tokens), GELU(), Linear(x[0])))
        return chain(along, residual(Norm(), Linear(self.features), GELU(), Linear(x[1])))


@register("gmlp_block")
@dataclass(frozen=True)
class GatedMLPBlock(Block):
    """A perceptron whose hidden half is opened by the other half, mixed along the tokens (gMLP, Liu et al. 2021)."""

    hidden: int

    def body(self, x: Shape) -> Body:
        if len(x) != 2 or self.hidden % 2:
            raise ShapeError("{} with {} hidden features", x, self.hidden)
        spatial = chain(LayerNorm(), swapped(Linear(x[0])))
        gated = Composed(Branching(Group(2, 2), Gate()), (Identity(), spatial))
        return residual(LayerNorm(), Linear(self.hidden), GELU(), gated, Linear(x[1]))


@register("resmlp_block")
@dataclass(frozen=True)
class ResMLPBlock(Block):
    """A linear layer along the tokens, then a perceptron, both between affine layers (Touvron et al. 2021)."""

    ratio: float = 4.0

    def body(self, x: Shape) -> Body:
        if len(x) != 2:
            raise ShapeError("{} is not a column", x)
        along = residual(Affine(), swapped(Linear(x[0])), LayerScale(1e-4))
        return chain(along, residual(Affine(), *feed_forward(x, self.ratio), LayerScale(1e-4)))


@register("swin_block")
@dataclass(frozen=True)
class SwinBlock(Block):
    """Window attention, then a perceptron at each place of an image, each behind layer norm (Liu et al. 2021)."""

    heads: int
    window: int
    shift: int

    def body(self, x: Shape) -> Body:
        wide, back = Convolution(4 * width(x), 1, bias=1), Convolution(width(x), 1, bias=1)
        attention = WindowAttention(self.heads, self.window, self.shift)
        return chain(residual(LayerNorm(), attention), residual(LayerNorm(), wide, GELU(), back))


@register("merge_patches")
@dataclass(frozen=True)
class MergePatches(Block):
    """(C, H, W) -> (2 C, H / 2, W / 2): 2x2 places side by side, layer norm, a linear layer without bias (Swin).

    An odd side gets a row or column of zeros, as in Swin's code.
    """

    def body(self, x: Shape) -> Body:
        return chain(SpaceToDepth(2), LayerNorm(), Convolution(2 * width(x), 1))


@register("pooled_encoder")
@dataclass(frozen=True)
class PooledEncoder(Block):
    """Attention of all places of an image to means of them, then a perceptron at each, each behind batch norm."""

    heads: int
    reduce: int = 1

    def body(self, x: Shape) -> Body:
        wide, back = Convolution(4 * width(x), 1, bias=1), Convolution(width(x), 1, bias=1)
        attention = PooledAttention(self.heads, self.reduce)
        return chain(residual(BatchNorm(), attention), residual(BatchNorm(), wide, GELU(), back))
