"""Each series by its own scale: what stands before all other layers where amplitudes differ by orders of magnitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, size, width

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

SOURCE = '''
def z_normalised(x):
    """Each series less its mean and over its standard deviation, beside it asinh of the one and log10 of the other."""
    mean = x.mean(dim=1, keepdim=True)
    x = x - mean
    deviation = x.square().mean(dim=1, keepdim=True).clamp_min(1e-12).sqrt()
    scales = torch.cat([mean.asinh(), deviation.log10()], dim=2)
    return torch.cat([x / deviation, scales.expand(-1, x.shape[1], -1)], dim=2)
'''


@register("z_normalise")
@dataclass(frozen=True)
class ZNormalise(WrittenLeaf):
    """(S, D) -> (S, 3 D): each series and dimension z-normalised over its own steps, as most of the UCR archive's are
    (Dau et al. 2019); then its mean as asinh and its deviation as log10, at every step, so that nothing is lost.
    """

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes == 2 and want_axes in (None, 2)

    def shape(self, x: Shape) -> Shape:
        if len(x) != 2 or x[0] == 1:
            raise ShapeError("z_normalise: {} has no steps to normalise over", x)
        return (x[0], 3 * x[1])

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper(SOURCE)
        extra = 2 * size(node.inputs) + 5 * width(node.inputs)
        return build.line("z_normalised({})", x, shape=node.output, extra=extra)
