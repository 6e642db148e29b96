"""Architecture -> PyTorch. The module that is trained is made by executing the very source that is exported.

The source is plain: a class with named submodules and a straight-line `forward`, one operation a line. Each layer
writes its own lines into a Builder.
"""

from __future__ import annotations

import linecache
from collections import OrderedDict
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from evosearch.errors import ExportError
from evosearch.layers.base import Series
from evosearch.layers.builder import Builder, Working
from evosearch.layers.shapes import show
from evosearch.layers.writing import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from evosearch.architecture import Architecture
    from evosearch.layers.node import Node

KEPT_SOURCES = 64  # generated files that tracebacks can still show

_sources: OrderedDict[str, None] = OrderedDict()


def source(architecture: Architecture, *, name: str = "Network") -> str:
    """Plain PyTorch code of the network: a module that needs torch and nothing else.

    The class takes a batch of the architecture's input shape and returns what its head gives; without a head, the
    output of its sentence. Its parameters have the names of the module from `build`, so that state dicts load.
    Raises ExportError where an own layer has a `module` and no code.
    """
    text, builder = _write(architecture, name)
    if builder.owned:
        layers = ", ".join(sorted({layer.name for layer, _ in builder.owned.values()}))
        raise ExportError(f"cannot write {layers} as plain PyTorch; give the layer an `emit` that writes its code")
    return text


def build(architecture: Architecture) -> nn.Module:
    """The network as a torch module, freshly initialised by torch's generator.

    Input: a batch of the architecture's input shape. Output: (batch, outputs) of its head; without a head, the output
    of its sentence. Submodules are named as in `source`.
    """
    return _made(*_write(architecture, "Network"))


def segments(architecture: Architecture) -> list[nn.Module]:
    """The network in pieces: the stem, each step of the outermost series, and the head, whichever there are.

    One after the other they compute what the module of `build` does, bit for bit, and so do their initial weights if
    they are made under the same seed. Their parameters have the names of that module's, each in one piece.
    """
    found: list[nn.Module] = []
    builder = Builder()
    for node in _series(architecture):
        builder = builder.after()
        start = builder.start(node.inputs)
        body = builder.forward(start, write(node, start, builder))
        found.append(_made(_code(builder, body, f"{show(node.inputs)} to {show(node.output)}.", "Network"), builder))
    return found


def _series(architecture: Architecture) -> Iterator[Node]:
    """Stem, steps and head, in the order in which they compute. Nested series are laid flat."""
    stack = [node for node in (architecture.head, architecture.root, architecture.stem) if node is not None]
    while stack:
        node = stack.pop()
        if isinstance(node.layer, Series):
            stack += reversed(node.parts)
        else:
            yield node


def _made(text: str, builder: Builder) -> nn.Module:
    """The module that the source defines."""
    filename = f"<network {blake2b(text.encode(), digest_size=8).hexdigest()}>"
    _remember(filename, text)
    namespace: dict[str, Any] = {"__name__": "evosearch.generated", "own_layer": _own_layer(builder)}
    exec(compile(text, filename, "exec"), namespace)  # noqa: S102 - the source is ours, written line by line above
    return cast("nn.Module", namespace["Network"]())


def held_scalars(architecture: Architecture) -> int:
    """Scalars held for the backward pass for one example, where a tensor that several layers need counts once.

    `Cost.activations` counts it once for each layer that needs it. Memory is what this one says.
    """
    return _write(architecture, "Network")[1].held()


def working_scalars(architecture: Architecture) -> Working:
    """What training needs of memory for one example."""
    return _write(architecture, "Network")[1].working()


def _own_layer(builder: Builder) -> Callable[[str], nn.Module]:
    def own_layer(attribute: str) -> nn.Module:
        layer, inputs = builder.owned[attribute]
        return layer.module(inputs)

    return own_layer


@lru_cache(maxsize=2)  # of one candidate the memory is estimated, then it is built
def _write(architecture: Architecture, name: str) -> tuple[str, Builder]:
    build = Builder()
    start = end = build.start(architecture.input)
    for node in (architecture.stem, architecture.root, architecture.head):
        if node is not None:
            end = write(node, end, build)
    return _code(build, build.forward(start, end), _title(architecture), name), build


def _code(build: Builder, body: Sequence[str], title: str, name: str) -> str:
    lines = [
        f'"""{title}"""',
        "",
        "import torch",
        "from torch import nn",
        "from torch.nn import functional as F",
        "",
        *(f"\n{source.strip()}\n" for _, source in sorted(build.helpers.items())),
        "",
        f"class {name}(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        *(f"        {_attribute(build, attribute)}" for attribute in build.modules),
        "",
        "    def forward(self, x):",
        *(f"        {line}" for line in body),
    ]
    return "\n".join(lines) + "\n"


def _attribute(build: Builder, attribute: str) -> str:
    if attribute in build.buffers:
        return f"self.register_buffer({attribute!r}, {build.modules[attribute]})"
    made = f"own_layer({attribute!r})" if attribute in build.owned else build.modules[attribute]
    return f"self.{attribute} = {made}"


def _title(architecture: Architecture) -> str:
    head = architecture.head
    after = show(architecture.output) if head is None else f"{show(head.output)} outputs"
    return f"{show(architecture.input)} to {after}."


def _remember(filename: str, text: str) -> None:
    """Lets tracebacks show the generated source, of the last few networks."""
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    _sources[filename] = None
    _sources.move_to_end(filename)
    while len(_sources) > KEPT_SOURCES:
        oldest, _ = _sources.popitem(last=False)
        linecache.cache.pop(oldest, None)


__all__ = ["build", "held_scalars", "segments", "source", "working_scalars"]
