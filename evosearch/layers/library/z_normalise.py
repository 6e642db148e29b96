"""Each series by its own scale: what stands before all other layers where amplitudes differ by orders of magnitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, size, width
from evosearch.layers.library.masked import MASKED_MEAN, mask_of

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

SOURCE_MASKED = '''
def masked_z_normalised(x, mask):
    """As z_normalised, over the steps that are there; what is behind them is zero."""
    mean = masked_mean(x, mask).unsqueeze(1)
    x = x - mean
    deviation = masked_mean(x.square(), mask).unsqueeze(1).clamp_min(1e-12).sqrt()
    scales = torch.cat([mean.asinh(), deviation.log10()], dim=2)
    x = torch.cat([x / deviation, scales.expand(-1, x.shape[1], -1)], dim=2)
    return x.masked_fill(~mask.unsqueeze(2), 0)
'''


@register("z_normalise")
@dataclass(frozen=True)
class ZNormalise(WrittenLeaf):
    """(S, D) -> (S, 3 D): each series and dimension z-normalised over its own steps, as most of the UCR archive's are
    (Dau et al. 2019); then its mean as asinh and its deviation as log10, at every step, so that nothing is lost.
    """

    keeps_steps: ClassVar[bool] = True

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes == 2 and want_axes in (None, 2)

    def shape(self, x: Shape) -> Shape:
        if len(x) != 2 or x[0] == 1:
            raise ShapeError("z_normalise: {} has no steps to normalise over", x)
        return (x[0], 3 * x[1])

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        extra = 2 * size(node.inputs) + 5 * width(node.inputs)
        if mask := mask_of(x, build):
            build.helper(MASKED_MEAN)
            build.helper(SOURCE_MASKED)
            return build.line("masked_z_normalised({}, {})", x, mask, shape=node.output, extra=extra)
        build.helper(SOURCE)
        return build.line("z_normalised({})", x, shape=node.output, extra=extra)
