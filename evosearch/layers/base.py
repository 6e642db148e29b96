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
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from evosearch.cost import Cost
from evosearch.errors import ShapeError
from evosearch.layers.forms import Form, Step, digest

if TYPE_CHECKING:
    from torch import nn

    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

    Emission = str | Generator[tuple[Node, str], str, str]  # what `emit` returns

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


class Word:
    """An argument made of words: a split, a merge, a rearrangement. No layer of its own: the combinator uses it."""

    name: ClassVar[str] = ""


def told(argument: object) -> object:
    """An argument as a form holds it: a word by the name that it is registered under and its own arguments."""
    if not isinstance(argument, Word):
        return argument
    return (argument.name, *map(told, _values(argument)))


def _values(of: object) -> tuple[object, ...]:
    """The fields of a word or layer. Each is a dataclass by contract, which a base that is none cannot say to mypy."""
    return tuple(getattr(of, field.name) for field in fields(of))  # type: ignore[arg-type]


class Layer(Protocol):
    """What the engine asks of every layer, leaf or combinator."""

    name: ClassVar[str]

    def title(self, x: Shape) -> str:
        """What drawings call it at input shape `x`, where it is a stem or a head."""

    @property
    def shape(self) -> Callable[..., Shape]:
        """The rule: shape(x, *parts, want=None) -> output shape; raises ShapeError where it cannot hold."""

    def cost(self, node: Node) -> Cost:
        """The cost of the node with its parts, for one example."""

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """The node's canonical form from its parts' forms. Equal forms must mean equal functions."""

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        """Write the code that applies the node to variable `x`; returns the variable of its output.

        A combinator's is a generator: it yields (part, variable) and is sent the variable of the part's output, so
        that trees thousands deep are written without recursion.
        """


class _Titled:
    name: ClassVar[str] = ""

    def title(self, x: Shape) -> str:
        """What drawings call it at input shape `x`, where it is a stem or a head."""
        del x
        return self.name.replace("_", " ")


class Leaf(_Titled, ABC):
    """A layer without parts. A subclass states `shape`, and of the rest what is not as here.

    The least that a layer of your own needs is `shape` and `module`.
    """

    keeps_zero: ClassVar[bool] = False  # whether its output is zero wherever its input is
    saves: ClassVar[str] = "in"  # what backward needs: its input ("in"), its output ("out"), nothing ("")

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        """False where the rule can't hold for any shape with so many axes (and such an output): spares trying it."""
        del axes, want_axes
        return True

    @abstractmethod
    def shape(self, x: Shape) -> Shape:
        """The output shape at input shape `x`; raises ShapeError where the layer cannot stand."""

    def params(self, x: Shape) -> int:
        """Trainable scalars at input shape `x`; by default counted on `module`, without allocating it."""
        return _module_params(self, x)

    def flops(self, x: Shape) -> int:
        """2 x multiply-accumulates of linear, convolution and dot-product layers, one example."""
        del x
        return 0

    def saved(self, x: Shape) -> int:
        """Scalars saved for the backward pass, one example, parameters not counted."""
        return math.prod(x) if self.saves == "in" else math.prod(self.shape(x)) if self.saves == "out" else 0

    def cost(self, node: Node) -> Cost:
        x = node.inputs
        return Cost(self.params(x), self.flops(x), self.saved(x), 1)

    def arguments(self) -> tuple[object, ...]:
        """The fields' values: what tells two layers of this class apart."""
        return _values(self)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        del parts
        arguments = (*map(told, self.arguments()), node.inputs)
        return (Step(self.name, arguments, node.output, keeps_zero=self.keeps_zero),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.own(self, node, x)

    def module(self, x: Shape) -> nn.Module:
        """The layer at input shape `x` as a torch module (batch first), where there is no code to write for it.

        Not abstract: a layer with an `emit` needs none, and one with neither can be sampled and checked, not built.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither `emit` nor `module`")


class Combinator(_Titled):
    """A layer whose parts are layers. A subclass states `shape` and `emit`; `canonical` where two can mean the same."""

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        """False where the rule can't hold for any shape with so many axes (and such an output): spares trying it."""
        del axes, want_axes
        return True

    def cost(self, node: Node) -> Cost:
        total = node.parts[0].cost
        for part in node.parts[1:]:
            total = total + part.cost
        return total

    def arguments(self) -> tuple[object, ...]:
        return _values(self)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        arguments = (*map(told, self.arguments()), node.inputs, *map(digest, parts))
        return (Step(self.name, arguments, node.output),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        raise NotImplementedError(f"{type(self).__name__} has no `emit`")


@lru_cache(maxsize=10_000)
def _module_params(layer: Leaf, x: Shape) -> int:
    if type(layer).module is Leaf.module:
        return 0
    import torch

    with torch.device("meta"):
        return sum(p.numel() for p in layer.module(x).parameters() if p.requires_grad)


MAX_COPIES = 1000  # of a repeated part, as of a repetition in a grammar


def require(holds: bool, message: str) -> None:
    """For `__post_init__`: raises ValueError where arguments are not what a layer can take."""
    if not holds:
        raise ValueError(message)


def size(shape: Shape) -> int:
    """Scalars in one example of this shape."""
    return math.prod(shape)


_registry: dict[str, type] = {}


T = TypeVar("T", bound=type)


def register(name: str) -> Callable[[T], T]:
    """Give a layer (or word) class the name by which grammars call it."""

    def decorate(cls: T) -> T:
        cls.name = name  # type: ignore[attr-defined]
        _registry[name] = cls
        return cls

    return decorate


__all__ = [
    "Combinator",
    "Form",
    "Layer",
    "Leaf",
    "Part",
    "Shape",
    "ShapeError",
    "Step",
    "Want",
    "Word",
    "matches",
    "mode",
    "register",
    "require",
    "show",
    "size",
]
