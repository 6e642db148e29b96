"""TokenFormer: a transformer whose every linear layer is attention to learned slots (Wang et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require, size
from evosearch.layers.block import Block, Body, Composed, chain, residual
from evosearch.layers.library.kan import ParameterAttention
from evosearch.layers.library.merges import Cat
from evosearch.layers.library.reshapes import column
from evosearch.layers.library.skips import Parallel

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("standardise")
@dataclass(frozen=True)
class Standardise(WrittenLeaf):
    """Layer norm over the last axis without parameters."""

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d = node.inputs[-1]
        code, extra = f"F.layer_norm({{}}, ({d},))", 2 * size(node.inputs) // d
        return build.line(code, x, shape=node.output, keeps="in", extra=extra, float32=True)


ROTATED = '''
def rotated(x, share):
    """The first `share` numbers of each row turned in pairs by angles that grow with its place. x: (N, heads, S, d)."""
    pairs = share // 2
    rates = 10000.0 ** (-torch.arange(pairs, device=x.device) / pairs)
    angles = torch.arange(x.shape[2], device=x.device)[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :pairs], x[..., pairs:share]
    return torch.cat([first * cos - second * sin, first * sin + second * cos, x[..., share:]], 3)
'''


@register("bare_attention")
@dataclass(frozen=True)
class BareAttention(WrittenLeaf):
    """(S, 3 D) -> (S, D): attention without linear layers of its own: a row holds its query, key and value.

    causal: 1 where a row may see only those before it. rotary: the share of a head's width that is turned by the
    place (Su et al. 2021), 0 for none.
    """

    heads: int
    causal: int = 0
    rotary: float = 0.0

    def __post_init__(self) -> None:
        require(self.heads >= 1, f"at least 1 head, not {self.heads}")
        require(self.causal in (0, 1), f"causal is 0 or 1, not {self.causal}")
        require(0 <= self.rotary <= 1, f"the share is 0 to 1, not {self.rotary}")

    def shape(self, x: Shape) -> Shape:
        if column(self, x)[1] % (3 * self.heads):
            raise ShapeError("bare_attention: a third of the width of {} does not divide by {} heads", x, self.heads)
        return (x[0], x[1] // 3)

    def params(self, x: Shape) -> int:
        return 0

    def flops(self, x: Shape) -> int:
        return 4 * x[0] * x[0] * (x[1] // 3)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (s, d), heads = node.output, self.heads
        shape = (heads, s, d // heads)
        split = f"{{}}.unflatten(2, (3, {heads}, {d // heads})).permute(2, 0, 3, 1, 4)"
        q, k, v = build.lines(split, x, count=3, shape=shape)
        if turned := int(self.rotary * (d // heads)) // 2 * 2:
            build.helper(ROTATED)
            q, k = (build.line(f"rotated({{}}, {turned})", one, shape=shape) for one in (q, k))
        causal = ", is_causal=True" if self.causal else ""
        code = f"F.scaled_dot_product_attention({{}}, {{}}, {{}}{causal})"
        x = build.line(code, q, k, v, shape=shape, extra=4 * s * d + heads * s)
        return build.line("{}.transpose(1, 2).flatten(2)", x, shape=node.output)


@register("tokenformer_block")
@dataclass(frozen=True)
class TokenFormerBlock(Block):
    """Attention and a perceptron, each behind a norm without parameters and beside its input, all of `pattention`.

    slots: of the perceptron, times the width. A quarter of each head is rotary.
    """

    heads: int
    slots: int = 4
    causal: int = 0

    def __post_init__(self) -> None:
        require(self.slots >= 1, f"at least 1 slot for each number, not {self.slots}")
        BareAttention(self.heads, self.causal)

    def body(self, x: Shape) -> Body:
        d = column(self, x)[1]
        one = ParameterAttention(d, d)
        rows = Composed(Parallel(Cat(2)), (one, one, one))
        attending = residual(Standardise(), rows, BareAttention(self.heads, self.causal, 0.25), one)
        return chain(attending, residual(Standardise(), ParameterAttention(self.slots * d, d)))
