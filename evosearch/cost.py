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
    spared_bits: bits of weights that number formats and sparsity leave out, of 32 for each.
    spared_bitops: bit operations that they leave out, of 32 x 32 for each multiply-accumulate.
    """

    params: int = 0
    flops: int = 0
    activations: int = 0
    modules: int = 0
    spared_bits: int = 0
    spared_bitops: int = 0

    @property
    def bytes(self) -> int:
        """What the weights take where they are stored, each in its format."""
        return -(-(FULL * self.params - self.spared_bits) // 8)

    @property
    def bitops(self) -> int:
        """Multiply-accumulates of one example, each times the bits of its weight and of its input."""
        return self.flops // 2 * FULL * FULL - self.spared_bitops

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.params + other.params,
            self.flops + other.flops,
            self.activations + other.activations,
            self.modules + other.modules,
            self.spared_bits + other.spared_bits,
            self.spared_bitops + other.spared_bitops,
        )

    def __mul__(self, copies: int) -> Cost:
        return Cost(
            self.params * copies,
            self.flops * copies,
            self.activations * copies,
            self.modules * copies,
            self.spared_bits * copies,
            self.spared_bitops * copies,
        )

    def pack(self) -> dict[str, int]:
        """As plain values for msgpack and JSON; what is spared is left out where it is nothing, as it once was."""
        spared = {"spared_bits": self.spared_bits, "spared_bitops": self.spared_bitops}
        return {name: getattr(self, name) for name in COUNTED} | {name: bits for name, bits in spared.items() if bits}


FULL = 32  # bits of a number where nothing says otherwise
COUNTED = tuple(  # what a score's cost says, and not its objectives
    field.name for field in fields(Cost) if not field.name.startswith("spared")
)
