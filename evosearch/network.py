"""Architecture -> PyTorch. The module that is trained is made by executing the very source that is exported.

The source is plain: a class with named submodules and a straight-line `forward`, one operation a line. Each layer
writes its own lines into a Builder.
"""

from __future__ import annotations

import linecache
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from evosearch.errors import ExportError
from evosearch.layers.base import show
from evosearch.layers.builder import Builder, Working

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from evosearch.architecture import Architecture

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
    text, builder = _write(architecture, "Network")
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


def _write(architecture: Architecture, name: str) -> tuple[str, Builder]:
    build = Builder()
    start = end = build.start(architecture.input)
    for node in (architecture.stem, architecture.root, architecture.head):
        if node is not None:
            end = build.run(node, end)
    body = build.forward(start, end)
    used = set(build.helpers)
    code = [
        f'"""{_title(architecture)}"""',
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
        *(f"        {_made(build, attribute)}" for attribute in build.modules),
        "",
        "    def forward(self, x):",
        *(f"        {line}" for line in body),
    ]
    return "\n".join(code) + "\n", build


def _made(build: Builder, attribute: str) -> str:
    """The line that makes a submodule, parameter or buffer."""
    code = f"own_layer({attribute!r})" if attribute in build.owned else build.modules[attribute]
    if attribute in build.buffers:
        return f'self.register_buffer("{attribute}", {code})'
    return f"self.{attribute} = {code}"


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


__all__ = ["build", "held_scalars", "source", "working_scalars"]
