"""Rearrangements that are layers: between image, column and vector, and of an image's places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Leaf, Shape, ShapeError, WrittenLeaf, register, require, size
from evosearch.layers.library.masked import mask_of

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Layer, Node


class Rearrangement(WrittenLeaf):
    """No weights, and nothing that backward needs."""

    keeps_zero: ClassVar[bool] = True

    def params(self, x: Shape) -> int:
        return 0


def image(layer: Leaf, x: Shape) -> Shape:
    """`x`, which must be an image; raises ShapeError."""
    if len(x) != 3:
        raise ShapeError("{}: {} is not an image", layer.name, x)
    return x


def column(layer: Layer, x: Shape) -> Shape:
    """`x`, which must be a column; raises ShapeError."""
    if len(x) != 2:
        raise ShapeError("{}: {} is not a column", layer.name, x)
    return x


@register("flatten")
@dataclass(frozen=True)
class Flatten(Rearrangement):
    """All scalars as one vector."""

    def shape(self, x: Shape) -> Shape:
        return (size(x),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return x if len(node.inputs) == 1 else build.line("{}.flatten(1)", x, shape=node.output)


@register("reshape")
@dataclass(frozen=True)
class Reshape(Rearrangement):
    """(D,) -> (channels, side, side) with D = channels * side * side."""

    channels: int
    side: int

    def __post_init__(self) -> None:
        require(self.channels >= 1 and self.side >= 1, f"{self.channels} channels of side {self.side}")

    def shape(self, x: Shape) -> Shape:
        if len(x) != 1 or x[0] != self.channels * self.side**2:
            raise ShapeError("reshape: {} is not {} x {} x {}", x, self.channels, self.side, self.side)
        return (self.channels, self.side, self.side)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line(f"{{}}.unflatten(1, {node.output})", x, shape=node.output, view=True)


@register("tokens")
@dataclass(frozen=True)
class Tokens(Rearrangement):
    """(C, H, W) -> (H W, C): each place is a token."""

    def shape(self, x: Shape) -> Shape:
        channels, height, width = image(self, x)
        return (height * width, channels)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line("{}.flatten(2).transpose(1, 2)", x, shape=node.output, view=True)


@register("untokens")
@dataclass(frozen=True)
class Untokens(Rearrangement):
    """(S, D) -> (D, S / side, side): tokens back as an image of so many columns."""

    side: int

    def __post_init__(self) -> None:
        require(self.side >= 1, f"the side is at least 1, not {self.side}")

    def shape(self, x: Shape) -> Shape:
        if column(self, x)[0] % self.side:
            raise ShapeError("untokens: {} is no image of side {}", x, self.side)
        return (x[1], x[0] // self.side, self.side)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        code = f"{{}}.transpose(1, 2).unflatten(2, {node.output[1:]})"
        return build.line(code, x, shape=node.output, view=True)


@register("class_token")
@dataclass(frozen=True)
class ClassToken(WrittenLeaf):
    """(S, D) -> (S + 1, D): a learned row in front (BERT, ViT)."""

    def shape(self, x: Shape) -> Shape:
        return (column(self, x)[0] + 1, x[1])

    def params(self, x: Shape) -> int:
        return x[1]

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        token = build.module(f"nn.Parameter(torch.zeros(1, 1, {node.inputs[1]}))", "token")
        code = f"torch.cat([{token}.to({{0}}.dtype).expand({{0}}.shape[0], -1, -1), {{0}}], dim=1)"
        return build.line(code, x, shape=node.output)


class OneToken(Rearrangement):
    """(S, D) -> (D,): one row of a column."""

    index: ClassVar[int]

    def shape(self, x: Shape) -> Shape:
        return (column(self, x)[1],)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line(f"{{}}[:, {self.index}]", x, shape=node.output, view=True)


@register("first_token")
@dataclass(frozen=True)
class FirstToken(OneToken):
    """(S, D) -> (D,): the first row."""

    index: ClassVar[int] = 0


@register("last_token")
@dataclass(frozen=True)
class LastToken(OneToken):
    """(S, D) -> (D,): the last row; of a series of which a mask is known, the last that is there."""

    index: ClassVar[int] = -1

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        if mask := mask_of(x, build):
            code = f"{{}}.gather(1, ({{}}.sum(1) - 1).view(-1, 1, 1).expand(-1, 1, {node.output[0]}))[:, 0]"
            return build.line(code, x, mask, shape=node.output, keeps="in", extra=2 * node.output[0])
        return super().emit(node, x, build)


@register("space_to_depth")
@dataclass(frozen=True)
class SpaceToDepth(Rearrangement):
    """(C, H, W) -> (C r^2, H / r, W / r), rounded up: zeros below and on the right fill what is missing."""

    ratio: int

    def __post_init__(self) -> None:
        require(self.ratio >= 1, f"the ratio is at least 1, not {self.ratio}")

    def shape(self, x: Shape) -> Shape:
        channels, height, width = image(self, x)
        return (channels * self.ratio**2, -(-height // self.ratio), -(-width // self.ratio))

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        _, height, width = node.inputs
        below, right = -height % self.ratio, -width % self.ratio
        padded = f"F.pad({{}}, (0, {right}, 0, {below}))" if below or right else "{}"
        return build.line(f"F.pixel_unshuffle({padded}, {self.ratio})", x, shape=node.output)


@register("pixel_shuffle")
@dataclass(frozen=True)
class PixelShuffle(Rearrangement):
    """(C, H, W) -> (C / r^2, r H, r W) (Shi et al. 2016)."""

    ratio: int

    def __post_init__(self) -> None:
        require(self.ratio >= 1, f"the ratio is at least 1, not {self.ratio}")

    def shape(self, x: Shape) -> Shape:
        channels, height, width = image(self, x)
        if channels % self.ratio**2:
            raise ShapeError("pixel_shuffle: the channels of {} do not divide by {}", x, self.ratio**2)
        return (channels // self.ratio**2, height * self.ratio, width * self.ratio)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line(f"F.pixel_shuffle({{}}, {self.ratio})", x, shape=node.output)


@register("upsample")
@dataclass(frozen=True)
class Upsample(Rearrangement):
    """(C, H, W) -> (C, r H, r W), each place repeated ("nearest") or in between ("bilinear")."""

    ratio: int
    mode: str = "nearest"

    def __post_init__(self) -> None:
        require(self.ratio >= 1, f"the ratio is at least 1, not {self.ratio}")
        require(self.mode in ("nearest", "bilinear"), f"nearest or bilinear, not {self.mode!r}")

    def shape(self, x: Shape) -> Shape:
        channels, height, width = image(self, x)
        return (channels, height * self.ratio, width * self.ratio)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        code = f"F.interpolate({{}}, scale_factor={self.ratio}, mode={self.mode!r})"
        return build.line(code, x, shape=node.output)


@register("resize")
@dataclass(frozen=True)
class Resize(Rearrangement):
    """(C, H, W) -> (C, side, side), in between the places there are (bilinear)."""

    side: int

    def __post_init__(self) -> None:
        require(self.side >= 1, f"the side is at least 1, not {self.side}")

    def shape(self, x: Shape) -> Shape:
        return (image(self, x)[0], self.side, self.side)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line(f"F.interpolate({{}}, ({self.side}, {self.side}), mode='bilinear')", x, shape=node.output)


@register("channel_shuffle")
@dataclass(frozen=True)
class ChannelShuffle(Rearrangement):
    """The channels of an image dealt out over the groups (ShuffleNet, Zhang et al. 2018)."""

    groups: int

    def __post_init__(self) -> None:
        require(self.groups >= 1, f"at least 1 group, not {self.groups}")

    def shape(self, x: Shape) -> Shape:
        if image(self, x)[0] % self.groups:
            raise ShapeError("channel_shuffle: the channels of {} do not divide by {}", x, self.groups)
        return x

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        code = f"{{}}.unflatten(1, ({self.groups}, {node.inputs[0] // self.groups})).transpose(1, 2).flatten(1, 2)"
        return build.line(code, x, shape=node.output)


@register("conv_up")
@dataclass(frozen=True)
class ConvUp(WrittenLeaf):
    """(C, H, W) -> (width, stride H, stride W): transposed convolution with bias; the kernel is at least the stride."""

    width: int
    kernel: int
    stride: int

    def __post_init__(self) -> None:
        require(self.width >= 1, f"the width is at least 1, not {self.width}")
        require(self.kernel >= self.stride >= 1, f"the kernel is at least the stride, not {self.kernel}, {self.stride}")
        require(self.stride > 1 or self.kernel % 2 == 1, f"with a stride of 1 the kernel is odd, not {self.kernel}")

    def shape(self, x: Shape) -> Shape:
        _, height, width = image(self, x)
        return (self.width, height * self.stride, width * self.stride)

    def params(self, x: Shape) -> int:
        return (x[0] * self.kernel**2 + 1) * self.width

    def flops(self, x: Shape) -> int:
        return 2 * size(x) * self.kernel**2 * self.width

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        over = self.kernel - self.stride  # cut off on both sides, one more on the first where it is odd
        settings = f"{self.kernel}, stride={self.stride}, padding={(over + 1) // 2}"
        settings += ", output_padding=1" if over % 2 else ""
        module = build.module(f"nn.ConvTranspose2d({node.inputs[0]}, {self.width}, {settings})", "conv")
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")
