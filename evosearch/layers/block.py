"""Blocks: layers that state only what they are made of. Shape, cost, canonical form and code follow from that."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

from evosearch.errors import ShapeError
from evosearch.layers.base import Leaf
from evosearch.layers.canonical import canonical_form
from evosearch.layers.library.combinators import Branching, Chain, Residual
from evosearch.layers.library.routing import Permute, Routing
from evosearch.layers.library.splits import Clone
from evosearch.layers.node import Layer, Node

if TYPE_CHECKING:
    from evosearch.cost import Cost
    from evosearch.layers.builder import Builder
    from evosearch.layers.forms import Form
    from evosearch.layers.library.merges import Merge
    from evosearch.layers.node import Emission
    from evosearch.layers.shapes import Shape, Want


class Composed(NamedTuple):
    """A layer with its parts, as Python writes it; a layer without parts may stand for itself."""

    layer: Layer
    parts: tuple[Body, ...] = ()


Body: TypeAlias = "Layer | Composed"


def chain(*parts: Body) -> Composed:
    """One after the other."""
    return Composed(Chain(), parts)


def residual(*parts: Body) -> Composed:
    """The input added to what the parts, one after the other, make of it."""
    return Composed(Residual(), (chain(*parts),))


def both(merge: Merge, left: Body, right: Body) -> Composed:
    """Two branches of the whole input, merged."""
    return Composed(Branching(Clone(2), merge), (left, right))


def swapped(*parts: Body) -> Composed:
    """(S, D): the parts work along S, as if the features were the sequence."""
    return Composed(Routing(Permute("21"), Permute("21")), (chain(*parts),))


def tree(body: Body, x: Shape) -> Node:
    """The typed tree of a body at an input shape; raises ShapeError."""
    layer, parts = body if isinstance(body, Composed) else (body, ())
    calls: list[Node] = []
    slots: list[int] = []

    def reading(index: int, part: Body) -> Callable[..., Shape]:
        def call(x: Shape, want: Want = None) -> Shape:
            del want  # what is there is read, whatever was wanted
            calls.append(tree(part, x))
            slots.append(index)
            return calls[-1].output

        return call

    output = layer.shape(x, *[reading(index, part) for index, part in enumerate(parts)])
    return Node(layer, x, output, tuple(calls), tuple(slots))


def _after(body: Body, x: Shape) -> Shape:
    """The output shape of a body."""
    layer, parts = body if isinstance(body, Composed) else (body, ())

    def reading(part: Body) -> Callable[..., Shape]:
        return lambda x, *_: _after(part, x)  # what is there is read, whatever was wanted

    return layer.shape(x, *[reading(part) for part in parts])


class Block(Leaf):
    """A layer made of layers. A subclass states `body`, and nothing else.

    It is drawn as a whole: what it is made of changes by its arguments. Written out with the layers of its body, a
    network has the same key.
    """

    stands_for_others: ClassVar[bool] = True

    @abstractmethod
    def body(self, x: Shape) -> Body:
        """What it is made of at input shape `x`; raises ShapeError or ValueError where that cannot be said."""

    def at(self, x: Shape) -> Node:
        """The typed tree of its body at input shape `x`; raises ShapeError, which names the block."""
        return _expanded(self, x)

    def inside(self, x: Shape) -> Node:
        return self.at(x)

    def shape(self, x: Shape) -> Shape:
        return _output(self, x)

    def params(self, x: Shape) -> int:
        return self.at(x).cost.params

    def flops(self, x: Shape) -> int:
        return self.at(x).cost.flops

    def saved(self, x: Shape) -> int:
        return self.at(x).cost.activations

    def cost(self, node: Node) -> Cost:
        return self.at(node.inputs).cost

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        del parts
        return canonical_form(self.at(node.inputs))

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return (yield self.at(node.inputs), x)


@lru_cache(maxsize=20_000)
def _expanded(block: Block, x: Shape) -> Node:
    try:
        return tree(block.body(x), x)
    except (ShapeError, ValueError) as error:  # a ValueError: what follows from this input is no argument of a layer
        raise ShapeError("{}: {}", block.name, error) from None


@lru_cache(maxsize=100_000)
def _output(block: Block, x: Shape) -> Shape:
    """The output shape alone: the sampler asks for many more of them than of trees."""
    try:
        return _after(block.body(x), x)
    except (ShapeError, ValueError) as error:  # a ValueError: what follows from this input is no argument of a layer
        raise ShapeError("{}: {}", block.name, error) from None
