"""The usual head: what turns the output of a network's body into the task's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, WrittenLeaf, register, require, width
from evosearch.layers.library.masked import mask_of, masked_mean

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


@register("mean_linear")
@dataclass(frozen=True)
class MeanLinear(WrittenLeaf):
    """The mean over H and W, or over S; then a linear layer with bias: any shape -> (outputs,).

    Of a series of which a mask is known, the mean is over the steps that are there.

    As in einspace's training, but for columns the mean is over the tokens (Ericsson et al. 2024, appendix).
    """

    mixes_channels: ClassVar[bool] = True

    outputs: int

    def __post_init__(self) -> None:
        require(self.outputs >= 1, f"at least 1 output, not {self.outputs}")

    def shape(self, x: Shape) -> Shape:
        return (self.outputs,)

    def params(self, x: Shape) -> int:
        return (width(x) + 1) * self.outputs

    def flops(self, x: Shape) -> int:
        return 2 * width(x) * self.outputs

    def title(self, x: Shape) -> str:
        return "mean, linear" if len(x) > 1 else "linear"

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        """The mean as a sum and a division: the gradient of torch's mean is written out for every position, that of a
        sum is a view. The first one of a network is its `head`, the others have numbers behind that."""
        inputs = node.inputs
        features = (width(inputs),)
        if len(inputs) == 3:
            x = build.line(f"{{}}.sum(dim=(2, 3)) / {inputs[1] * inputs[2]}", x, shape=features)
        elif len(inputs) == 2 and (mask := mask_of(x, build)):
            x = masked_mean(x, mask, build)
        elif len(inputs) == 2:
            x = build.line(f"{{}}.sum(dim=1) / {inputs[0]}", x, shape=features)
        module = build.module(f"nn.Linear({features[0]}, {self.outputs})", "head", numbered=build.is_taken("head"))
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")
