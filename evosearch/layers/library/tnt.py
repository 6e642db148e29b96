"""Transformer in transformer: attention between the words of each patch inside attention between patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require
from evosearch.layers.library.reshapes import image

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

STREAM = '''
class Stream(nn.Module):
    """Attention without bias on q, k and v, then a perceptron, each behind layer norm and beside its input."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))
'''

BLOCK = '''
class TransformerInTransformer(nn.Module):
    """`inside` for the words (N * patches, words, inner), then this one for the patches (N, 1 + patches, width)."""

    def __init__(self, width, inner, words, heads, inner_heads):
        super().__init__()
        self.inside, self.outside = Stream(inner, inner_heads), Stream(width, heads)
        self.norm1, self.norm2 = nn.LayerNorm(words * inner), nn.LayerNorm(width)
        self.join = nn.Linear(words * inner, width, bias=False)

    def forward(self, words, patches):
        said = self.norm2(self.join(self.norm1(words.reshape(patches.shape[0], patches.shape[1] - 1, -1))))
        return self.outside(patches + F.pad(said, (0, 0, 1, 0)))
'''


@register("tnt")
@dataclass(frozen=True)
class TransformerInTransformer(WrittenLeaf):
    """(C, H, W) -> (1 + patches, width): patches that attend to each other, each with words that do (Han et al. 2021).

    depth: blocks. inner: a word's width. A patch is `patch` places wide and holds word x word words; a learned class
    row stands in front. What follows is layer norm and `first_token`.
    """

    depth: int
    width: int
    inner: int
    heads: int
    inner_heads: int
    patch: int = 16
    word: int = 4

    def __post_init__(self) -> None:
        least = min(self.depth, self.width, self.inner, self.heads, self.inner_heads, self.patch, self.word)
        require(least >= 1, "depth, widths, heads, patch and word are at least 1")

    def shape(self, x: Shape) -> Shape:
        _, height, width = image(self, x)
        if height % self.patch or width % self.patch:
            raise ShapeError("tnt: {} does not divide into patches of {}", x, self.patch)
        if self.width % self.heads:
            raise ShapeError("tnt: a width of {} does not divide by {} heads", self.width, self.heads)
        if self.inner % self.inner_heads:
            raise ShapeError("tnt: a width of {} does not divide by {} heads", self.inner, self.inner_heads)
        if self.patch % self.word:
            raise ShapeError("tnt: a patch of {} does not divide into {} words", self.patch, self.word)
        return (1 + self._patches(x), self.width)

    def _patches(self, x: Shape) -> int:
        return x[1] // self.patch * (x[2] // self.patch)

    def params(self, x: Shape) -> int:
        d, inner, words = self.width, self.inner, self.word**2
        joined = words * inner
        stem = inner * (49 * x[0] + 1) + joined + 2 * joined + (joined + 1) * d + 2 * d + d
        block = _stream_params(inner) + _stream_params(d) + 2 * joined + joined * d + 2 * d
        return stem + self.shape(x)[0] * d + self.depth * block

    def flops(self, x: Shape) -> int:
        d, inner, words, patches = self.width, self.inner, self.word**2, self._patches(x)
        join = 2 * patches * words * inner * d
        stem = 2 * 49 * x[0] * inner * patches * words + join
        block = patches * _stream_flops(words, inner) + join + _stream_flops(1 + patches, d)
        return stem + self.depth * block

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        channels, height, wide = node.inputs
        d, inner, word, patches = self.width, self.inner, self.word, self._patches(node.inputs)
        words, joined, stride = word**2, word**2 * inner, self.patch // word
        build.helper(STREAM)
        build.helper(BLOCK)
        conv = build.module(f"nn.Conv2d({channels}, {inner}, 7, stride={stride}, padding=3)", "conv")
        place = build.module(f"nn.Parameter(torch.randn({words}, {inner}) * 0.02)", "place")
        shape = (inner, height // stride, wide // stride)
        small = build.line(f"{conv}({{}})", x, shape=shape, keeps="in")
        cut = f"{{}}.unflatten(2, (-1, {word})).unflatten(4, (-1, {word})).permute(0, 2, 4, 3, 5, 1)"
        small = build.line(f"{cut}.reshape(-1, {words}, {inner})", small, shape=(patches, words, inner))
        small = build.line(f"{{0}} + {place}.to({{0}}.dtype)", small, shape=(patches, words, inner))
        first, second = build.module(f"nn.LayerNorm({joined})", "norm"), build.module(f"nn.LayerNorm({d})", "norm")
        join = build.module(f"nn.Linear({joined}, {d})", "linear")
        code = f"{second}({join}({first}({{}}.reshape(-1, {patches}, {joined}))))"
        extra = 2 * patches * joined + patches * d + 4 * patches
        large = build.line(code, small, shape=(patches, d), extra=extra)
        row = build.module(f"nn.Parameter(torch.zeros(1, 1, {d}))", "token")
        spot = build.module(f"nn.Parameter(torch.randn({patches + 1}, {d}) * 0.02)", "place")
        code = f"torch.cat([{row}.to({{0}}.dtype).expand({{0}}.shape[0], -1, -1), {{0}}], dim=1)"
        large = build.line(code, large, shape=node.output)
        large = build.line(f"{{0}} + {spot}.to({{0}}.dtype)", large, shape=node.output)
        inside = patches * _stream_saved(words, inner, self.inner_heads)
        for _ in range(self.depth):
            code = f"TransformerInTransformer({d}, {inner}, {words}, {self.heads}, {self.inner_heads})"
            block = build.module(code, "block")
            small = build.line(f"{block}.inside({{}})", small, shape=(patches, words, inner), extra=inside)
            kept = extra + _stream_saved(1 + patches, d, self.heads)
            large = build.line(f"{block}({{}}, {{}})", small, large, shape=node.output, extra=kept)
        return large


def _stream_params(d: int) -> int:
    return 3 * d * d + d * d + d + 4 * d + 8 * d * d + 5 * d


def _stream_flops(rows: int, d: int) -> int:
    return rows * 24 * d * d + 4 * rows * rows * d


def _stream_saved(rows: int, d: int, heads: int) -> int:
    """The inputs of norms, linear layers and GELU, and what the attention keeps; statistics of norms."""
    return 17 * rows * d + (4 + heads) * rows
