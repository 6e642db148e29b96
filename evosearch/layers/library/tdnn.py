"""Time-delay networks for sequences: the layers of ECAPA-TDNN (Desplanques et al. 2020, arXiv 2005.07143)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Combinator, Part, Shape, ShapeError, Want, register, require
from evosearch.layers.block import Block, Body, Composed, chain
from evosearch.layers.library.activations import ReLU
from evosearch.layers.library.conv_free import Convolution
from evosearch.layers.library.mbconv import SqueezeExcite
from evosearch.layers.library.norms import BatchNorm
from evosearch.layers.library.reshapes import column
from evosearch.layers.library.skips import Cascade

if TYPE_CHECKING:
    from evosearch.layers.base import Emission, Node
    from evosearch.layers.builder import Builder

SCALE = 8  # groups of features in a block


@register("tdnn_layer")
@dataclass(frozen=True)
class TDNNLayer(Block):
    """(S, D) -> (S, width): a convolution over time without bias, ReLU, and batch norm behind it."""

    width: int
    kernel: int = 1
    dilation: int = 1

    def __post_init__(self) -> None:
        Convolution(self.width, self.kernel, 1, 1, self.dilation)

    def body(self, x: Shape) -> Body:
        column(self, x)
        return chain(Convolution(self.width, self.kernel, 1, 1, self.dilation), ReLU(), BatchNorm())


@register("se_res2")
@dataclass(frozen=True)
class SERes2(Block):
    """1x1, eight groups of features in a cascade of dilated layers, 1x1, squeeze-and-excitation; the shape stays.

    middle: features of the cascade, in groups of an eighth. What stands beside it is for `aggregate` to say.
    """

    middle: int
    kernel: int = 3
    dilation: int = 2

    def __post_init__(self) -> None:
        require(self.middle >= SCALE and self.middle % SCALE == 0, f"{SCALE} groups do not divide {self.middle}")
        TDNNLayer(self.middle, self.kernel, self.dilation)

    def body(self, x: Shape) -> Body:
        _, d = column(self, x)
        groups = Composed(Cascade(SCALE), (TDNNLayer(self.middle // SCALE, self.kernel, self.dilation),))
        return chain(TDNNLayer(self.middle), groups, TDNNLayer(d), SqueezeExcite(max(1, d // 4)))


@register("aggregate")
@dataclass(frozen=True)
class Aggregate(Combinator):
    """(S, D) -> (S, n D): n parts one after the other, each beside the sum of all before; all outputs side by side.

    y_0 = x, y_i = part_i(y_(i-1)) + y_0 + ... + y_(i-1); the output is y_1 to y_n (EfficientTDNN, Wang et al. 2022).
    """

    keeps_steps: ClassVar[bool] = True

    def shape(self, x: Shape, first: Part, *others: Part, want: Want = None) -> Shape:
        s, d = column(self, x)
        for part in (first, *others):
            if part(x, x) != x:
                raise ShapeError("aggregate: its parts must keep {}", x)
        return (s, d * (1 + len(others)))

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        before, outputs = x, list[str]()
        for part in node.parts:
            y = yield part, (outputs[-1] if outputs else x)
            if outputs:
                before = build.line("{} + {}", before, outputs[-1], shape=node.inputs)
            outputs.append(build.line("{} + {}", y, before, shape=node.inputs))
        if len(outputs) == 1:
            return outputs[0]
        listed = ", ".join(["{}"] * len(outputs))
        return build.line(f"torch.cat([{listed}], dim=2)", *outputs, shape=node.output)
