"""Gated linear attention: a memory of outer products that forgets by gates, read by queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf, register, require
from evosearch.layers.library.reshapes import column

if TYPE_CHECKING:
    from evosearch.layers.base import Emission
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

CHUNK = 16  # rows that are worked on at once

RECURRENCE = f'''
def gated_recurrence(q, k, v, decay, length):
    """o_t = q_t s_t with s_t = diag(exp decay_t) s_(t-1) + k_t^T v_t, in chunks of rows; all (N, heads, S, width).

    Within a chunk from pairs of rows, between chunks through the memory. decay: logarithms, at most 0.
    """
    state, outputs = None, []
    for at in range(0, length, {CHUNK}):
        rows = slice(at, min(at + {CHUNK}, length))
        q_, k_, v_, total = q[:, :, rows], k[:, :, rows], v[:, :, rows], decay[:, :, rows].cumsum(2)
        # exp(total_t - total_r) for r <= t, pair by pair: neither factor alone stays in a float's range
        apart = (total[:, :, :, None] - total[:, :, None]).clamp(max=0).exp()
        scores = (q_[:, :, :, None] * k_[:, :, None] * apart).sum(4).tril()
        out = scores @ v_
        if state is not None:
            out = out + (q_ * total.exp()) @ state
        left = (k_ * (total[:, :, -1:] - total).exp()).transpose(2, 3) @ v_
        state = left if state is None else state * total[:, :, -1].exp()[..., None] + left
        outputs.append(out)
    return torch.cat(outputs, 2)
'''


@register("gla")
@dataclass(frozen=True)
class GatedLinearAttention(WrittenLeaf):
    """(S, D) -> same, each row from itself and those before: gated linear attention (Yang et al. 2024).

    Per head o_t = q_t S_t with S_t = diag(a_t) S_(t-1) + k_t^T v_t, where the input says a_t through a matrix of a low
    rank; then rms norm for each head, a silu gate, and a linear layer. keys, values: widths in shares of D.
    """

    keeps_steps: ClassVar[bool] = True

    heads: int = 4
    keys: float = 0.5
    values: float = 1.0
    rank: int = 16

    def __post_init__(self) -> None:
        require(self.heads >= 1 and self.rank >= 1, f"{self.heads} heads, rank {self.rank}: at least 1 each")
        require(self.keys > 0 and self.values > 0, f"shares above 0, not {self.keys} and {self.values}")

    def shape(self, x: Shape) -> Shape:
        column(self, x)
        if any(width < self.heads or width % self.heads for width in self._widths(x)):
            raise ShapeError("gla: keys and values of {} do not divide by {} heads", x, self.heads)
        return x

    def _widths(self, x: Shape) -> tuple[int, int]:
        return int(x[1] * self.keys), int(x[1] * self.values)

    def params(self, x: Shape) -> int:
        d, (k, v), r = x[1], self._widths(x), self.rank
        return 2 * d * k + 2 * d * v + d * r + r * k + k + v * d + v // self.heads

    def flops(self, x: Shape) -> int:
        (s, d), (k, v), r = x, self._widths(x), self.rank
        chunks = [CHUNK] * (s // CHUNK) + [s % CHUNK] * (s % CHUNK > 0)
        within = sum(2 * rows * rows * v for rows in chunks)
        memory = sum(2 * rows * k * (v // self.heads) for rows in chunks)
        reading = memory - 2 * chunks[0] * k * (v // self.heads)  # the first chunk has none to read
        return 2 * s * (2 * d * k + 3 * d * v + d * r + r * k) + within + memory + reading

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        (s, d), (k, v), r, heads = node.inputs, self._widths(node.inputs), self.rank, self.heads
        build.helper(RECURRENCE)
        query = build.module(f"nn.Linear({d}, {k}, bias=False)", "query")
        key, value = (build.module(f"nn.Linear({d}, {n}, bias=False)", name) for n, name in ((k, "key"), (v, "value")))
        low, high = (
            build.module(f"nn.Linear({d}, {r}, bias=False)", "low"),
            build.module(f"nn.Linear({r}, {k})", "high"),
        )
        gate, out = (build.module(f"nn.Linear({a}, {b}, bias=False)", n) for a, b, n in ((d, v, "gate"), (v, d, "out")))
        norm = build.module(f"nn.RMSNorm({v // heads}, eps=1e-5)", "norm")
        split = f"unflatten(2, ({heads}, -1)).transpose(1, 2)"
        q = build.line(f"{query}({{}}).{split} * {k // heads} ** -0.5", x, shape=(s, k), keeps="in")
        keys = build.line(f"{key}({{}}).{split}", x, shape=(s, k), keeps="in")
        values = build.line(f"{value}({{}}).{split}", x, shape=(s, v), keeps="in")
        code = f"F.logsigmoid({high}({low}({{}}))).{split} / 16"
        decay = build.line(code, x, shape=(s, k), keeps="in", extra=s * (r + 2 * k))
        rows = min(s, CHUNK)
        chunks = -(-s // CHUNK)
        # Each chunk's pairs (differences clipped, products of two, of three) and memory.
        extra = 4 * s * rows * k + 2 * s * rows * heads + 8 * s * k + 2 * s * v + 2 * chunks * k * (v // heads)
        code = f"gated_recurrence({{}}, {{}}, {{}}, {{}}, {s})"
        x_ = build.line(code, q, keys, values, decay, shape=(s, v), extra=extra)
        extra = s * v + s * heads
        x_ = build.line(f"{norm}({{}}.transpose(1, 2)).flatten(2)", x_, shape=(s, v), extra=extra)
        opened = build.line(f"{gate}({{}})", x, shape=(s, v), keeps="in")
        x_ = build.line("{} * F.silu({})", x_, opened, shape=(s, v), extra=3 * s * v)
        return build.line(f"{out}({{}})", x_, shape=node.output, keeps="in")
