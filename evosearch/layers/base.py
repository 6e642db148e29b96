"""What a layer states about itself. A new layer is one class in one file that states these things.

A layer is a frozen dataclass. Its *fields* are its arguments as they stand in the sentence: numbers and words read from
terminals, and Words read from parts. Its *parts* are the further parameters of `shape`, in the sentence's order.

    @register("linear")
    @dataclass(frozen=True)
    class Linear(Leaf):
        width: int                                                   # an argument: linear(64)
        def shape(self, x): return (*x[:-1], self.width)             # (..., d) -> (..., width)

    @register("sequential")
    @dataclass(frozen=True)
    class Sequential(Combinator):
        def shape(self, x, first, second, *, want=None):             # two parts: seq(a,b)
            return second(first(x), want)

A shape is a tuple of sizes after the batch axis: (C, H, W) image mode, (S, D) column mode, (D,) vector mode.
One rule serves three readings, because parts are functions from shape to shape: *checking* passes parts that infer,
*sampling* passes parts that draw a derivation that fits, *planning* passes parts that try the shapes they can surely
reach. `want` is the wanted output shape where it is known; None in it stands for any size on that axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from evosearch.errors import ShapeError

if TYPE_CHECKING:
    from evosearch.architecture import Node
    from evosearch.identity import Form
    from evosearch.network import Builder

Shape = tuple[int, ...]
Want = tuple[int | None, ...] | None
Part = Callable[..., Shape]  # part(x) or part(x, want) -> output shape

MODES = {1: "vector", 2: "column", 3: "image"}


def mode(shape: Sequence[int | None]) -> str:
    """The mode of a shape: (D,) vector, (S, D) column, (C, H, W) image."""
    return MODES[len(shape)]


def show(shape: Sequence[int | None]) -> str:
    """A shape as people write it: 3x32x32, with * for any size."""
    return "x".join("*" if size is None else str(size) for size in shape)


def matches(shape: Shape, want: Want) -> bool:
    """Whether a shape is the wanted one; None wants nothing, and on an axis stands for any size."""
    return want is None or (
        len(shape) == len(want) and all(w is None or s == w for s, w in zip(shape, want, strict=True))
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """What an architecture costs for one example.

    params: trainable scalars.
    flops: 2 x multiply-accumulates of linear, convolution and dot-product layers, forward; everything else counts 0
        (as torch's flop_counter; twice the "MACs" of most papers).
    activations: scalars saved for the backward pass, parameters not counted.
    modules: layers built, each copy of a repeated part counted.
    """

    params: int = 0
    flops: int = 0
    activations: int = 0
    modules: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.params + other.params,
            self.flops + other.flops,
            self.activations + other.activations,
            self.modules + other.modules,
        )


class Word:
    """An argument made of words: a split, a merge, a rearrangement. No layer of its own: the combinator uses it."""

    name: ClassVar[str] = ""


class Layer(Protocol):
    """What the engine asks of every layer, leaf or combinator."""

    name: ClassVar[str]

    @property
    def shape(self) -> Callable[..., Shape]:
        """The rule: shape(x, *parts, want=None) -> output shape; raises ShapeError where it cannot hold."""

    def cost(self, node: Node) -> Cost:
        """The cost of the node with its parts, for one example."""

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """The node's canonical form from its parts' forms. Equal forms must mean equal functions."""

    def emit(self, node: Node, x: str, build: Builder) -> str:
        """Write the code that applies the node to variable `x`; returns the expression or variable of its output."""


def size(shape: Shape) -> int:
    """Scalars in one example of this shape."""
    return math.prod(shape)


_registry: dict[str, type] = {}


T = TypeVar("T", bound=type)


def register(name: str) -> Callable[[T], T]:
    """Give a layer (or word) class the name by which grammars call it."""

    def decorate(cls: T) -> T:
        cls.name = name
        _registry[name] = cls
        return cls

    return decorate


__all__ = ["Cost", "Layer", "Part", "Shape", "ShapeError", "Want", "Word", "matches", "mode", "register", "show", "size"]
