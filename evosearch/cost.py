"""What an architecture costs: counted from its description, before anything is built."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Cost:
    """What an architecture costs for one example.

    params: trainable scalars.
    flops: 2 x multiply-accumulates of linear, convolution and dot-product layers, forward; everything else counts 0
        (as torch's flop_counter; twice the "MACs" of most papers).
    activations: scalars saved for the backward pass, parameters not counted. Every layer is counted as if a trained
        one came before it; where none does, torch saves less.
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

    def __mul__(self, copies: int) -> Cost:
        return Cost(self.params * copies, self.flops * copies, self.activations * copies, self.modules * copies)


COUNTED = frozenset(field.name for field in fields(Cost))  # what a score's cost says, and not its objectives
