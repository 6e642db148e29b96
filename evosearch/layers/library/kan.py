"""Kolmogorov-Arnold layers over the last axis: sums of learned functions of one number each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, WrittenLeaf, register, require, size

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


class Expansion(WrittenLeaf):
    """(..., d) -> (..., width): each number as several basis functions of it, and a linear layer of all of them."""

    keeps_steps: ClassVar[bool] = True

    width: int

    def shape(self, x: Shape) -> Shape:
        return (*x[:-1], self.width)

    def bases(self) -> int:
        """Basis functions of one number."""
        raise NotImplementedError

    def flops(self, x: Shape) -> int:
        return 2 * size(x) * self.width * self.bases()


def _weight(build: Builder, rows: int, columns: int, name: str) -> str:
    return build.module(f"nn.Parameter(torch.randn({rows}, {columns}) * {columns} ** -0.5)", name)


SPLINES = '''
def b_splines(x, knots, order):
    """The B-splines of an order on equidistant knots at x, along a new last axis (Cox and de Boor)."""
    x = x.unsqueeze(-1)
    bases = ((x >= knots[:-1]) & (x < knots[1:])).to(x.dtype)
    for k in range(1, order + 1):
        width = (knots[k] - knots[0]).to(x.dtype)
        left, right = knots[: -k - 1].to(x.dtype), knots[k + 1 :].to(x.dtype)
        bases = (x - left) / width * bases[..., :-1] + (right - x) / width * bases[..., 1:]
    return bases
'''


@register("kan")
@dataclass(frozen=True)
class KAN(Expansion):
    """B-splines on a grid over [-1, 1], beside a linear layer of silu(x) (Liu et al. 2024; the form of efficient-kan).

    grid: intervals. order: of the splines. Each spline has a factor of its own besides its coefficients.
    """

    width: int
    grid: int = 5
    order: int = 3

    def __post_init__(self) -> None:
        require(self.width >= 1 and self.grid >= 1, f"{self.width} wide with {self.grid} intervals: at least 1 each")
        require(0 <= self.order <= 9, f"the order is 0 to 9, not {self.order}")

    def bases(self) -> int:
        return 1 + self.grid + self.order

    def params(self, x: Shape) -> int:
        return x[-1] * self.width * (2 + self.grid + self.order)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d, w, g, k = node.inputs[-1], self.width, self.grid, self.order
        build.helper(SPLINES)
        knots = build.buffer(f"torch.arange({-k}, {g + k + 1}) * {2 / g!r} - 1", "knots")
        base = _weight(build, w, d, "base")
        spline = build.module(f"nn.Parameter(torch.randn({w}, {d}, {g + k}) * 0.1 / {d} ** 0.5)", "spline")
        scale = build.module(f"nn.Parameter(torch.ones({w}, {d}, 1))", "scale")
        plain = build.line(
            f"F.linear(F.silu({{0}}), {base}.to({{0}}.dtype))",
            x,
            shape=node.output,
            keeps="in",
            extra=size(node.inputs),
        )
        bases = (*node.inputs[:-1], d * (g + k))
        splines = build.line(
            f"b_splines({{}}, {knots}, {k}).flatten(-2)", x, shape=bases, extra=size(node.inputs) * 4 * k * (g + k)
        )
        code = f"{{0}} + F.linear({{1}}, ({spline} * {scale}).flatten(1).to({{1}}.dtype))"
        return build.line(code, plain, splines, shape=node.output, extra=size(bases))


CHEBYSHEV = '''
def chebyshev(x, degree):
    """The Chebyshev polynomials up to a degree at tanh(x), along a new last axis."""
    x = torch.tanh(x)
    terms = [torch.ones_like(x), x]
    while len(terms) <= degree:
        terms.append(2 * x * terms[-1] - terms[-2])
    return torch.stack(terms[: degree + 1], -1)
'''


@register("cheby_kan")
@dataclass(frozen=True)
class ChebyshevKAN(Expansion):
    """Chebyshev polynomials of tanh(x)."""

    width: int
    degree: int = 4

    def __post_init__(self) -> None:
        require(self.width >= 1 and self.degree >= 1, f"{self.width} wide, degree {self.degree}: at least 1 each")

    def bases(self) -> int:
        return self.degree + 1

    def params(self, x: Shape) -> int:
        return x[-1] * self.width * (self.degree + 1)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d, n = node.inputs[-1], self.degree + 1
        build.helper(CHEBYSHEV)
        weight = _weight(build, self.width, d * n, "weight")
        bases = (*node.inputs[:-1], d * n)
        x = build.line(
            f"chebyshev({{}}, {self.degree}).flatten(-2)",
            x,
            shape=bases,
            extra=size(node.inputs) * (1 + 2 * max(0, self.degree - 1)),
        )
        return build.line(f"F.linear({{0}}, {weight}.to({{0}}.dtype))", x, shape=node.output, keeps="in")


@register("fourier_kan")
@dataclass(frozen=True)
class FourierKAN(Expansion):
    """Cosines and sines of 1 to `grid` times x, with a bias."""

    width: int
    grid: int = 4

    def __post_init__(self) -> None:
        require(self.width >= 1 and self.grid >= 1, f"{self.width} wide, grid {self.grid}: at least 1 each")

    def bases(self) -> int:
        return 2 * self.grid

    def params(self, x: Shape) -> int:
        return 2 * self.grid * x[-1] * self.width + self.width

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d, g = node.inputs[-1], self.grid
        wave = build.buffer(f"torch.arange(1.0, {g + 1})", "waves")
        module = build.module(f"nn.Linear({2 * g * d}, {self.width})", "linear")
        angles = (*node.inputs[:-1], d, g)
        x = build.line(f"{{0}}.unsqueeze(-1) * {wave}.to({{0}}.dtype)", x, shape=angles)
        x = build.line(
            "torch.cat([{0}.cos(), {0}.sin()], -1).flatten(-2)",
            x,
            shape=(*node.inputs[:-1], 2 * d * g),
            keeps="in",
            extra=size(angles),
        )
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")


@register("rbf_kan")
@dataclass(frozen=True)
class RadialKAN(Expansion):
    """Gaussians around `grid` centres in [-2, 2], beside a linear layer of silu(x) (FastKAN, Li 2024)."""

    width: int
    grid: int = 8

    def __post_init__(self) -> None:
        require(self.width >= 1 and self.grid >= 2, f"{self.width} wide, {self.grid} centres: at least 1 and 2")

    def bases(self) -> int:
        return self.grid + 1

    def params(self, x: Shape) -> int:
        return x[-1] * self.width * (self.grid + 1)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d, w, g = node.inputs[-1], self.width, self.grid
        centres = build.buffer(f"torch.linspace(-2, 2, {g})", "centres")
        base, weight = _weight(build, w, d, "base"), _weight(build, w, d * g, "weight")
        plain = build.line(
            f"F.linear(F.silu({{0}}), {base}.to({{0}}.dtype))",
            x,
            shape=node.output,
            keeps="in",
            extra=size(node.inputs),
        )
        bases = (*node.inputs[:-1], d * g)
        code = f"torch.exp(-(({{0}}.unsqueeze(-1) - {centres}.to({{0}}.dtype)) * {(g - 1) / 4!r}).square()).flatten(-2)"
        x = build.line(code, x, shape=bases, extra=2 * size(bases))
        code = f"{{0}} + F.linear({{1}}, {weight}.to({{1}}.dtype))"
        return build.line(code, plain, x, shape=node.output, extra=size(bases))


SNNK = '''
def orthogonal_rows(rows, columns):
    """Random rows of length sqrt(columns), orthogonal in blocks."""
    blocks = [torch.linalg.qr(torch.randn(columns, columns))[0] for _ in range(-(-rows // columns))]
    return torch.cat(blocks)[:rows] * columns**0.5
'''


@register("snnk")
@dataclass(frozen=True)
class RandomFeatures(WrittenLeaf):
    """(..., d) -> (..., width): W relu(G x) / sqrt(features), G fixed and orthogonal (SNNK, Sehanobish et al. 2024)."""

    keeps_steps: ClassVar[bool] = True

    width: int
    features: int
    keeps_zero: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.width >= 1 and self.features >= 1, f"{self.width} wide, {self.features} features: at least 1 each")

    def shape(self, x: Shape) -> Shape:
        return (*x[:-1], self.width)

    def params(self, x: Shape) -> int:
        return self.width * self.features

    def flops(self, x: Shape) -> int:
        return 2 * size(x) * self.features + 2 * size(x) // x[-1] * self.features * self.width

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper(SNNK)
        m = self.features
        fixed = build.buffer(f"orthogonal_rows({m}, {node.inputs[-1]})", "features", drawn=True)
        weight = _weight(build, self.width, m, "weight")
        inner = (*node.inputs[:-1], m)
        x = build.line(
            f"F.relu(F.linear({{0}}, {fixed}.to({{0}}.dtype))) / {m} ** 0.5", x, shape=inner, extra=size(inner)
        )
        return build.line(f"F.linear({{0}}, {weight}.to({{0}}.dtype))", x, shape=node.output, keeps="in")


@register("pattention")
@dataclass(frozen=True)
class ParameterAttention(WrittenLeaf):
    """(..., d) -> (..., width): attention to learned slots in place of a linear layer (TokenFormer, Wang et al. 2024).

    gelu(s / |s| sqrt(slots)) V with s = K x. A slot whose key is zero adds nothing but its share of the root.
    """

    keeps_steps: ClassVar[bool] = True

    slots: int
    width: int
    keeps_zero: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.slots >= 1 and self.width >= 1, f"{self.slots} slots, {self.width} wide: at least 1 each")

    def shape(self, x: Shape) -> Shape:
        return (*x[:-1], self.width)

    def params(self, x: Shape) -> int:
        return self.slots * (x[-1] + self.width)

    def flops(self, x: Shape) -> int:
        return 2 * size(x) // x[-1] * self.slots * (x[-1] + self.width)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d, n = node.inputs[-1], self.slots
        keys, values = _weight(build, n, d, "keys"), _weight(build, self.width, n, "values")
        inner = (*node.inputs[:-1], n)
        x = build.line(f"F.linear({{0}}, {keys}.to({{0}}.dtype))", x, shape=inner, keeps="in")
        code = f"F.gelu(F.normalize({{}}, dim=-1) * {n} ** 0.5)"
        x = build.line(code, x, shape=inner, keeps="in", extra=size(inner))
        return build.line(f"F.linear({{0}}, {values}.to({{0}}.dtype))", x, shape=node.output, keeps="in")
