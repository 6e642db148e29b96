"""What a network saw, wherever it was: the mean and the maximum over all places."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, width
from evosearch.layers.library.masked import mask_of, masked_max, masked_mean

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("mean_max")
@dataclass(frozen=True)
class MeanMax(WrittenLeaf):
    """(C, H, W) -> (2 C,) and (S, D) -> (2 D,): the mean over all places, then the maximum over them.

    Of a series of which a mask is known, over the steps that are there.
    """

    channel_copies: ClassVar[int] = 2

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes > 1 and want_axes in (None, 1)

    def channelwise(self, x: Shape) -> bool:
        return True

    def shape(self, x: Shape) -> Shape:
        if len(x) < 2:
            raise ShapeError("mean_max: {} has no places", x)
        return (2 * width(x),)

    def params(self, x: Shape) -> int:
        return 0

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        inputs, channels = node.inputs, width(node.inputs)
        if mask := mask_of(x, build):
            mean, largest = masked_mean(x, mask, build), masked_max(x, mask, build)
            return build.line("torch.cat([{}, {}], dim=1)", mean, largest, shape=node.output)
        axes = "(2, 3)" if len(inputs) == 3 else "1"
        # A sum and a division: the gradient of torch's mean is written out for every place, that of a sum is a view.
        mean = build.line(f"{{}}.sum(dim={axes}) / {math.prod(inputs) // channels}", x, shape=(channels,))
        largest = build.line(f"{{}}.amax(dim={axes})", x, shape=(channels,), keeps="in", extra=channels)
        return build.line("torch.cat([{}, {}], dim=1)", mean, largest, shape=node.output)
