"""Recurrent layers over a column, step by step from its first row to its last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require
from evosearch.layers.library.reshapes import column

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node


class Recurrent(WrittenLeaf):
    """(S, D) -> (S, width): torch's own layer, the state after each row."""

    keeps_steps: ClassVar[bool] = True
    kind: ClassVar[str]
    gates: ClassVar[int]
    kept: ClassVar[int]  # numbers of width that backward needs at each step
    width: int

    def __post_init__(self) -> None:
        require(self.width >= 1, f"the width is at least 1, not {self.width}")

    def shape(self, x: Shape) -> Shape:
        return (column(self, x)[0], self.width)

    def params(self, x: Shape) -> int:
        return self.gates * (x[1] * self.width + self.width**2 + 2 * self.width)

    def flops(self, x: Shape) -> int:
        return 2 * x[0] * self.gates * (x[1] * self.width + self.width**2)

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        code = f"nn.{self.kind}({node.inputs[1]}, {self.width}, batch_first=True)"
        module = build.module(code, self.kind.lower())
        extra = node.inputs[0] * self.width * self.kept
        return build.line(f"{module}({{}})[0]", x, shape=node.output, keeps="in", extra=extra)


@register("rnn")
@dataclass(frozen=True)
class RNN(Recurrent):
    """h' = tanh(W x + R h) (Elman 1990)."""

    width: int
    kind: ClassVar[str] = "RNN"
    gates: ClassVar[int] = 1
    kept: ClassVar[int] = 2


@register("gru")
@dataclass(frozen=True)
class GRU(Recurrent):
    """Two gates (Cho et al. 2014)."""

    width: int
    kind: ClassVar[str] = "GRU"
    gates: ClassVar[int] = 3
    kept: ClassVar[int] = 6


@register("lstm")
@dataclass(frozen=True)
class LSTM(Recurrent):
    """Three gates and a cell (Hochreiter and Schmidhuber 1997)."""

    width: int
    kind: ClassVar[str] = "LSTM"
    gates: ClassVar[int] = 4
    kept: ClassVar[int] = 7


DIAGONAL = '''
def diagonal_gates(x, weight, bias):
    """(N, S, D) through a block-diagonal layer for each gate: (gates, N, S, D). weight: (gates, heads, D/h, D/h)."""
    x = torch.einsum("nshi,ghio->gnsho", x.unflatten(2, (weight.shape[1], -1)), weight)
    return x.flatten(3) + bias[:, None, None]
'''

DIAGONAL_GRU = '''
def diagonal_gru(x, weight, state, bias, steps):
    """h' = z tanh(a3 h r + c) + (1 - z) h, with gates that see the state through a diagonal. state: (3, D)."""
    z, r, c = diagonal_gates(x, weight, bias)
    h, states = torch.zeros_like(z[:, 0]), []
    for step in range(steps):
        open_ = torch.sigmoid(z[:, step] + state[0] * h)
        kept = torch.sigmoid(r[:, step] + state[1] * h)
        h = torch.lerp(h, torch.tanh(c[:, step] + state[2] * h * kept), open_)
        states.append(h)
    return torch.stack(states, 1)
'''

DIAGONAL_LSTM = '''
def diagonal_lstm(x, weight, state, peep, bias, steps):
    """f = sigmoid(.), c' = f c + (1 - f) tanh(.), h' = sigmoid(. + peep c') tanh(c'); state: (3, D), peep: (2, D)."""
    f, g, o = diagonal_gates(x, weight, bias)
    h, cell, states = torch.zeros_like(f[:, 0]), torch.zeros_like(f[:, 0]), []
    for step in range(steps):
        forget = torch.sigmoid(f[:, step] + state[0] * h + peep[0] * cell)
        cell = torch.lerp(torch.tanh(g[:, step] + state[1] * h), cell, forget)
        h = torch.sigmoid(o[:, step] + state[2] * h + peep[1] * cell) * torch.tanh(cell)
        states.append(h)
    return torch.stack(states, 1)
'''


class Diagonal(WrittenLeaf):
    """(S, D) -> same: three gates, block-diagonal in the input, diagonal in the state (ParaRNN, 2025)."""

    keeps_steps: ClassVar[bool] = True
    extra_rows: ClassVar[int] = 0
    kept: ClassVar[int]
    heads: int

    def __post_init__(self) -> None:
        require(self.heads >= 1, f"at least 1 head, not {self.heads}")

    def shape(self, x: Shape) -> Shape:
        if column(self, x)[1] % self.heads:
            raise ShapeError("{}: the width of {} does not divide by {} heads", self.name, x, self.heads)
        return x

    def params(self, x: Shape) -> int:
        d = x[1]
        return (6 + self.extra_rows) * d + 3 * d * d // self.heads

    def flops(self, x: Shape) -> int:
        return 6 * x[0] * x[1] ** 2 // self.heads

    def _parameters(self, node: Node, build: Builder) -> tuple[str, str, str]:
        d, heads = node.inputs[1], self.heads
        build.helper(DIAGONAL)
        inner = d // heads
        weight = build.module(f"nn.Parameter(torch.randn(3, {heads}, {inner}, {inner}) * {inner} ** -0.5)", "weight")
        state = build.module(f"nn.Parameter(torch.randn(3, {d}) * 0.5)", "state")
        bias = build.module(f"nn.Parameter(torch.zeros(3, {d}))", "bias")
        return weight, state, bias


@register("gru_diag")
@dataclass(frozen=True)
class DiagonalGRU(Diagonal):
    """A GRU whose state reads itself channel by channel."""

    heads: int = 4
    kept: ClassVar[int] = 9

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        weight, state, bias = self._parameters(node, build)
        build.helper(DIAGONAL_GRU)
        extra = self.kept * node.inputs[0] * node.inputs[1]
        code = f"diagonal_gru({{}}, {weight}, {state}, {bias}, {node.inputs[0]})"
        return build.line(code, x, shape=node.output, keeps="in", extra=extra)


@register("lstm_diag")
@dataclass(frozen=True)
class DiagonalLSTM(Diagonal):
    """The forget gate is one minus the input gate; the cell is seen by two gates."""

    heads: int = 4
    extra_rows: ClassVar[int] = 2
    kept: ClassVar[int] = 11

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        weight, state, bias = self._parameters(node, build)
        build.helper(DIAGONAL_LSTM)
        peep = build.module(f"nn.Parameter(torch.zeros(2, {node.inputs[1]}))", "peep")
        extra = self.kept * node.inputs[0] * node.inputs[1]
        code = f"diagonal_lstm({{}}, {weight}, {state}, {peep}, {bias}, {node.inputs[0]})"
        return build.line(code, x, shape=node.output, keeps="in", extra=extra)


SCAN = '''
def selective_scan(x, steps, a, b, c, skip, length):
    """h' = exp(steps a) h + steps b x, y = c h + skip x. x, steps: (N, S, E); a: (E, K); b, c: (N, S, K)."""
    h, outputs = x.new_zeros(x.shape[0], x.shape[2], a.shape[1]), []
    for t in range(length):
        h = torch.exp(steps[:, t, :, None] * a) * h + (steps[:, t] * x[:, t])[..., None] * b[:, t, None]
        outputs.append((h * c[:, t, None]).sum(2))
    return torch.stack(outputs, 1) + skip * x
'''


@register("selective_scan")
@dataclass(frozen=True)
class SelectiveScan(WrittenLeaf):
    """(S, D) -> same: Mamba's layer, a diagonal state space whose steps the input chooses (Gu and Dao 2023).

    state: numbers that each inner feature remembers. expand: inner features, times D. kernel: of the convolution.
    """

    keeps_steps: ClassVar[bool] = True

    state: int = 16
    expand: int = 2
    kernel: int = 4

    def __post_init__(self) -> None:
        require(min(self.state, self.expand, self.kernel) >= 1, "state, expand and kernel are at least 1")

    def shape(self, x: Shape) -> Shape:
        return column(self, x)

    def _sizes(self, x: Shape) -> tuple[int, int, int]:
        return x[1], self.expand * x[1], -(-x[1] // 16)

    def params(self, x: Shape) -> int:
        (d, e, r), n, k = self._sizes(x), self.state, self.kernel
        return 2 * d * e + e * k + e + e * (r + 2 * n) + r * e + e + e * n + e + e * d

    def flops(self, x: Shape) -> int:
        (d, e, r), n = self._sizes(x), self.state
        return 2 * x[0] * (3 * d * e + e * (r + 2 * n) + r * e) + 2 * self.kernel * x[0] * e

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        s, n, k = node.inputs[0], self.state, self.kernel
        d, e, r = self._sizes(node.inputs)
        build.helper(SCAN)
        enter = build.module(f"nn.Linear({d}, {2 * e}, bias=False)", "enter")
        conv = build.module(f"nn.Conv1d({e}, {e}, {k}, groups={e})", "conv")
        choose = build.module(f"nn.Linear({e}, {r + 2 * n}, bias=False)", "choose")
        step = build.module(f"nn.Linear({r}, {e})", "step")
        decay = build.module(f"nn.Parameter(torch.arange(1.0, {n + 1}).log().repeat({e}, 1))", "decay")
        skip = build.module(f"nn.Parameter(torch.ones({e}))", "skip")
        leave = build.module(f"nn.Linear({e}, {d}, bias=False)", "leave")
        both = build.line(f"{enter}({{}})", x, shape=(s, 2 * e), keeps="in")
        x, gate = build.lines("{}.chunk(2, dim=2)", both, count=2, shape=(s, e))
        x = build.line(
            f"{conv}(F.pad({{}}.transpose(1, 2), ({k - 1}, 0))).transpose(1, 2)", x, shape=(s, e), extra=s * e
        )
        x = build.line("F.silu({})", x, shape=(s, e), keeps="in")
        chosen = build.line(f"{choose}({{}})", x, shape=(s, r + 2 * n), keeps="in")
        steps = build.line(f"F.softplus({step}({{}}[..., :{r}]))", chosen, shape=(s, e), extra=s * (r + e))
        b, c = f"{{2}}[..., {r}:{r + n}]", f"{{2}}[..., {r + n}:]"
        scanned = f"selective_scan({{0}}, {{1}}, -torch.exp({decay}), {b}, {c}, {skip}, {s})"
        extra = 5 * s * e * n + 6 * s * e
        x = build.line(scanned, x, steps, chosen, shape=(s, e), extra=extra)
        x = build.line("{} * F.silu({})", x, gate, shape=(s, e), extra=3 * s * e)
        return build.line(f"{leave}({{}})", x, shape=node.output, keeps="in")
