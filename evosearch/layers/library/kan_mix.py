"""A Kolmogorov-Arnold layer over several bases at once, and attention whose softmax is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require, size
from evosearch.layers.library.kan import CHEBYSHEV, SPLINES, Expansion
from evosearch.layers.library.reshapes import column

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

MIXED = '''
def mixed_bases(x, knots, centres, shares):
    """29 functions of each number along a new last axis, each basis times its share: B-splines, Chebyshev polynomials,
    cosines and sines, Gaussians."""
    waves = torch.stack([x, 2 * x, 3 * x, 4 * x], -1)
    radial = torch.exp(-((x.unsqueeze(-1) - centres.to(x.dtype)) * 1.75).square())
    bases = [b_splines(x, knots, 3), chebyshev(x, 4), torch.cat([waves.cos(), waves.sin()], -1), radial]
    shares = torch.softmax(shares, 0).to(x.dtype)
    return torch.cat([shares[number] * basis for number, basis in enumerate(bases)], -1)
'''


@register("kan_mix")
@dataclass(frozen=True)
class MixedKAN(Expansion):
    """Splines, polynomials, waves and Gaussians, mixed by learned shares (S-KAN, arXiv 2408.08338)."""

    width: int

    def __post_init__(self) -> None:
        require(self.width >= 1, f"the width is at least 1, not {self.width}")

    def bases(self) -> int:
        return 8 + 5 + 8 + 8

    def params(self, x: Shape) -> int:
        return x[-1] * self.width * self.bases() + 4

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d, scalars, count = node.inputs[-1], size(node.inputs), self.bases()
        for source in (SPLINES, CHEBYSHEV, MIXED):
            build.helper(source)
        knots = build.buffer("torch.arange(-3, 9) * 0.4 - 1", "knots")
        centres = build.buffer("torch.linspace(-2, 2, 8)", "centres")
        shares = build.module("nn.Parameter(torch.zeros(4))", "shares")
        start = f"torch.randn({self.width}, {d * count}) * {d * count} ** -0.5"
        weight = build.module(f"nn.Parameter({start})", "weight")
        bases = (*node.inputs[:-1], d * count)
        code = f"mixed_bases({{}}, {knots}, {centres}, {shares}).flatten(-2)"
        # Of splines as in `kan`, of polynomials their factors, of waves the angles, of Gaussians distances and outputs;
        # each basis before its share.
        extra = scalars * (4 * 3 * 8 + 7 + 8 + 16 + count)
        x = build.line(code, x, shape=bases, extra=extra)
        return build.line(f"F.linear({{0}}, {weight}.to({{0}}.dtype))", x, shape=node.output, keeps="in")


LEARNED = '''
def learned_attention(q, k, v, inner, outer, waves):
    """v weighted by rows that a Fourier series makes of the scores by way of a few numbers; all (N, heads, S, d)."""
    scores = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).unsqueeze(4) * waves.to(q.dtype)
    bases = torch.cat([scores.cos(), scores.sin()], 4).flatten(3)
    return (bases @ inner.to(q.dtype)) @ outer.to(q.dtype) @ v
'''


@register("karat")
@dataclass(frozen=True)
class KolmogorovAttention(WrittenLeaf):
    """(S, D) -> same: attention whose weights are learned functions of the scores, and no softmax (KArAt, arXiv
    2503.10632).

    A row of scores becomes `rank` numbers by a Fourier series of grid + 1 frequencies, and these a row of weights: so
    it has weights for this number of rows alone.
    """

    heads: int
    rank: int = 12
    grid: int = 3

    def __post_init__(self) -> None:
        require(min(self.heads, self.rank) >= 1, f"{self.heads} heads, rank {self.rank}: at least 1 each")
        require(self.grid >= 0, f"the grid is at least 0, not {self.grid}")

    def shape(self, x: Shape) -> Shape:
        if column(self, x)[1] % self.heads:
            raise ShapeError("karat: the width of {} does not divide by {} heads", x, self.heads)
        return x

    def params(self, x: Shape) -> int:
        s, d = x
        return 4 * d * d + 4 * d + self.heads * s * self.rank * (2 * self.grid + 3)

    def flops(self, x: Shape) -> int:
        s, d = x
        return 8 * s * d * d + 4 * s * s * d + 2 * self.heads * s * s * self.rank * (2 * self.grid + 3)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (s, d), heads, waves = node.inputs, self.heads, self.grid + 1
        build.helper(LEARNED)
        qkv, out = build.module(f"nn.Linear({d}, {3 * d})", "qkv"), build.module(f"nn.Linear({d}, {d})", "out")
        rows = 2 * waves * s
        inner = build.module(f"nn.Parameter(torch.randn({heads}, {rows}, {self.rank}) * {rows} ** -0.5)", "inner")
        start = f"torch.randn({heads}, {self.rank}, {s}) * {self.rank * s} ** -0.5"
        outer = build.module(f"nn.Parameter({start})", "outer")
        wave = build.buffer(f"torch.arange(1.0, {waves + 1})", "waves")
        x = build.line(f"{qkv}({{}})", x, shape=(s, 3 * d), keeps="in")
        split = f"{{}}.unflatten(2, (3, {heads}, {d // heads})).permute(2, 0, 3, 1, 4)"
        q, k, v = build.lines(split, x, count=3, shape=(heads, s, d // heads))
        # q, k, v; the angles for cosine and sine, what the first matrix reads, what the second does, the weights
        extra = 3 * s * d + heads * s * (2 * waves * s + rows + self.rank + s)
        code = f"learned_attention({{}}, {{}}, {{}}, {inner}, {outer}, {wave})"
        x = build.line(code, q, k, v, shape=(heads, s, d // heads), extra=extra)
        x = build.line("{}.transpose(1, 2).flatten(2)", x, shape=node.output)
        return build.line(f"{out}({{}})", x, shape=node.output, keeps="in")
