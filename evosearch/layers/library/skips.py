"""Combinators that lead what came before past their parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.cost import Cost
from evosearch.layers.base import (
    Combinator,
    Form,
    Node,
    Operation,
    Part,
    Shape,
    ShapeError,
    Want,
    register,
    size,
    width,
)
from evosearch.layers.block import Body, chain, tree
from evosearch.layers.canonical import canonical_form
from evosearch.layers.forms import digest, sum_of
from evosearch.layers.library.conv_free import Convolution
from evosearch.layers.library.convolution import AvgPool
from evosearch.layers.library.masked import flipped
from evosearch.layers.library.merges import Merge  # noqa: TC001 - the vocabulary reads the fields' types
from evosearch.layers.library.norms import BatchNorm
from evosearch.layers.library.splits import Clone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder


@register("skip")
@dataclass(frozen=True)
class Skip(Combinator):
    """The part's output plus the input; where their shapes differ, the input through a 1x1 convolution and batch norm.

    The projection has the stride that its output needs (He et al. 2016, option B).
    """

    keeps_steps: ClassVar[bool] = True

    def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
        output = part(x, want)
        self._side(x, output)
        return output

    def cost(self, node: Node) -> Cost:
        side = self._side(node.inputs, node.output)
        return node.parts[0].cost if side is None else node.parts[0].cost + side.cost

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        side = self._side(node.inputs, node.output)
        return sum_of([() if side is None else canonical_form(side), parts[0]], node.inputs, node.output)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        output = yield node.parts[0], x
        side = self._side(node.inputs, node.output)
        if side is not None:
            x = yield side, x
        return build.line("{} + {}", build.dropped(output), x, shape=node.output)

    def projection(self, x: Shape, output: Shape) -> Body:
        """What stands beside a part that changes the shape."""
        before, after = (x[1:], output[1:]) if len(x) == 3 else (x[:1], output[:1])
        stride = max(-(-b // a) for b, a in zip(before, after, strict=True))  # of 1 place it leaves 1
        return chain(Convolution(width(output), 1, stride), BatchNorm())

    def _side(self, x: Shape, output: Shape) -> Node | None:
        if x == output:
            return None
        if len(x) != len(output) or len(x) == 1:
            raise ShapeError("{}: {} cannot be added to {}", self.name, x, output)
        side = tree(self.projection(x, output), x)
        if side.output != output:
            raise ShapeError("{}: {} cannot be added to {}", self.name, x, output)
        return side


@register("parallel")
@dataclass(frozen=True)
class Parallel(Combinator):
    """Any number of different branches of the whole input, merged."""

    merge: Merge

    @property
    def keeps_steps(self) -> bool:
        return self.merge.keeps_steps

    def shape(self, x: Shape, first: Part, *others: Part, want: Want = None) -> Shape:
        output = first(x, self.merge.first(want) if others else want)
        for number, other in enumerate(others):
            branch = other(x, self.merge.mate(output, None))
            output = self.merge.further(output, branch) if number else self.merge.pair(output, branch)
        return output

    def cost(self, node: Node) -> Cost:
        if len(node.parts) == 1:
            return node.parts[0].cost  # it is that branch: nothing is merged
        return super().cost(node) + self.merge.cost([part.output for part in node.parts], node.output)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        if len(parts) == 1:
            return parts[0]
        shapes = [part.output for part in node.parts]
        return self.merge.canonical(Clone(len(parts)), parts, shapes, node.inputs, node.output)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        outputs = []
        for part in node.parts:
            outputs.append((yield part, x))  # noqa: PERF401 - a comprehension cannot yield
        return outputs[0] if len(outputs) == 1 else self.merge.emit(outputs, node.output, build)


@register("ladder")
@dataclass(frozen=True)
class Ladder(Combinator):
    """Each part reads the sum of the input and all outputs but the last, so that two parts can work at once.

    r_i = r_(i-1) + y_(i-2), y_i = part_i(r_i); the output is r_n + y_(n-1) + y_n (Zhang et al. 2025).
    """

    keeps_steps: ClassVar[bool] = True

    def shape(self, x: Shape, first: Part, *others: Part, want: Want = None) -> Shape:
        for part in (first, *others):
            if part(x, x) != x:
                raise ShapeError("ladder: its parts must keep {}", x)
        return x

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        return (Operation("ladder", (node.inputs, *map(digest, parts)), node.output),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        waiting: list[str] = []
        for part in node.parts:
            if len(waiting) == 2:
                x = build.line("{} + {}", x, waiting.pop(0), shape=node.output)
            waiting.append((yield part, x))
        for output in waiting:
            x = build.line("{} + {}", x, output, shape=node.output)
        return x


@register("cascade")
@dataclass(frozen=True)
class Cascade(Combinator):
    """Groups of channels, each through its part with the last one's output added; the last group stays as it is.

    y_1 = part(x_1), y_i = part(x_i + y_(i-1)) (Res2Net, Gao et al. 2019); each use of the part has its own weights.
    """

    keeps_steps: ClassVar[bool] = True

    groups: int

    def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
        inner = self._inner(x)
        if part(inner, inner) != inner:
            raise ShapeError("cascade: its part must keep {}", inner)
        return x

    def cost(self, node: Node) -> Cost:
        return node.parts[0].cost * (self.groups - 1)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        axis = 1 if len(node.inputs) == 3 else len(node.inputs)
        inner = self._inner(node.inputs)
        groups = build.lines(f"{{}}.chunk({self.groups}, dim={axis})", x, count=self.groups, shape=inner)
        outputs: list[str] = []
        for group in groups[:-1]:
            start = build.line("{} + {}", group, outputs[-1], shape=inner) if outputs else group
            outputs.append((yield node.parts[0], start))
        listed = ", ".join(["{}"] * self.groups)
        return build.line(f"torch.cat([{listed}], dim={axis})", *outputs, groups[-1], shape=node.output)

    def _inner(self, x: Shape) -> Shape:
        if self.groups < 2 or width(x) % self.groups:
            raise ShapeError("cascade: {} has no {} groups", x, self.groups)
        inner = width(x) // self.groups
        return (inner, *x[1:]) if len(x) == 3 else (*x[:-1], inner)


@register("highway")
@dataclass(frozen=True)
class Highway(Combinator):
    """t part(x) + (1 - t) x, with t = sigmoid(linear(x)) over the last axis (Srivastava et al. 2015)."""

    keeps_steps: ClassVar[bool] = True

    def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
        if part(x, x) != x:
            raise ShapeError("highway: its part must keep {}", x)
        return x

    def cost(self, node: Node) -> Cost:
        d, scalars = node.inputs[-1], size(node.inputs)
        return node.parts[0].cost + Cost(d * d + d, 2 * scalars * d, 4 * scalars, 1)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        d = node.inputs[-1]
        output = yield node.parts[0], x
        module = build.module(f"nn.Linear({d}, {d})", "carry")
        carry = build.line(f"{module}({{}})", x, shape=node.output, keeps="in")
        carry = build.line("torch.sigmoid({})", carry, shape=node.output, keeps="out")
        return build.line("torch.lerp({}, {}, {})", x, output, carry, shape=node.output, keeps="in")


@register("both_ways")
@dataclass(frozen=True)
class BothWays(Combinator):
    """(S, D): one part on the sequence, another of the same structure on the reversed one, put together by a merge."""

    merge: Merge

    @property
    def keeps_steps(self) -> bool:
        return self.merge.keeps_steps

    def shape(self, x: Shape, part: Part, *, want: Want = None) -> Shape:
        if len(x) != 2:
            raise ShapeError("both_ways: {} is not a sequence", x)
        output = part(x)
        if len(output) != 2:
            raise ShapeError("both_ways: {} is not a sequence", output)
        return self.merge.pair(output, output)

    def cost(self, node: Node) -> Cost:
        part = node.parts[0]
        return part.cost * 2 + self.merge.cost((part.output, part.output), node.output)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        part = node.parts[0]
        forwards = yield part, x
        backwards = yield part, flipped(x, build)
        backwards = flipped(backwards, build)
        return self.merge.emit([forwards, backwards], node.output, build)


@register("skip_pool")
@dataclass(frozen=True)
class SkipPool(Skip):
    """A `skip` whose projection has no stride: means of the input's windows go before it (ResNet-D, He et al. 2019)."""

    def projection(self, x: Shape, output: Shape) -> Body:
        stride = -(-x[1] // output[1])
        steps: list[Body] = [AvgPool(stride)] if stride > 1 else []
        return chain(*steps, Convolution(width(output), 1), BatchNorm())
