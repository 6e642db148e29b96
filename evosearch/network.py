"""Architecture -> PyTorch. The module that is trained is made by executing the very source that is exported.

The source is plain: a class with named submodules and a straight-line `forward`, one operation a line. Each layer
writes its own lines through a Builder; the Builder counts how long each intermediate result is needed, so that names
are used again and nothing is kept alive longer than by hand-written code.
"""

from __future__ import annotations

import linecache
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from evosearch.errors import ExportError
from evosearch.layers.base import Shape, mode, show

if TYPE_CHECKING:
    from torch import nn

    from evosearch.architecture import Architecture, Node
    from evosearch.layers.base import Leaf

HELPERS = {
    "im2col": '''
def im2col(x, kernel, stride, padding):
    """Windows of an image as columns: (N, C, H, W) -> (N, oh * ow, C * kernel * kernel)."""
    if kernel > stride and not x.is_cuda:  # on CUDA, F.unfold copies one example at a time
        return F.unfold(x, kernel, padding=padding, stride=stride).transpose(1, 2)
    if padding:
        x = F.pad(x, (padding, padding, padding, padding))
    x = x.unfold(2, kernel, stride).unfold(3, kernel, stride)
    return x.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
''',
    "windows": '''
def windows(x, kernel, stride, padding):
    """Windows of a sequence as wider columns: (N, S, D) -> (N, S', D * kernel)."""
    return F.pad(x, (0, 0, padding, padding)).unfold(1, kernel, stride).flatten(2)
''',
}

KEPT_SOURCES = 64  # generated files that tracebacks can still show

_sources: OrderedDict[str, None] = OrderedDict()


@dataclass(slots=True)
class _Line:
    code: str  # with a pair of braces for each input
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class Builder:
    """What layers write their code into. Variables are opaque until the whole is written.

    modules: attribute name -> the code that makes it. owned: attribute name -> own layer that has only a `module`.
    """

    modules: dict[str, str] = field(default_factory=dict)
    owned: dict[str, tuple[Leaf, Shape]] = field(default_factory=dict)
    helpers: list[str] = field(default_factory=list)
    _lines: list[_Line] = field(default_factory=list)
    _shapes: dict[str, Shape] = field(default_factory=dict)
    _bases: dict[str, str] = field(default_factory=dict)  # the variable whose storage a view shows
    _kept: set[str] = field(default_factory=set)
    _learned: set[str] = field(default_factory=set)  # variables, modules and parameters that gradients reach
    _extra: int = 0
    _counts: Counter[str] = field(default_factory=Counter)

    def module(self, code: str, name: str, *, trained: bool = True) -> str:
        """Adds a submodule or parameter made by `code`; returns how forward speaks of it ("self.conv3").

        trained: whether it has parameters.
        """
        self._counts[name] += 1
        attribute = f"{name}{self._counts[name]}"
        self.modules[attribute] = code
        if trained:
            self._learned.add(f"self.{attribute}")
        return f"self.{attribute}"

    def helper(self, name: str) -> None:
        """Has the source define a helper function of HELPERS."""
        if name not in self.helpers:
            self.helpers.append(name)

    def line(self, code: str, *inputs: str, shape: Shape, keeps: str = "", extra: int = 0, view: bool = False) -> str:
        """Adds `variable = code`, with the inputs put into the code's braces; returns the variable.

        keeps: what backward needs, the inputs ("in") or the output ("out"); extra: further scalars that it needs.
        view: the output shows the first input's storage.
        """
        (output,) = self._add(code, inputs, 1, shape, inputs[0] if view else None)
        if self._learned.intersection((*inputs, *re.findall(r"self\.\w+", code))):
            self._learned.add(output)  # backward comes this way
            if keeps:
                self._kept.update(self._bases[v] for v in (inputs if keeps == "in" else (output,)))
            self._extra += extra
        return output

    def lines(self, code: str, x: str, *, count: int, shape: Shape) -> tuple[str, ...]:
        """Adds `a, b, ... = code`: `count` views of `x`, each of the given shape."""
        outputs = self._add(code, (x,), count, shape, x)
        if x in self._learned:
            self._learned.update(outputs)
        return outputs

    def own(self, layer: Leaf, node: Node, x: str) -> str:
        """Adds an own layer that has no code, only a `module`: it can be built, and not exported."""
        attribute = self.module("", "".join(c if c.isalnum() else "_" for c in layer.name) + "_").removeprefix("self.")
        self.owned[attribute] = (layer, node.inputs)
        return self.line(f"self.{attribute}({{}})", x, shape=node.output, keeps=layer.saves)

    def shape(self, variable: str) -> Shape:
        return self._shapes[variable]

    def held(self) -> int:
        """Scalars that backward holds for one example: each stored tensor once, however many layers need it."""
        return self._extra + sum(math.prod(self._shapes[base]) for base in self._kept)

    def widest(self) -> int:
        """Scalars that the widest line reads and writes for one example: what is in use beside what backward holds."""
        widths = [
            sum(math.prod(self._shapes[v]) for v in (*line.inputs, *line.outputs))
            for line in self._lines
            if any(self._bases[v] == v for v in line.outputs)  # a view writes nothing
        ]
        return max(widths, default=0)

    def start(self, shape: Shape) -> str:
        (x,) = self._new(1, shape, None)
        return x

    def run(self, root: Node, x: str) -> str:
        """Has every layer of the tree write its lines, without recursion; returns the output's variable."""
        open_layers: list[Generator[tuple[Node, str], str, str]] = []
        written = root.layer.emit(root, x, self)
        while True:
            if isinstance(written, str):
                if not open_layers:
                    return written
                result, layer = written, open_layers[-1]
            else:
                open_layers.append(written)
                result, layer = cast(str, None), written
            try:
                node, x = layer.send(result)
            except StopIteration as stop:
                open_layers.pop()
                written = stop.value
            else:
                written = node.layer.emit(node, x, self)

    def forward(self, x: str, output: str) -> list[str]:
        """The lines of forward's body. A name is used again as soon as what it stands for is no longer needed."""
        last = {variable: number for number, line in enumerate(self._lines) for variable in line.inputs}
        names = {x: "x"}
        free: list[int] = []
        used = 1
        lines: list[str] = []
        for number, line in enumerate(self._lines):
            inputs = [names[variable] for variable in line.inputs]
            ending = [v for v in dict.fromkeys(line.inputs) if last[v] == number and v != output]
            stale = {_index(names.pop(variable)) for variable in ending}
            free = sorted([*free, *stale])
            for variable in line.outputs:
                if not free:
                    free, used = [used], used + 1
                index = free.pop(0)
                stale.discard(index)
                names[variable] = _name(index)
            targets = ", ".join(names[variable] for variable in line.outputs)
            lines.append(f"{targets} = {line.code.format(*inputs)}  # {show(self._shapes[line.outputs[0]])}")
            unread = [v for v in line.outputs if v not in last and v != output]
            unread_indices = {_index(names.pop(variable)) for variable in unread}
            free = sorted([*free, *unread_indices])
            dropped = sorted(stale | unread_indices)
            if dropped and number + 1 < len(self._lines):
                lines.append(f"del {', '.join(map(_name, dropped))}")
        lines.append(f"return {names[output]}")
        return lines

    def _add(self, code: str, inputs: tuple[str, ...], count: int, shape: Shape, base: str | None) -> tuple[str, ...]:
        outputs = self._new(count, shape, base)
        self._lines.append(_Line(code, inputs, outputs))
        return outputs

    def _new(self, count: int, shape: Shape, base: str | None) -> tuple[str, ...]:
        variables = tuple(f"v{len(self._shapes) + number}" for number in range(count))
        for variable in variables:
            self._shapes[variable] = shape
            self._bases[variable] = variable if base is None else self._bases[base]
        return variables


def _name(index: int) -> str:
    return f"x{index}" if index else "x"


def _index(name: str) -> int:
    return int(name[1:] or 0)


def source(architecture: Architecture, outputs: int | None, *, name: str = "Network") -> str:
    """Plain PyTorch code of the network: a module that needs torch and nothing else.

    The class takes a batch of the architecture's input shape and returns (batch, outputs); with outputs None, the
    architecture's own output (no head). Its parameters have the names of the module from `build`, so that state dicts
    load. Raises ExportError where an own layer has a `module` and no code.
    """
    text, builder = _write(architecture, outputs, name)
    if builder.owned:
        layers = ", ".join(sorted({layer.name for layer, _ in builder.owned.values()}))
        raise ExportError(f"cannot write {layers} as plain PyTorch; give the layer an `emit` that writes its code")
    return text


def build(architecture: Architecture, outputs: int | None) -> nn.Module:
    """The network as a torch module, freshly initialised by torch's generator.

    Input: a batch of the architecture's input shape. Output: (batch, outputs); with outputs None, the architecture's
    own output. Submodules are named as in `source`.
    """
    text, builder = _write(architecture, outputs, "Network")
    filename = f"<network {blake2b(text.encode(), digest_size=8).hexdigest()}>"
    _remember(filename, text)
    namespace: dict[str, Any] = {"__name__": "evosearch.generated", "own_layer": _own_layer(builder)}
    exec(compile(text, filename, "exec"), namespace)  # noqa: S102 - the source is ours, written line by line above
    return cast("nn.Module", namespace["Network"]())


def held_scalars(architecture: Architecture, outputs: int | None) -> int:
    """Scalars held for the backward pass for one example, where a tensor that several layers need counts once.

    `Cost.activations` counts it once for each layer that needs it. Memory is what this one says.
    """
    return _write(architecture, outputs, "Network")[1].held()


def working_scalars(architecture: Architecture, outputs: int | None) -> tuple[int, int]:
    """What training needs of memory for one example: `held_scalars`, and the scalars that the widest line works on."""
    builder = _write(architecture, outputs, "Network")[1]
    return builder.held(), builder.widest()


def _own_layer(builder: Builder) -> Callable[[str], nn.Module]:
    def own_layer(attribute: str) -> nn.Module:
        layer, inputs = builder.owned[attribute]
        return layer.module(inputs)

    return own_layer


def _write(architecture: Architecture, outputs: int | None, name: str) -> tuple[str, Builder]:
    build = Builder()
    start = build.start(architecture.input)
    end = build.run(architecture.root, start)
    if outputs is not None:
        end = _head(build, end, architecture.output, outputs)
    body = build.forward(start, end)
    used = set(build.helpers)
    code = [
        f'"""{_title(architecture, outputs)}"""',
        "",
        "import torch",
        "from torch import nn",
        "from torch.nn import functional as F",
        "",
        *(HELPERS[helper] for helper in sorted(used)),
        "",
        f"class {name}(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        *(f"        self.{attribute} = {_made(build, attribute)}" for attribute in build.modules),
        "",
        "    def forward(self, x):",
        *(f"        {line}" for line in body),
    ]
    return "\n".join(code) + "\n", build


def _made(build: Builder, attribute: str) -> str:
    return f"own_layer({attribute!r})" if attribute in build.owned else build.modules[attribute]


def _title(architecture: Architecture, outputs: int | None) -> str:
    after = show(architecture.output) if outputs is None else f"{outputs} outputs"
    return f"{show(architecture.input)} to {after}."


def _head(build: Builder, x: str, shape: Shape, outputs: int) -> str:
    """Mean over H and W, or over S; then a linear layer (METHODS of einspace, but the mean is over the tokens)."""
    features = shape[0] if mode(shape) == "image" else shape[-1]
    if mode(shape) == "image":
        x = build.line("{}.mean(dim=(2, 3))", x, shape=(features,))
    elif mode(shape) == "column":
        x = build.line("{}.mean(dim=1)", x, shape=(features,))
    build.modules["head"] = f"nn.Linear({features}, {outputs})"
    return build.line("self.head({})", x, shape=(outputs,), keeps="in")


def _remember(filename: str, text: str) -> None:
    """Lets tracebacks show the generated source, of the last few networks."""
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    _sources[filename] = None
    _sources.move_to_end(filename)
    while len(_sources) > KEPT_SOURCES:
        oldest, _ = _sources.popitem(last=False)
        linecache.cache.pop(oldest, None)


__all__ = ["Builder", "build", "held_scalars", "source", "working_scalars"]
