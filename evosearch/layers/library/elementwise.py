"""Merges that work element by element; a size of 1 stretches to the other branch's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.cost import Cost
from evosearch.layers.base import Shape, ShapeError, register, size
from evosearch.layers.library.merges import Merge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.builder import Builder


class Elementwise(Merge):
    keeps_steps: ClassVar[bool] = True
    code: ClassVar[str]  # of two branches
    saves: ClassVar[bool] = True  # whether backward needs the branches

    def pair(self, left: Shape, right: Shape) -> Shape:
        stretches = len(left) == len(right) and all(a == b or 1 in (a, b) for a, b in zip(left, right, strict=True))
        if not stretches:
            raise ShapeError("{}: {} and {} differ", self.name, left, right)
        return tuple(map(max, left, right))

    def cost(self, parts: Sequence[Shape], output: Shape) -> Cost:
        return Cost(activations=sum(map(size, parts)) if self.saves else 0, modules=1)

    def emit(self, branches: Sequence[str], output: Shape, build: Builder) -> str:
        total, *rest = branches
        for branch in rest:
            shape = self.pair(build.shape(total), build.shape(branch))
            total = build.line(self.code, total, branch, shape=shape, keeps="in" if self.saves else "")
        return total


@register("mul")
@dataclass(frozen=True)
class Multiply(Elementwise):
    """The product of branches, number by number."""

    code: ClassVar[str] = "{} * {}"


@register("sub")
@dataclass(frozen=True)
class Subtract(Elementwise):
    """The first branch minus the others."""

    code: ClassVar[str] = "{} - {}"
    saves: ClassVar[bool] = False


@register("div")
@dataclass(frozen=True)
class Divide(Elementwise):
    """The second branch is moved away from zero by 1e-3, as in searches for normalisations."""

    code: ClassVar[str] = "{0} / ({1} + {1}.sign().add(0.5).sign() * 1e-3)"


@register("mean")
@dataclass(frozen=True)
class Mean(Elementwise):
    """The mean of the branches."""

    code: ClassVar[str] = "{} + {}"
    saves: ClassVar[bool] = False

    def emit(self, branches: Sequence[str], output: Shape, build: Builder) -> str:
        listed = " + ".join(["{}"] * len(branches))
        return build.line(f"({listed}) / {len(branches)}", *branches, shape=output)


@register("max")
@dataclass(frozen=True)
class Maximum(Elementwise):
    """The largest of the branches, number by number."""

    code: ClassVar[str] = "torch.maximum({}, {})"


@register("gate")
@dataclass(frozen=True)
class Gate(Elementwise):
    """u (v + 1): open while the second branch is zero (gMLP, Liu et al. 2021)."""

    code: ClassVar[str] = "{} * ({} + 1)"


@register("stack")
@dataclass(frozen=True)
class Stack(Merge):
    """Vectors (D,) of n branches as the rows of a column (n, D)."""

    def pair(self, left: Shape, right: Shape) -> Shape:
        if len(left) != 1 or left != right:
            raise ShapeError("stack: {} and {} are not vectors of one size", left, right)
        return (2, *left)

    def further(self, output: Shape, branch: Shape) -> Shape:
        rows, *width = output
        if list(branch) != width:
            raise ShapeError("stack: {} is no further row of {}", branch, output)
        return (rows + 1, *width)

    def emit(self, branches: Sequence[str], output: Shape, build: Builder) -> str:
        listed = ", ".join(["{}"] * len(branches))
        return build.line(f"torch.stack([{listed}], dim=1)", *branches, shape=output)
