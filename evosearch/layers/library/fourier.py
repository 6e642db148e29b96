"""Layers that work on frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require
from evosearch.layers.library.reshapes import column, image

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

AFNO = '''
def afno(x, first, second, threshold, kept):
    """x plus a two-layer complex perceptron of its frequencies in blocks of channels. first, second: (weight, bias)
    with weight (2, blocks, c, c) and bias (2, blocks, c), real and imaginary. kept: so many of the lowest along W."""
    def layer(re, im, weight, bias):
        weight, bias = weight.to(re.dtype), bias.to(re.dtype)[:, None, None, None]
        def times(part, of):
            return torch.einsum("nhwbi,bio->nhwbo", of, weight[part])
        return times(0, re) - times(1, im) + bias[0], times(0, im) + times(1, re) + bias[1]

    height, width = x.shape[2:]
    f = torch.fft.rfft2(x.float(), norm="ortho")[..., :kept].permute(0, 2, 3, 1).unflatten(3, (first[0].shape[1], -1))
    re, im = layer(f.real, f.imag, *first)
    re, im = layer(F.relu(re), F.relu(im), *second)
    f = torch.complex(F.softshrink(re, threshold), F.softshrink(im, threshold)).flatten(3).permute(0, 3, 1, 2)
    return x + torch.fft.irfft2(f, s=(height, width), norm="ortho").to(x.dtype)
'''


@register("afno")
@dataclass(frozen=True)
class AdaptiveFourier(WrittenLeaf):
    """(C, H, W) -> same: the adaptive Fourier neural operator (Guibas et al. 2022), the input added.

    blocks: of channels, each with its own weights. threshold: below it a frequency's output becomes 0. keep: the share
    of the frequencies along W that are worked on, the lowest; of the others nothing comes out.
    """

    blocks: int = 8
    threshold: float = 0.01
    keep: float = 1.0

    def __post_init__(self) -> None:
        require(self.blocks >= 1, f"at least 1 block, not {self.blocks}")
        require(self.threshold >= 0, f"the threshold is at least 0, not {self.threshold}")
        require(0 < self.keep <= 1, f"the share to keep is above 0 and at most 1, not {self.keep}")

    def arguments(self) -> tuple[object, ...]:
        """Without a share of 1: the keys from before it was asked for stay."""
        given = super().arguments()
        return given if self.keep < 1 else given[:-1]

    def _kept(self, x: Shape) -> int:
        return max(1, int((x[2] // 2 + 1) * self.keep))

    def shape(self, x: Shape) -> Shape:
        if image(self, x)[0] % self.blocks:
            raise ShapeError("afno: the channels of {} do not divide by {} blocks", x, self.blocks)
        return x

    def params(self, x: Shape) -> int:
        return 4 * x[0] ** 2 // self.blocks + 4 * x[0]

    def flops(self, x: Shape) -> int:
        return 16 * x[1] * self._kept(x) * x[0] ** 2 // self.blocks

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (c, h, _), b, kept = node.inputs, self.blocks, self._kept(node.inputs)
        build.helper(AFNO)
        pairs = []
        for _ in range(2):
            weight = build.module(f"nn.Parameter(torch.randn(2, {b}, {c // b}, {c // b}) * 0.02)", "weight")
            bias = build.module(f"nn.Parameter(torch.zeros(2, {b}, {c // b}))", "bias")
            pairs.append(f"({weight}, {bias})")
        code = f"afno({{}}, {pairs[0]}, {pairs[1]}, {self.threshold!r}, {kept})"
        return build.line(code, x, shape=node.output, extra=10 * c * h * kept)


@register("gfn")
@dataclass(frozen=True)
class GlobalFilter(WrittenLeaf):
    """(C, H, W) -> same: each frequency times a learned complex number (Rao et al. 2021)."""

    def shape(self, x: Shape) -> Shape:
        return image(self, x)

    def params(self, x: Shape) -> int:
        return 2 * x[0] * x[1] * (x[2] // 2 + 1)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        c, h, w = node.inputs
        scale = build.module(f"nn.Parameter(torch.randn({c}, {h}, {w // 2 + 1}, 2) * 0.02)", "filter")
        code = (
            f"torch.fft.irfft2(torch.fft.rfft2({{0}}.float(), norm='ortho') "
            f"* torch.complex({scale}[..., 0], {scale}[..., 1]), s=({h}, {w}), norm='ortho').to({{0}}.dtype)"
        )
        return build.line(code, x, shape=node.output, extra=c * h * (w // 2 + 1))


@register("fourier_mix")
@dataclass(frozen=True)
class FourierMix(WrittenLeaf):
    """(S, D) -> same: the real part of the Fourier transform along both axes (FNet, Lee-Thorp et al. 2022)."""

    def shape(self, x: Shape) -> Shape:
        return column(self, x)

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line("torch.fft.fft2({0}.float()).real.to({0}.dtype)", x, shape=node.output)


DCT = '''
def cosine_transform(x, dim):
    """The orthonormal DCT-II along an axis, by an FFT of the even places and then the odd ones backwards."""
    x = x.movedim(dim, -1)
    n = x.shape[-1]
    f = torch.fft.fft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1))
    angles = torch.arange(n, device=x.device, dtype=x.dtype) * (torch.pi / (2 * n))
    out = (f.real * angles.cos() + f.imag * angles.sin()) * (2 / n) ** 0.5
    return torch.cat([out[..., :1] * 0.5**0.5, out[..., 1:]], -1).movedim(-1, dim)
'''


@register("dct_mix")
@dataclass(frozen=True)
class CosineMix(WrittenLeaf):
    """(S, D) -> same: the orthonormal cosine transform along both axes."""

    def shape(self, x: Shape) -> Shape:
        return column(self, x)

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper(DCT)
        return build.line("cosine_transform(cosine_transform({}, 1), 2)", x, shape=node.output)
