"""What the engine asks of a layer, and one use of a layer in a typed tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from evosearch.layers.shapes import Shape, show

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from evosearch.cost import Cost
    from evosearch.grammar.core import Derivation
    from evosearch.layers.builder import Builder
    from evosearch.layers.forms import Form

Emission: TypeAlias = "str | Generator[tuple[Node, str], str, str]"  # what `emit` returns


class Layer(Protocol):
    """What the engine asks of every layer, leaf or combinator."""

    name: ClassVar[str]

    @property
    def keeps_steps(self) -> bool:
        """Of a column, whether its output's steps are its input's, or every so many of them, in their order."""

    def title(self, x: Shape) -> str:
        """What drawings call it at input shape `x`, where it is a stem or a head."""

    def inside(self, x: Shape) -> Node | None:
        """The typed tree that a block stands for at input shape `x`; None for a layer of its own."""

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        """False where the rule can't hold for any shape with so many axes (and such an output): spares trying it."""

    def trained_with(self) -> Mapping[str, str]:
        """What it says of the training of the network whose root it is: fields of the recipe and their texts."""

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


class Node:
    """One use of a layer: its input and output shapes, its parts in the order they are called, what it all costs.

    A part that a layer calls twice at one shape is the same Node twice. slots: for each call, which part it was.
    form: the canonical one, once it is known: offspring share most of their nodes with their parents.
    """

    __slots__ = ("cost", "derivation", "form", "inputs", "layer", "output", "parts", "slots")

    layer: Layer
    inputs: Shape
    output: Shape
    parts: tuple[Node, ...]
    slots: tuple[int, ...]
    derivation: Derivation
    cost: Cost
    form: Form | None

    def __init__(
        self,
        layer: Layer,
        inputs: Shape,
        output: Shape,
        parts: tuple[Node, ...] = (),
        slots: tuple[int, ...] = (),
        derivation: Derivation | None = None,
        cost: Cost | None = None,
    ) -> None:
        self.layer, self.inputs, self.output, self.parts, self.slots = layer, inputs, output, parts, slots
        if derivation is not None:
            self.derivation = derivation
        self.form = None
        self.cost = layer.cost(self) if cost is None else cost

    def __repr__(self) -> str:
        return f"<Node {self.layer.name} {show(self.inputs)} -> {show(self.output)}>"
