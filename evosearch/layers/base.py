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

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, TypeVar

from evosearch.cost import Cost
from evosearch.errors import ShapeError
from evosearch.layers.builder import Builder
from evosearch.layers.forms import Form, Operation, digest, join
from evosearch.layers.names import Named, is_bundled, operation
from evosearch.layers.node import Emission, Layer, Node
from evosearch.layers.shapes import MODES, Part, Shape, Want, matches, mode, show, size, width

if TYPE_CHECKING:
    from types import ModuleType

    from torch import nn

MAX_COPIES = 1000  # of a repeated part, as of a repetition in a grammar

Step = Operation  # the name by which layers of people's own know it


class Word(Named):
    """An argument made of words: a split, a merge, a rearrangement. No layer of its own: the combinator uses it."""


def described(layer: object) -> str:
    """A layer as a grammar's author would name it: `linear 64`, `branching clone 2, add`."""
    return f"{layer.name} {', '.join(map(_spoken, _values(layer)))}".strip()  # type: ignore[attr-defined]


def _spoken(argument: object) -> str:
    if isinstance(argument, tuple):
        return " ".join(map(_spoken, argument))
    return " ".join([argument.name, *map(_spoken, _values(argument))]) if isinstance(argument, Word) else str(argument)


def canonical_argument(argument: object) -> object:
    """An argument as a form holds it: a word by the name that it is registered under and its own arguments."""
    if not isinstance(argument, Word):
        return argument
    return (operation(type(argument)), *map(canonical_argument, _values(argument)))


def _values(of: object) -> tuple[object, ...]:
    """What a word or layer was made with: a dataclass by contract, which a base that is none cannot say to mypy."""
    return tuple(getattr(of, field.name) for field in fields(of) if field.init)  # type: ignore[arg-type]


class _Stated(Named):
    """What leaves and combinators have in common."""

    @property
    def keeps_steps(self) -> bool:
        """Of a column: whether the steps of its output are those of its input, or every so many of them, in their order
        (where its parts keep them). A mask of the one holds for the other then.
        """
        return False

    def title(self, x: Shape) -> str:
        """What drawings call it at input shape `x`, where it is a stem or a head."""
        del x
        return self.name.replace("_", " ")

    def inside(self, x: Shape) -> Node | None:
        """The typed tree that a block stands for at input shape `x`; None for a layer of its own."""
        del x
        return None

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        """False where the rule can't hold for any shape with so many axes (and such an output): spares trying it."""
        del axes, want_axes
        return True

    def arguments(self) -> tuple[object, ...]:
        """The fields' values: what tells two layers of this class apart."""
        return _values(self)

    def trained_with(self) -> Mapping[str, str]:
        """What it says of the training of the network whose root it is: fields of the recipe and their texts."""
        return {}


class Leaf(_Stated, ABC):
    """A layer without parts. A subclass states `shape`, and of the rest what is not as here.

    The least that a layer of your own needs is `shape` and `module`.
    """

    keeps_zero: ClassVar[bool] = False  # whether its output is zero wherever its input is
    vanishes: ClassVar[bool] = False  # whether its output is zero where all its weights are
    scales: ClassVar[bool] = False  # whether half of all its weights gives half of its output
    homogeneous: ClassVar[bool] = False  # whether half of its input gives half of its output
    mixes_channels: ClassVar[bool] = False  # whether its weights have an axis of outputs and then one of all inputs
    channel_copies: ClassVar[int] = 1  # how often its output holds the channels of its input, one block after the other
    saves: ClassVar[str] = "in"  # what backward needs: its input ("in"), its output ("out"), nothing ("")

    @abstractmethod
    def shape(self, x: Shape) -> Shape:
        """The output shape at input shape `x`; raises ShapeError where the layer cannot stand."""

    def before(self, root: Node) -> Leaf:
        """As a stem: what stands before this tree in its place, and gives the same shape."""
        del root
        return self

    def channelwise(self, x: Shape) -> bool:
        """Whether each channel of its output, at input shape `x`, hangs on that channel of its input alone."""
        del x
        return False

    def grows(self, small: Leaf) -> bool:
        """Whether it is `small` but for more channels, or a larger kernel that zeros around the small one's fill."""
        return self == small

    def params(self, x: Shape) -> int:
        """Trainable scalars at input shape `x`; by default counted on `module`, without allocating it."""
        return _module_params(self, x)

    def flops(self, x: Shape) -> int:
        """2 x multiply-accumulates of linear, convolution and dot-product layers, one example."""
        del x
        return 0

    def saved(self, x: Shape) -> int:
        """Scalars saved for the backward pass, one example, parameters not counted."""
        return size(x) if self.saves == "in" else size(self.shape(x)) if self.saves == "out" else 0

    def cost(self, node: Node) -> Cost:
        x = node.inputs
        return Cost(self.params(x), self.flops(x), self.saved(x), 1)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        del parts
        arguments = (*map(canonical_argument, self.arguments()), node.inputs)
        return (Operation(operation(type(self)), arguments, node.output, keeps_zero=self.keeps_zero),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.own(self, x, node.inputs, node.output)

    def module(self, x: Shape) -> nn.Module:
        """The layer at input shape `x` as a torch module (batch first), where there is no code to write for it.

        Not abstract: a layer with an `emit` needs none, and one with neither can be sampled and checked, not built.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither `emit` nor `module`")


class WrittenLeaf(Leaf):
    """A leaf with an `emit`, whose lines alone say what backward needs (`keeps` and `extra` of `Builder.line`)."""

    @abstractmethod
    def emit(self, node: Node, x: str, build: Builder) -> Emission: ...

    def saved(self, x: Shape) -> int:
        return _saved_by_lines(self, x)


class Derived(WrittenLeaf):
    """A leaf that is another one, whose arguments the input's shape decides. A subclass states `at`."""

    stands_for_others: ClassVar[bool] = True

    @abstractmethod
    def at(self, x: Shape) -> Leaf:
        """The layer that this one is at input shape `x`. Raises ShapeError where it is none."""

    def shape(self, x: Shape) -> Shape:
        return self.at(x).shape(x)

    def params(self, x: Shape) -> int:
        return self.at(x).params(x)

    def flops(self, x: Shape) -> int:
        return self.at(x).flops(x)

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        return self.at(node.inputs).canonical(node, parts)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return self.at(node.inputs).emit(node, x, build)


class Combinator(_Stated):
    """A layer whose parts are layers. A subclass states `shape` and `emit`; `canonical` where two can mean the same."""

    def cost(self, node: Node) -> Cost:
        total = node.parts[0].cost
        for part in node.parts[1:]:
            total = total + part.cost
        return total

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        arguments = (*map(canonical_argument, self.arguments()), node.inputs, *map(digest, parts))
        return (Operation(operation(type(self)), arguments, node.output),)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        raise NotImplementedError(f"{type(self).__name__} has no `emit`")


class Series(Combinator):
    """Parts one after the other, however they came to be so many."""

    keeps_steps: ClassVar[bool] = True
    stands_for_others: ClassVar[bool] = True

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        form: Form = ()
        for part in parts:
            form = join(form, part)
        return form

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        for part in node.parts:
            x = yield part, x
        return x


@lru_cache(maxsize=10_000)
def _module_params(layer: Leaf, x: Shape) -> int:
    if type(layer).module is Leaf.module:
        return 0
    import torch

    with torch.device("meta"):
        return sum(p.numel() for p in layer.module(x).parameters() if p.requires_grad)


@lru_cache(maxsize=100_000)
def _saved_by_lines(layer: WrittenLeaf, x: Shape) -> int:
    """What the lines of a layer keep, behind a layer that is trained; a tensor that two lines need counts for both."""
    build = Builder()
    layer.emit(Node(layer, x, layer.shape(x), cost=Cost()), build.start(x, trained=True), build)
    return build.saved()


def larger(layer: Leaf, small: Leaf, names: Iterable[str]) -> bool:
    """For `grows`: whether the layer is `small` but for fields of these names, none of which is smaller."""
    if type(layer) is not type(small) or any(getattr(layer, name) < getattr(small, name) for name in names):
        return False
    return replace(layer, **{name: getattr(small, name) for name in names}) == small  # type: ignore[type-var]


def require(holds: bool, message: str) -> None:
    """For `__post_init__`: raises ValueError where arguments are not what a layer can take."""
    if not holds:
        raise ValueError(message)


T = TypeVar("T", bound=type)


def register(name: str) -> Callable[[T], T]:
    """Give a layer (or word) class the name by which grammars call it, known to the module that the class stands in."""

    def decorate(cls: T) -> T:
        cls.name = name  # type: ignore[attr-defined]
        known = registered(sys.modules[cls.__module__])
        if name in known:
            known[name]._replaced = True  # type: ignore[attr-defined]
        known[name] = cls
        return cls

    return decorate


def registered(module: ModuleType) -> dict[str, type]:
    """The classes that a module registers, by name."""
    found: dict[str, type] = vars(module).setdefault("__layers__", {})
    return found


__all__ = [
    "MAX_COPIES",
    "MODES",
    "Builder",
    "Combinator",
    "Derived",
    "Emission",
    "Form",
    "Layer",
    "Leaf",
    "Node",
    "Operation",
    "Part",
    "Series",
    "Shape",
    "ShapeError",
    "Step",
    "Want",
    "Word",
    "WrittenLeaf",
    "canonical_argument",
    "described",
    "is_bundled",
    "larger",
    "matches",
    "mode",
    "operation",
    "register",
    "registered",
    "require",
    "show",
    "size",
    "width",
]
