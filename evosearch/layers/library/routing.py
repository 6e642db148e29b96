"""Routing: a rearrangement, a module, a rearrangement. im2col and col2im around a linear layer are a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from evosearch.cost import Cost
from evosearch.layers.base import (
    Combinator,
    Form,
    Operation,
    Part,
    Shape,
    ShapeError,
    Want,
    Word,
    canonical_argument,
    operation,
    register,
    require,
    size,
)
from evosearch.layers.forms import join
from evosearch.layers.library.linear import Linear, LinearRelative
from evosearch.layers.library.masked import mask_of, zero_behind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

Grid = tuple[int, int] | None  # rows and columns of windows that the routing's own im2col made


class Before(Word):
    """A rearrangement before the module. takes: the number of axes of the shapes it fits, None for any."""

    takes: ClassVar[int | None] = None

    def enter(self, x: Shape) -> tuple[Shape, Grid]:
        """The shape after it, and the grid where it makes one; raises ShapeError where it does not fit."""
        raise NotImplementedError

    def form(self, output: Shape) -> Form:
        """What it computes, as a canonical form; by default one operation that names it."""
        return (Operation(operation(type(self)), (canonical_argument(self),), output),)

    def write(self, x: str, output: Shape, build: Builder) -> str:
        raise NotImplementedError


class After(Word):
    """A rearrangement after the module. gives: the number of axes of the shapes it makes, None for any."""

    gives: ClassVar[int | None] = None

    def leave(self, x: Shape, grid: Grid) -> Shape:
        """The shape after it; raises ShapeError where it does not fit."""
        raise NotImplementedError

    def back(self, want: Want, grid: Grid) -> Want:
        """What the module should put out so that `want` comes out here; raises ShapeError where nothing would."""
        raise NotImplementedError

    def form(self, output: Shape) -> Form:
        """What it computes, as a canonical form; by default one operation that names it."""
        return (Operation(operation(type(self)), (canonical_argument(self),), output),)

    def write(self, x: str, output: Shape, build: Builder) -> str:
        raise NotImplementedError


@register("keep")
@dataclass(frozen=True)
class Keep(Before, After):
    """No rearrangement."""

    def enter(self, x: Shape) -> tuple[Shape, Grid]:
        return x, None

    def leave(self, x: Shape, grid: Grid) -> Shape:
        return x

    def back(self, want: Want, grid: Grid) -> Want:
        return want

    def form(self, output: Shape) -> Form:
        return ()

    def write(self, x: str, output: Shape, build: Builder) -> str:
        return x


@register("permute")
@dataclass(frozen=True)
class Permute(Before, After):
    """permute231: (C H W) -> (H W C). order: the input's dimensions in the output's order, counted from 1."""

    order: str

    def __post_init__(self) -> None:
        require(sorted(self.order) in (["1", "2"], ["1", "2", "3"]), f"{self.order} is no order of dimensions 1 to 3")

    @property
    def takes(self) -> int:  # type: ignore[override]
        return len(self.order)

    gives = takes

    @cached_property
    def axes(self) -> tuple[int, ...]:
        return tuple(int(digit) - 1 for digit in self.order)

    def enter(self, x: Shape) -> tuple[Shape, Grid]:
        return self.leave(x, None), None

    def leave(self, x: Shape, grid: Grid) -> Shape:
        axes = self.axes
        if len(x) != len(axes):
            raise ShapeError("permute{}: {} has {} dimensions", self.order, x, len(x))
        return tuple([x[axis] for axis in axes])

    def back(self, want: Want, grid: Grid) -> Want:
        if want is None:
            return None
        axes = self.axes
        if len(want) != len(axes):
            raise ShapeError("permute{}: its output is never {}", self.order, want)
        before: list[int | None] = [None] * len(axes)
        for axis, wanted in zip(axes, want, strict=True):
            before[axis] = wanted
        return tuple(before)

    def form(self, output: Shape) -> Form:
        return (Permutation(self.axes, output),)

    def write(self, x: str, output: Shape, build: Builder) -> str:
        dims = ", ".join(str(axis + 1) for axis in self.axes)
        return build.line(f"{{}}.permute(0, {dims})", x, shape=output, view=True)


class Permutation(Operation):
    """A permutation of the dimensions; two in a row are one, or none at all."""

    __slots__ = ("axes",)

    def __init__(self, axes: tuple[int, ...], output: Shape) -> None:
        self.axes = axes
        super().__init__("permute", axes, output, keeps_zero=True)

    def after(self, previous: Operation) -> Form | None:
        if isinstance(previous, Permutation):
            axes = tuple([previous.axes[axis] for axis in self.axes])
            return () if axes == tuple(range(len(axes))) else (Permutation(axes, self.output),)
        return super().after(previous)


IM2COL = '''
def im2col(x, kernel, stride, padding, gpu=torch.cuda.is_available()):
    """Windows of an image as columns: (N, C, H, W) -> (N, oh * ow, C * kernel * kernel)."""
    if kernel > stride and not gpu:  # F.unfold is quicker on CPU; on CUDA it copies one example at a time
        return F.unfold(x, kernel, padding=padding, stride=stride).transpose(1, 2)
    if padding:
        x = F.pad(x, (padding, padding, padding, padding))
    x = x.unfold(2, kernel, stride).unfold(3, kernel, stride)
    return x.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
'''


@register("im2col")
@dataclass(frozen=True)
class Im2col(Before):
    """Windows of an image as columns: (C H W) -> (oh ow, C k k), its grid oh x ow."""

    takes = 3
    kernel: int
    stride: int
    padding: int

    def __post_init__(self) -> None:
        require(self.kernel >= 1, f"the kernel is at least 1, not {self.kernel}")
        require(self.stride >= 1, f"the stride is at least 1, not {self.stride}")
        require(self.padding >= 0, f"the padding is not negative, as {self.padding} is")

    def enter(self, x: Shape) -> tuple[Shape, Grid]:
        if len(x) != 3:
            raise ShapeError("im2col: {} is not an image", x)
        kernel, stride, padding = self.kernel, self.stride, 2 * self.padding
        channels, height, width = x
        rows, columns = (height + padding - kernel) // stride + 1, (width + padding - kernel) // stride + 1
        if rows < 1 or columns < 1:
            raise ShapeError("im2col: {} is smaller than a window of {}", x, kernel)
        return (rows * columns, channels * kernel * kernel), (rows, columns)

    def form(self, output: Shape) -> Form:
        return (Operation("im2col", (self.kernel, self.stride, self.padding), output, keeps_zero=True),)

    def write(self, x: str, output: Shape, build: Builder) -> str:
        build.helper(IM2COL)
        call = f"im2col({{}}, {self.kernel}, stride={self.stride}, padding={self.padding})"
        return build.line(call, x, shape=output)


WINDOWS = '''
def windows(x, kernel, stride, padding):
    """Windows of a sequence as wider columns: (N, S, D) -> (N, S', D * kernel)."""
    return F.pad(x, (0, 0, padding, padding)).unfold(1, kernel, stride).flatten(2)
'''


@register("windows")
@dataclass(frozen=True)
class Windows(Before):
    """Windows of a sequence as wider columns: (S D) -> (S', D k)."""

    takes = 2
    kernel: int
    stride: int
    padding: int

    def __post_init__(self) -> None:
        require(self.kernel >= 1, f"the kernel is at least 1, not {self.kernel}")
        require(self.stride >= 1, f"the stride is at least 1, not {self.stride}")
        require(self.padding >= 0, f"the padding is not negative, as {self.padding} is")

    def enter(self, x: Shape) -> tuple[Shape, Grid]:
        if len(x) != 2:
            raise ShapeError("windows: {} is not a sequence", x)
        steps = (x[0] + 2 * self.padding - self.kernel) // self.stride + 1
        if steps < 1:
            raise ShapeError("windows: {} is shorter than a window of {}", x, self.kernel)
        return (steps, x[1] * self.kernel), None

    def form(self, output: Shape) -> Form:
        return (Operation("windows", (self.kernel, self.stride, self.padding), output, keeps_zero=True),)

    def write(self, x: str, output: Shape, build: Builder) -> str:
        build.helper(WINDOWS)
        if mask := mask_of(x, build):
            x = zero_behind(x, mask, build)
        call = f"windows({{}}, {self.kernel}, stride={self.stride}, padding={self.padding})"
        return build.line(call, x, shape=output, stride=self.stride)


@register("col2im")
@dataclass(frozen=True)
class Col2im(After):
    """Columns back on the grid of the routing's own im2col: (oh ow, D) -> (D, oh, ow)."""

    gives = 3

    def leave(self, x: Shape, grid: Grid) -> Shape:
        if grid is None:
            raise ShapeError("col2im: its routing has no im2col")
        rows, columns = grid
        if len(x) != 2 or x[0] != rows * columns:
            raise ShapeError("col2im: {} is not {} columns", x, rows * columns)
        return (x[1], rows, columns)

    def back(self, want: Want, grid: Grid) -> Want:
        if grid is None:
            raise ShapeError("col2im: its routing has no im2col")
        rows, columns = grid
        if want is None:
            return (rows * columns, None)
        if len(want) != 3 or want[1] not in (None, rows) or want[2] not in (None, columns):
            raise ShapeError("col2im: its output on {} is never {}", grid, want)
        return (rows * columns, want[0])

    def form(self, output: Shape) -> Form:
        return (Operation("col2im", (), output, keeps_zero=True),)

    def write(self, x: str, output: Shape, build: Builder) -> str:
        _, rows, columns = output
        code = f"{{}}.transpose(1, 2).unflatten(2, ({rows}, {columns}))"
        return build.line(code, x, shape=output, view=True)


@register("routing")
@dataclass(frozen=True)
class Routing(Combinator):
    """pre, module, post: `post` sees the grid of `pre`. im2col, linear, col2im costs and is built as a convolution."""

    pre: Before
    post: After

    @property
    def keeps_steps(self) -> bool:
        return isinstance(self.pre, Keep | Windows) and isinstance(self.post, Keep)

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        if isinstance(self.post, Col2im) and not isinstance(self.pre, Im2col):
            return False
        takes, gives = self.pre.takes, self.post.gives
        return takes in (None, axes) and (gives is None or want_axes in (None, gives))

    def shape(self, x: Shape, body: Part, *, want: Want = None) -> Shape:
        inner, grid = self.pre.enter(x)
        return self.post.leave(body(inner, self.post.back(want, grid)), grid)

    def _is_convolution(self, node: Node) -> bool:
        inner = node.parts[0].layer
        return type(self.pre) is Im2col and type(self.post) is Col2im and type(inner) in (Linear, LinearRelative)

    def cost(self, node: Node) -> Cost:
        cost = node.parts[0].cost
        if self._is_convolution(node):  # backward needs the image, not its windows
            return Cost(cost.params, cost.flops, size(node.inputs), cost.modules)
        return cost

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        return join(join(self.pre.form(node.parts[0].inputs), parts[0]), self.post.form(node.output))

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        body = node.parts[0]
        if self._is_convolution(node):
            assert isinstance(self.pre, Im2col)
            channels, width = node.inputs[0], node.output[0]
            settings = f"{self.pre.kernel}, stride={self.pre.stride}, padding={self.pre.padding}"
            module = build.module(f"nn.Conv2d({channels}, {width}, {settings})", "conv")
            return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")
        return self._emit_parts(node, body, x, build)

    def _emit_parts(self, node: Node, body: Node, x: str, build: Builder) -> Emission:
        x = self.pre.write(x, body.inputs, build)
        x = yield body, x
        return self.post.write(x, node.output, build)
