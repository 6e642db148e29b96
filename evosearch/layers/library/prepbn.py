"""SLAB's attention and norm: linear in the number of tokens, and a layer norm that training turns into a batch norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require, size, width
from evosearch.layers.library.reshapes import image

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


PROGRESSIVE = '''
def progressive_norm(x, layer_norm, batch_norm, skip, progress, columns, training):
    """(1 - progress) layer_norm(x) + progress (batch_norm(x) + skip x); the latter alone once training is over."""
    rows = x.transpose(1, 2) if columns else x
    rows = batch_norm(rows)
    last = (rows.transpose(1, 2) if columns else rows) + skip.to(x.dtype) * x
    return torch.lerp(layer_norm(x).to(last.dtype), last, progress.to(last.dtype)) if training else last
'''


@register("prepbn")
@dataclass(frozen=True)
class ProgressiveNorm(WrittenLeaf):
    """Layer norm at the beginning of training, batch norm and a share of the input at its end (SLAB, Guo et al. 2024).

    What is deployed is a batch norm and a factor, which a linear layer behind them can take in. Of columns and vectors.
    """

    def shape(self, x: Shape) -> Shape:
        if len(x) == 3:
            raise ShapeError("prepbn: {} is an image, and it is for columns and vectors", x)
        return x

    def params(self, x: Shape) -> int:
        return 4 * x[-1] + 1

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d, scalars = node.inputs[-1], size(node.inputs)
        build.helper(PROGRESSIVE)
        layer, batch = build.module(f"nn.LayerNorm({d})", "norm"), build.module(f"nn.BatchNorm1d({d})", "norm")
        skip = build.module("nn.Parameter(torch.ones(()))", "skip")
        columns = len(node.inputs) == 2
        code = f"progressive_norm({{}}, {layer}, {batch}, {skip}, {build.progress()}, {columns}, self.training)"
        # The input for each norm and the factor, what the two are mixed of, and each row's statistics.
        extra = 4 * scalars + 2 * scalars // d
        return build.line(code, x, shape=node.output, keeps="in", extra=extra, float32=True)


LINEAR = '''
def linear_attention(x, qkv, out, place, local, heads):
    """relu(q) (relu(k + place)^T v) / sum, with v through a depthwise convolution beside it. x: an image."""
    n, c, h, w = x.shape
    q, k, v = qkv(x.flatten(2).transpose(1, 2)).unflatten(2, (3, heads, c // heads)).permute(2, 0, 3, 1, 4)
    k = k + place.to(k.dtype).unflatten(1, (heads, -1)).transpose(0, 1)
    q, k = F.relu(q), F.relu(k)
    share = 1 / ((q * k.sum(2, keepdim=True)).sum(3, keepdim=True) + 1e-6)
    mixed = (q @ (k.transpose(2, 3) @ v)) * share
    beside = local(v.flatten(0, 1).transpose(1, 2).unflatten(2, (h, w))).flatten(2).transpose(1, 2)
    x = out((mixed + beside.unflatten(0, (n, heads))).transpose(1, 2).flatten(2))
    return x.transpose(1, 2).unflatten(2, (h, w))
'''


@register("simple_linear_attention")
@dataclass(frozen=True)
class SimpleLinearAttention(WrittenLeaf):
    """(C, H, W) -> same: attention without softmax, linear in the places, and a depthwise convolution of the values
    (SLAB, Guo et al. 2024).

    q and k go through ReLU, k behind learned positions. The convolution is one for all heads.
    """

    heads: int
    kernel: int = 5

    def __post_init__(self) -> None:
        require(self.heads >= 1, f"at least 1 head, not {self.heads}")
        require(self.kernel >= 1 and self.kernel % 2 == 1, f"the kernel is odd, not {self.kernel}")

    def shape(self, x: Shape) -> Shape:
        if width(image(self, x)) % self.heads:
            raise ShapeError("simple_linear_attention: the channels of {} do not divide by {} heads", x, self.heads)
        return x

    def params(self, x: Shape) -> int:
        c, inner = x[0], x[0] // self.heads
        return 4 * c * c + 4 * c + size(x) + inner * (self.kernel**2 + 1)

    def flops(self, x: Shape) -> int:
        c, places = x[0], x[1] * x[2]
        return 8 * places * c * c + 4 * places * c * c // self.heads + 2 * self.kernel**2 * size(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (c, h, w), heads, k = node.inputs, self.heads, self.kernel
        build.helper(LINEAR)
        qkv, out = build.module(f"nn.Linear({c}, {3 * c})", "qkv"), build.module(f"nn.Linear({c}, {c})", "out")
        place = build.module(f"nn.Parameter(torch.randn({h * w}, {c}) * 0.02)", "place")
        inner = c // heads
        local = build.module(f"nn.Conv2d({inner}, {inner}, {k}, padding={k // 2}, groups={inner})", "conv")
        code = f"linear_attention({{}}, {qkv}, {out}, {place}, {local}, {heads})"
        # What the two linear layers read; q and k behind ReLU for ReLU and for the products, v for both it is used in,
        # the unscaled result; sums and shares.
        extra = 8 * size(node.inputs) + heads * (inner * inner + inner + 3 * h * w)
        return build.line(code, x, shape=node.output, keeps="in", extra=extra)
