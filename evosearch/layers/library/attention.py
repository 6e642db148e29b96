"""Attention between the rows of a column, and within windows of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require
from evosearch.layers.library.masked import mask_of
from evosearch.layers.library.reshapes import column, image

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("attention")
@dataclass(frozen=True)
class Attention(WrittenLeaf):
    """(S, D) -> (S, D): multi-head self-attention (Vaswani et al. 2017); one linear layer for q, k and v, one behind.

    causal: 1 where a row may see only those before it. bias: 0 for none on q, k and v. No row sees those behind the end
    of a series, where a mask says which these are.
    """

    keeps_steps: ClassVar[bool] = True

    heads: int
    causal: int = 0
    bias: int = 1

    def __post_init__(self) -> None:
        require(self.heads >= 1, f"at least 1 head, not {self.heads}")
        require(self.causal in (0, 1) and self.bias in (0, 1), "causal and bias are 0 or 1")

    def shape(self, x: Shape) -> Shape:
        if column(self, x)[1] % self.heads:
            raise ShapeError("attention: the width of {} does not divide by {} heads", x, self.heads)
        return x

    def params(self, x: Shape) -> int:
        d = x[1]
        return 4 * d * d + self.bias * 3 * d + d

    def flops(self, x: Shape) -> int:
        s, d = x
        return 8 * s * d * d + 4 * s * s * d

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (s, d), heads = node.inputs, self.heads
        mask = None if self.causal else mask_of(x, build)  # what is behind the end is behind all that is there
        bias = "" if self.bias else ", bias=False"
        qkv = build.module(f"nn.Linear({d}, {3 * d}{bias})", "qkv")
        out = build.module(f"nn.Linear({d}, {d})", "out")
        x = build.line(f"{qkv}({{}})", x, shape=(s, 3 * d), keeps="in")
        split = f"{{}}.unflatten(2, (3, {heads}, {d // heads})).permute(2, 0, 3, 1, 4)"
        q, k, v = build.lines(split, x, count=3, shape=(heads, s, d // heads))
        # backward of the fused kernel needs q, k, v, its output, and one number for each head and row
        seen = ", is_causal=True" if self.causal else ", attn_mask={}[:, None, None]" if mask else ""
        call = f"F.scaled_dot_product_attention({{}}, {{}}, {{}}{seen})"
        inputs = (q, k, v, mask) if mask else (q, k, v)
        x = build.line(call, *inputs, shape=(heads, s, d // heads), extra=3 * s * d + s * d + heads * s)
        x = build.line("{}.transpose(1, 2).flatten(2)", x, shape=node.output)
        return build.line(f"{out}({{}})", x, shape=node.output, keeps="in")


@register("cross_attention")
@dataclass(frozen=True)
class CrossAttention(WrittenLeaf):
    """(S, D) -> (queries, D): learned rows ask the input's (Perceiver, Jaegle et al. 2021; set transformer)."""

    heads: int
    queries: int

    def __post_init__(self) -> None:
        require(self.heads >= 1 and self.queries >= 1, f"{self.heads} heads, {self.queries} queries: at least 1 each")

    def shape(self, x: Shape) -> Shape:
        if column(self, x)[1] % self.heads:
            raise ShapeError("cross_attention: the width of {} does not divide by {} heads", x, self.heads)
        return (self.queries, x[1])

    def params(self, x: Shape) -> int:
        d = x[1]
        return 4 * d * d + 4 * d + self.queries * d

    def flops(self, x: Shape) -> int:
        (s, d), n = x, self.queries
        return 2 * (2 * n * d * d + 2 * s * d * d) + 4 * n * s * d

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (s, d), n, heads = node.inputs, self.queries, self.heads
        rows = build.module(f"nn.Parameter(torch.randn(1, {n}, {d}) * {d} ** -0.5)", "queries")
        query, pair = build.module(f"nn.Linear({d}, {d})", "query"), build.module(f"nn.Linear({d}, {2 * d})", "pair")
        out = build.module(f"nn.Linear({d}, {d})", "out")
        split = f"unflatten(2, ({heads}, {d // heads})).transpose(1, 2)"
        code = f"{query}({rows}.repeat({{}}.shape[0], 1, 1)).{split}"
        q = build.line(code, x, shape=(heads, n, d // heads))
        kv = build.line(f"{pair}({{}})", x, shape=(s, 2 * d), keeps="in")
        code = f"{{}}.unflatten(2, (2, {heads}, {d // heads})).permute(2, 0, 3, 1, 4)"
        k, v = build.lines(code, kv, count=2, shape=(heads, s, d // heads))
        extra = 2 * s * d + 2 * n * d + heads * n
        x = build.line("F.scaled_dot_product_attention({}, {}, {})", q, k, v, shape=(heads, n, d // heads), extra=extra)
        x = build.line("{}.transpose(1, 2).flatten(2)", x, shape=node.output)
        return build.line(f"{out}({{}})", x, shape=node.output, keeps="in")


WINDOWED = '''
def windowed_attention(x, qkv, out, bias, heads, height, width, size, shift):
    """Attention within windows of an image (N, C, H, W), rolled by `shift`; bias: (heads, size ** 2, size ** 2)."""
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, -width % size, 0, -height % size))
    rows, columns = -(-height // size), -(-width // size)
    mask = bias.to(x.dtype)
    if shift:
        x = x.roll((-shift, -shift), (1, 2))
        ends = torch.cat([x.new_ones(size - shift), x.new_full((shift,), 2)])
        row, column = (torch.cat([x.new_zeros((count - 1) * size), ends]) for count in (rows, columns))
        part = (3 * row[:, None] + column).view(rows, size, columns, size).transpose(1, 2)
        part = part.reshape(rows * columns, 1, size * size)
        mask = mask + torch.where(part.transpose(1, 2) == part, 0.0, -100.0).to(x.dtype)[:, None]
    mask = mask.expand(rows * columns, -1, -1, -1).flatten(0, 1)  # the heads of all windows in a row
    x = x.unflatten(1, (rows, size)).unflatten(3, (columns, size)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    q, k, v = qkv(x).unflatten(3, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5).flatten(2, 3)
    x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).unflatten(1, (-1, heads))
    x = out(x.transpose(2, 3).flatten(3))
    x = x.unflatten(1, (rows, columns)).unflatten(3, (size, size)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    if shift:
        x = x.roll((shift, shift), (1, 2))
    return x[:, :height, :width].permute(0, 3, 1, 2)
'''

PLACES = '''
def relative_places(size):
    """For each pair of places in a window the number of their relative position: (size ** 2, size ** 2)."""
    places = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).flatten(1)
    apart = (places[:, :, None] - places[:, None, :]) + size - 1
    return apart[0] * (2 * size - 1) + apart[1]
'''


@register("window_attention")
@dataclass(frozen=True)
class WindowAttention(WrittenLeaf):
    """(C, H, W) -> same: attention within windows, with a learned bias for each relative place (Swin, Liu et al. 2021).

    size: of a window's side; the image is padded with zeros to a multiple of it. shift: by how much the windows are
    moved; what comes together from opposite borders does not see each other. No shift where one window holds a side.
    """

    heads: int
    size: int
    shift: int = 0

    def __post_init__(self) -> None:
        require(self.heads >= 1 and self.size >= 1, f"{self.heads} heads, windows of {self.size}: at least 1 each")
        require(0 <= self.shift < self.size, f"the shift is below the window's {self.size}, not {self.shift}")

    def shape(self, x: Shape) -> Shape:
        if image(self, x)[0] % self.heads:
            raise ShapeError("window_attention: the channels of {} do not divide by {} heads", x, self.heads)
        return x

    def params(self, x: Shape) -> int:
        c = x[0]
        return 4 * c * c + 4 * c + (2 * self.size - 1) ** 2 * self.heads

    def flops(self, x: Shape) -> int:
        c, places, window = x[0], self._places(x), self.size**2
        return 8 * places * c * c + 4 * places * window * c

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (c, height, width), places = node.inputs, self._places(node.inputs)
        build.helper(WINDOWED)
        build.helper(PLACES)
        qkv, out = build.module(f"nn.Linear({c}, {3 * c})", "qkv"), build.module(f"nn.Linear({c}, {c})", "out")
        entries = (2 * self.size - 1) ** 2
        table = build.module(f"nn.Parameter(torch.randn({entries}, {self.heads}) * 0.02)", "bias")
        pairs = build.buffer(f"relative_places({self.size})", "pairs")
        shift = 0 if min(node.inputs[1:]) <= self.size else self.shift
        bias = f"{table}[{pairs}].permute(2, 0, 1)"
        code = f"windowed_attention({{}}, {qkv}, {out}, {bias}, {self.heads}, {height}, {width}, {self.size}, {shift})"
        # What qkv reads, q, k and v, the product, what the last layer reads; and, since with a learned bias torch takes
        # no fused kernel on a processor, the scores before and after the softmax.
        extra = places * c * 6 + 2 * places * self.heads * self.size**2
        return build.line(code, x, shape=node.output, extra=extra)

    def _places(self, x: Shape) -> int:
        """Of the padded image."""
        return -(-x[1] // self.size) * -(-x[2] // self.size) * self.size**2


@register("pooled_attention")
@dataclass(frozen=True)
class PooledAttention(WrittenLeaf):
    """(C, H, W) -> same: attention of all places to means of `reduce`^2 of them (Next-ViT, Li et al. 2022).

    As there, these are consecutive places in reading order, with batch norm where reduce > 1.
    """

    heads: int
    reduce: int = 1

    def __post_init__(self) -> None:
        require(self.heads >= 1 and self.reduce >= 1, f"{self.heads} heads, reduced by {self.reduce}: at least 1 each")

    def shape(self, x: Shape) -> Shape:
        if image(self, x)[0] % self.heads or x[1] * x[2] < self.reduce**2:
            raise ShapeError("pooled_attention: {} with {} heads, reduced by {}", x, self.heads, self.reduce)
        return x

    def params(self, x: Shape) -> int:
        c = x[0]
        return 4 * c * c + 4 * c + (2 * c if self.reduce > 1 else 0)

    def flops(self, x: Shape) -> int:
        c, places = x[0], x[1] * x[2]
        kept = places // self.reduce**2
        return 2 * c * c * (2 * places + 2 * kept) + 4 * places * kept * c

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        c, places, heads = node.inputs[0], node.inputs[1] * node.inputs[2], self.heads
        kept = places // self.reduce**2
        query, pair = build.module(f"nn.Linear({c}, {c})", "query"), build.module(f"nn.Linear({c}, {2 * c})", "pair")
        out = build.module(f"nn.Linear({c}, {c})", "out")
        rows = build.line("{}.flatten(2).transpose(1, 2)", x, shape=(places, c), view=True)
        few = rows
        if self.reduce > 1:
            norm = build.module(f"nn.BatchNorm1d({c})", "norm")
            few = build.line(f"F.avg_pool1d({{}}.transpose(1, 2), {self.reduce**2})", rows, shape=(c, kept), keeps="in")
            few = build.line(f"{norm}({{}}).transpose(1, 2)", few, shape=(kept, c), keeps="in")
        split = f"unflatten(2, ({heads}, {c // heads})).transpose(1, 2)"
        q = build.line(f"{query}({{}}).{split}", rows, shape=(heads, places, c // heads), keeps="in")
        kv = build.line(f"{pair}({{}})", few, shape=(kept, 2 * c), keeps="in")
        code = f"{{}}.unflatten(2, (2, {heads}, {c // heads})).permute(2, 0, 3, 1, 4)"
        k, v = build.lines(code, kv, count=2, shape=(heads, kept, c // heads))
        extra = 2 * places * c + 2 * kept * c + heads * places
        shape = (heads, places, c // heads)
        rows = build.line("F.scaled_dot_product_attention({}, {}, {})", q, k, v, shape=shape, extra=extra)
        rows = build.line("{}.transpose(1, 2).flatten(2)", rows, shape=(places, c))
        rows = build.line(f"{out}({{}})", rows, shape=(places, c), keeps="in")
        return build.line(f"{{}}.transpose(1, 2).unflatten(2, {node.output[1:]})", rows, shape=node.output, view=True)
