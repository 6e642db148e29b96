"""A project folder with one plug-in of each kind, as a person would write them; nothing in evosearch knows any."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILES = {
    "evosearch.toml": "",
    "scaled.py": '''
"""scale(n): n numbers that the features are multiplied by."""

from dataclasses import dataclass

from evosearch.layers.base import Leaf, register


@register("twice_linear")
@dataclass(frozen=True)
class TwiceLinear(Leaf):
    """(d) -> (width): two linear layers in a row, the first as wide as its input."""

    width: int

    def shape(self, x):
        return (*x[:-1], self.width)

    def params(self, x):
        return (x[-1] + 1) * x[-1] + (x[-1] + 1) * self.width

    def flops(self, x):
        return 2 * x[-1] * x[-1] + 2 * x[-1] * self.width

    def emit(self, node, x, build):
        d = node.inputs[-1]
        module = build.module(f"nn.Sequential(nn.Linear({d}, {d}), nn.Linear({d}, {self.width}))", "twice")
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in", extra=d)

    def saved(self, x):
        return 2 * x[-1]
''',
    "space.lark": """
// input: vector
start: block (";" block)*            -> chain        // more=0.6
block: "twice" "(" WIDTH ")"         -> twice_linear // p=0.5
     | "relu"                        -> relu         // p=0.3
     | "linear" "(" WIDTH ")"        -> linear       // p=0.2
WIDTH: "4" | "6" | "8"
""",
    "operators/mutate/anew.py": '''
"""A mutation that forgets its parent."""


def anew(parent, space, rng):
    """A whole sample: in the language, valid at the input shape."""
    return space.draw(rng)
''',
    "operators/select/any_one.py": '''
"""Selection without selecting."""


def any_one(population, k, rng):
    """So many members, each drawn alike."""
    return [population[int(rng.integers(len(population)))] for _ in range(k)]
''',
    "operators/strategy/alternating.py": '''
"""A sample and an offspring by turns."""

from dataclasses import dataclass

from evosearch.search.proposal import Candidate


class Alternating:
    """Every `period`-th candidate is a mutant of a selected parent, the others are samples."""

    @dataclass(frozen=True)
    class Settings:
        """period: candidates from one mutant to the next."""

        period: int = 2

    needs_history = True

    def __init__(self, settings, context):
        self.settings, self.context = settings, context
        self.population, self.folded = [], 0
        self.select = context.selection(context.settings.select or "tournament")

    def candidates(self, history, rng):
        while True:
            if self.population and self.folded % self.settings.period == 0:
                (parent,) = self.select(self.population, 1, rng)
                name = sorted(self.context.mutations)[0]
                child = self.context.mutations[name](parent.derivation, self.context.space, rng)
                yield None if child is None else Candidate(child, name, (parent,))
            else:
                yield Candidate(self.context.space.draw(rng), "sample")

    def fold(self, evaluated, rng):
        self.folded += 1
        if evaluated.individual is not None:
            self.population = [*self.population, evaluated.individual][-self.context.settings.population :]

    def pack(self):
        return {"population": [one.pack() for one in self.population], "folded": self.folded}

    def unpack(self, data):
        self.population = [self.context.individual(one) for one in data["population"]]
        self.folded = data["folded"]
''',
    "operators/evaluator/counted.py": '''
"""Training as usual, and what was asked for counted in a file of the run's folder."""

from evosearch.evaluation.evaluators.network import Network


class Counted(Network):
    """Scores by training; each candidate is a line of evaluated.txt."""

    folder = None

    def prepare(self, folder):
        super().prepare(folder)
        self.folder = folder

    def __call__(self, job):
        if self.folder is not None:
            with (self.folder / "evaluated.txt").open("a") as file:
                file.write(f"{job.number} {job.brief}\\n")
        return super().__call__(job)
''',
    "operators/stop/hopeless.py": '''
"""Ends what is worse than the worst so far."""


class Hopeless:
    """A training ends that is worse after an epoch than every other was at its end."""

    relative = True

    def brief(self, curves):
        ends = [curve[-1] for curve in curves if curve]
        return [min(ends), max(ends)] if ends else None

    def stop(self, brief, curve, sign):
        if brief is None or min(sign * brief[0], sign * brief[1]) <= sign * curve[-1]:
            return ""
        return f"is {curve[-1]:.3g} after epoch {len(curve)}, below every other"
''',
    "operators/measure/tensors.py": '''
"""How many tensors of weights a network has."""


class Tensors:
    """Tensors of trainable weights."""

    name, sign, unit, timed = "tensors", -1, "tensors", False

    def value(self, trained, task):
        return float(len(list(trained.network.parameters())))
''',
    "operators/kind/ordered.py": '''
"""Ordered classes: what is a little wrong costs little."""

from dataclasses import dataclass

from evosearch.layers.base import Leaf
from evosearch.tasks.kinds.classification import Classification


@dataclass(frozen=True)
class Squeezed(Leaf):
    """(d) -> (outputs): a linear layer behind tanh."""

    outputs: int

    def shape(self, x):
        return (self.outputs,)

    def params(self, x):
        return (x[-1] + 1) * self.outputs

    def flops(self, x):
        return 2 * x[-1] * self.outputs

    def emit(self, node, x, build):
        module = build.module(f"nn.Linear({node.inputs[-1]}, {self.outputs})", "squeezed")
        return build.line(f"{module}(torch.tanh({{}}))", x, shape=node.output, keeps="out", extra=node.inputs[-1])


class Ordered(Classification):
    """Classes in an order: the loss is how far the expected class lies off; its head is one of its own."""

    name = "ordered"

    def head(self, task):
        return Squeezed(task.outputs)

    def loss(self, out, y, recipe):
        import torch

        places = torch.arange(out.shape[1], device=out.device, dtype=out.dtype)
        return ((out.softmax(1) * places).sum(1) - y.to(out.dtype)).square().mean() - 0.1 * out.log_softmax(1)[
            torch.arange(len(y)), y
        ].mean()
''',
    "operators/head/plain.py": '''
"""A head without a bias."""

from dataclasses import dataclass

from evosearch.errors import ShapeError
from evosearch.layers.base import Leaf


@dataclass(frozen=True)
class Plain(Leaf):
    """(d) -> (outputs): a linear layer without a bias."""

    outputs: int

    def shape(self, x):
        if len(x) != 1:
            raise ShapeError("a plain head stands behind vectors")
        return (self.outputs,)

    def params(self, x):
        return x[-1] * self.outputs

    def flops(self, x):
        return 2 * x[-1] * self.outputs

    def emit(self, node, x, build):
        module = build.module(f"nn.Linear({node.inputs[-1]}, {self.outputs}, bias=False)", "plain")
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")
''',
    "operators/log/plain_text.py": '''
"""A line for each score."""


class PlainText:
    """scores.txt in the run's folder: number, key and status."""

    def __init__(self, session):
        self.file = (session.folder / "scores.txt").open("a")

    def add(self, scored):
        for one in scored:
            self.file.write(f"{one.proposal['number']} {one.proposal['key']} {one.score['status']}\\n")
        self.file.flush()

    def close(self):
        self.file.close()
''',
}
CONFIG = """
grammar = "space.lark"
layers = ["scaled.py"]
task = "data.npz"
evaluator = "counted"
log = ["plain_text"]
seed = 3

[search]
budget = 8
population = 4
lookahead = 2
strategy = "alternating"
select = "any_one"
mutations = ["anew"]
objectives = ["accuracy", "tensors"]

[strategy]
period = 3

[recipe]
epochs = 2
batch = 32
stop = "hopeless"

[data]
kind = "ordered"

[workers]
pool = "inline"
device = "cpu"
"""


def project(folder: Path) -> Path:
    """Write it all; the folder."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    (folder / "run.toml").write_text(CONFIG)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.digitize(x.sum(1), [-2, 2]).astype(np.int64))
    return folder
