"""Normalisation by name, over the channels of an image or the features of a column or vector; the shape stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require, size, width
from evosearch.layers.library.masked import MASKED_NORM, mask_of, zero_behind
from evosearch.layers.library.norm import Norm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission, Form
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


class Normalisation(WrittenLeaf):
    """One module; a scale and a shift for each channel."""

    vanishes: ClassVar[bool] = True

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return 2 * width(x)


def channels_first(code: str, x: Shape) -> str:
    """The call of a module that wants channels before places: a column's are behind them."""
    return f"{code}({{}}.transpose(1, 2)).transpose(1, 2)" if len(x) == 2 else f"{code}({{}})"


@register("batch_norm")
@dataclass(frozen=True)
class BatchNorm(Normalisation):
    """Over the batch and all places, for each channel (Ioffe and Szegedy 2015)."""

    keeps_steps: ClassVar[bool] = True

    def channelwise(self, x: Shape) -> bool:
        return True

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """In an image it is what `norm` is."""
        return Norm().canonical(node, parts) if len(node.inputs) == 3 else super().canonical(node, parts)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        module = build.module(f"nn.BatchNorm{2 if len(node.inputs) == 3 else 1}d({width(node.inputs)})", "norm")
        if mask := mask_of(x, build):
            build.helper(MASKED_NORM)
            code = f"masked_norm({module}, {{}}.transpose(1, 2), {{}}).transpose(1, 2)"
            extra = size(node.inputs) + 2 * node.inputs[0]
            return build.line(code, x, mask, shape=node.output, extra=extra)
        return build.line(channels_first(module, node.inputs), x, shape=node.output, keeps="in")


@register("layer_norm")
@dataclass(frozen=True)
class LayerNorm(Normalisation):
    """Over the channels, at each place (Ba et al. 2016)."""

    keeps_steps: ClassVar[bool] = True

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """In a column or vector it is what `norm` is."""
        return Norm().canonical(node, parts) if len(node.inputs) < 3 else super().canonical(node, parts)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        channels = width(node.inputs)
        module = build.module(f"nn.LayerNorm({channels})", "norm")
        image = len(node.inputs) == 3
        code = f"{module}({{}}.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)" if image else f"{module}({{}})"
        places = size(node.inputs) // channels
        return build.line(code, x, shape=node.output, keeps="in", extra=2 * places, float32=True)


@register("group_norm")
@dataclass(frozen=True)
class GroupNorm(Normalisation):
    """Over all places and one group of channels (Wu and He 2018)."""

    groups: int

    def __post_init__(self) -> None:
        require(self.groups >= 1, f"at least 1 group, not {self.groups}")

    def shape(self, x: Shape) -> Shape:
        if len(x) == 1 or width(x) % self.groups:
            raise ShapeError("group_norm: {} groups of {}", self.groups, x)
        if size(x) == self.groups:
            raise ShapeError("group_norm: {} has one number in each of {} groups", x, self.groups)
        return x

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        module = build.module(f"nn.GroupNorm({self.groups}, {width(node.inputs)})", "norm")
        code = channels_first(module, node.inputs)
        if len(node.inputs) == 3 and not build.reached(x):
            # With channels last and no gradient of the input to compute, torch's backward on a CPU writes to nowhere.
            code = f"{module}({{}}.contiguous())"
        return build.line(code, x, shape=node.output, keeps="in", extra=2 * self.groups, float32=True)


@register("instance_norm")
@dataclass(frozen=True)
class InstanceNorm(Normalisation):
    """Over all places of one example, for each channel (Ulyanov et al. 2016)."""

    def shape(self, x: Shape) -> Shape:
        if len(x) == 1 or size(x) == width(x):
            raise ShapeError("instance_norm: {} has no places to normalise over", x)
        return x

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        axes, channels = len(node.inputs) - 1, width(node.inputs)
        module = build.module(f"nn.InstanceNorm{axes}d({channels}, affine=True)", "norm")
        return build.line(channels_first(module, node.inputs), x, shape=node.output, keeps="in", extra=4 * channels)


RMS = '''
def rms_norm(x, weight, dim):
    """x divided by its root mean square along an axis, times a weight."""
    return x * torch.rsqrt(x.square().mean(dim, keepdim=True) + 1e-6) * weight.to(x.dtype)
'''


@register("rms_norm")
@dataclass(frozen=True)
class RMSNorm(WrittenLeaf):
    """x / rms(x) over the channels at each place, times a weight (Zhang and Sennrich 2019)."""

    keeps_steps: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True

    keeps_zero: ClassVar[bool] = True

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return width(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper(RMS)
        weight, axis = per_channel(build, "ones", node.inputs, "scale")
        extra = size(node.inputs) + 2 * size(node.inputs) // width(node.inputs)
        return build.line(f"rms_norm({{}}, {weight}, {axis})", x, shape=node.output, keeps="in", extra=extra)


def per_channel(build: Builder, make: str, x: Shape, name: str) -> tuple[str, int]:
    """A parameter with one number for each channel that stretches over the places, and the channels' axis.

    make: a torch function of the sizes ("ones"), or one of the sizes and a value ("full", which reads `, value`).
    """
    image = len(x) == 3
    sizes = f"({width(x)}, 1, 1)" if image else f"({width(x)},)"
    function, _, value = make.partition(",")
    code = f"torch.{function}({sizes}{f', {value}' if value else ''})"
    return build.module(f"nn.Parameter({code})", name), 1 if image else -1


@register("affine")
@dataclass(frozen=True)
class Affine(WrittenLeaf):
    """A scale and a shift for each channel, and no statistics (ResMLP, Touvron et al. 2021)."""

    keeps_steps: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True

    def channelwise(self, x: Shape) -> bool:
        return True

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return 2 * width(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        scale, _ = per_channel(build, "ones", node.inputs, "scale")
        shift, _ = per_channel(build, "zeros", node.inputs, "shift")
        code = f"torch.addcmul({shift}.to({{0}}.dtype), {{0}}, {scale}.to({{0}}.dtype))"
        return build.line(code, x, shape=node.output, keeps="in")


@register("layer_scale")
@dataclass(frozen=True)
class LayerScale(WrittenLeaf):
    """A learned factor for each channel, `initial` at first (CaiT, Touvron et al. 2021)."""

    keeps_steps: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True

    initial: float = 1e-6
    keeps_zero: ClassVar[bool] = True

    def channelwise(self, x: Shape) -> bool:
        return True

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return width(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        scale, _ = per_channel(build, f"full,{self.initial!r}", node.inputs, "scale")
        return build.line(f"{{0}} * {scale}.to({{0}}.dtype)", x, shape=node.output, keeps="in")


GRN_SOURCE = '''
def response_norm(x, scale, shift, places=(2, 3), channels=1):
    """x + scale * x * n / mean(n) + shift, with n the norm of each channel over the places."""
    n = torch.linalg.vector_norm(x, dim=places, keepdim=True)
    n = n / (n.mean(dim=channels, keepdim=True) + 1e-6)
    return x + torch.addcmul(shift.to(x.dtype), x * n, scale.to(x.dtype))
'''


@register("grn")
@dataclass(frozen=True)
class GRN(WrittenLeaf):
    """Global response normalisation of the channels of an image or column (ConvNeXt V2, Woo et al. 2023)."""

    keeps_steps: ClassVar[bool] = True

    def shape(self, x: Shape) -> Shape:
        if len(x) == 1:
            raise ShapeError("grn: {} has no places", x)
        return x

    def params(self, x: Shape) -> int:
        return 2 * width(x)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper(GRN_SOURCE)
        scale, _ = per_channel(build, "zeros", node.inputs, "scale")
        shift, _ = per_channel(build, "zeros", node.inputs, "shift")
        axes = ", 1, 2" if len(node.inputs) == 2 else ""
        extra = size(node.inputs) + 3 * width(node.inputs)
        if mask := mask_of(x, build):
            x = zero_behind(x, mask, build)
        code = f"response_norm({{}}, {scale}, {shift}{axes})"
        return build.line(code, x, shape=node.output, keeps="in", extra=extra)


@register("l2_norm")
@dataclass(frozen=True)
class L2Norm(WrittenLeaf):
    """Divided by its Euclidean length over the channels, at each place."""

    keeps_steps: ClassVar[bool] = True

    keeps_zero: ClassVar[bool] = True

    def shape(self, x: Shape) -> Shape:
        return x

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        axis = 1 if len(node.inputs) == 3 else -1
        extra = 2 * size(node.inputs) // width(node.inputs)
        return build.line(f"F.normalize({{}}, dim={axis})", x, shape=node.output, keeps="in", extra=extra)
