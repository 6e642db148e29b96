"""Architecture -> PyTorch. The module that is trained is made by executing the very source that is exported.

The source is plain: a class with named submodules and a straight-line `forward`, one operation a line. Each layer
writes its own lines into a Builder.
"""

from __future__ import annotations

import functools
import itertools
import linecache
from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from evosearch.ensemble import Ensemble
from evosearch.errors import EvosearchError, ExportError, LayerError, UsageError
from evosearch.layers.base import Series
from evosearch.layers.builder import Builder, Working
from evosearch.layers.guards import where
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.modifiers import named
from evosearch.layers.node import Node
from evosearch.layers.shapes import show
from evosearch.layers.writing import repeated, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from evosearch.architecture import Architecture
    from evosearch.layers.builder import Origin, Path
    from evosearch.layers.modifiers import Modifier
    from evosearch.layers.node import Layer
    from evosearch.layers.shapes import Shape

KEPT_SOURCES = 64  # generated files that tracebacks can still show

_sources: OrderedDict[str, None] = OrderedDict()


def source(architecture: Architecture | Ensemble, outputs: int | None = None, *, name: str = "Network") -> str:
    """Plain PyTorch code of the network, or of an ensemble: a module that needs torch and nothing else.

    The class takes a batch of the architecture's input shape and returns what its head gives; without a head, the
    output of its sentence. Its parameters have the names of the module from `build`, so that state dicts load.
    outputs: of the usual head, for an architecture that was read without one; UsageError where its head gives others.
    Raises ExportError where an own layer has a `module` and no code, and LayerError where two have different helpers of
    one name.
    """
    if isinstance(architecture, Ensemble):
        return _joint_source(architecture, name)
    text, builder = _write(_headed(architecture, outputs), name)
    _refuse_owned(builder)
    return text


def _refuse_owned(builder: Builder) -> None:
    """Raise ExportError where a layer is a module of the user's own that has no code."""
    if builder.owned:
        layers = ", ".join(sorted({layer.name for layer, _ in builder.owned.values()}))
        raise ExportError(f"cannot write {layers} as plain PyTorch; give the layer an `emit` that writes its code")


def build(architecture: Architecture | Ensemble, outputs: int | None = None, *, drop_path: bool = False) -> nn.Module:
    """The network, or an ensemble, as a torch module, freshly initialised by torch's generator.

    Input: a batch of the architecture's input shape. Output: (batch, outputs) of its head; without a head
    (batch, *architecture.output), what its sentence gives, of whatever width. outputs: as in `source`.
    Submodules are named as in `source`; those of an ensemble's members have `members.N.` before them.
    drop_path: whether, in training, examples pass residual parts by with the probability that each of its classes has
    in the number `drop_path`, 0 until it is set.
    """
    if isinstance(architecture, Ensemble):
        return _joint(architecture)
    return _made(*_write(_headed(architecture, outputs), "Network", drop_path))


def _headed(architecture: Architecture, outputs: int | None) -> Architecture:
    """The architecture with the usual head, where it has none and so many outputs are asked for."""
    if outputs is None:
        return architecture
    if architecture.head is not None:
        if architecture.head.output != (outputs,):
            raise UsageError(
                f"{outputs} outputs are asked for, and the network's head gives {show(architecture.head.output)}; "
                "leave `outputs` out, or read the sentence in a space without a head"
            )
        return architecture
    head = MeanLinear(outputs)
    return replace(architecture, head=Node(head, architecture.output, head.shape(architecture.output)))


def require_true(architecture: Architecture) -> None:
    """Raise LayerError where a layer of the user's own gives another shape than it states, has other parameters, or
    does not run at all.

    Tried without data and without weights, on torch's meta device; what cannot run there is left to the training.
    """
    waiting, nodes = _nodes(architecture), []
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += node.parts
    for node in reversed(nodes):  # parts before what they are parts of: who lies is named
        if getattr(type(node.layer), "source_digest", ""):
            given, trained = _given(cast("Any", node.layer), node.inputs, node if node.parts else None)
            name, at = type(node.layer).__name__, show(node.inputs)
            if given is not None and given != node.output:
                raise LayerError(
                    f"{name}.shape: it states {show(node.output)} at {at}, and its network gives {show(given)}; "
                    "make the two agree",
                    **where(type(node.layer).shape),
                )
            if trained is not None and trained != node.cost.params:
                stated = getattr(type(node.layer), "params", None)
                own = getattr(stated, "__module__", "") == type(node.layer).__module__
                raise LayerError(
                    f"{name}.params: {'it' if own else 'the class has none, which'} states {node.cost.params:,} "
                    f"parameters at {at}, and its network has {trained:,}; make the two agree, as "
                    "evolve check GRAMMAR --layers FILE tells",
                    **where(stated if own and stated is not None else type(node.layer).shape),
                )


@lru_cache(maxsize=10_000)
def _given(layer: Layer, inputs: Shape, node: Node | None) -> tuple[Shape | None, int | None]:
    """The shape that a layer really gives, with the parts of the node, and how many parameters it trains; None of what
    cannot be known without data.
    """
    import torch

    node = node or Node(layer, inputs, layer.shape(inputs))
    build = Builder()
    start = build.start(inputs)
    body = build.forward(start, write(node, start, build))
    trained = None
    try:
        with torch.device("meta"):
            module = _made(_code(build, body, "", "Network"), build)
            if not any(map(torch.nn.parameter.is_lazy, module.parameters())):
                trained = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
            output = module(torch.empty(2, *inputs))
        return tuple(output.shape[1:]), trained
    except EvosearchError:
        raise
    except Exception:  # noqa: BLE001 - told by the training, where it fails on data too
        return None, trained


def segments(architecture: Architecture, *, drop_path: bool = False) -> list[nn.Module]:
    """The network in pieces: the stem, each step of the outermost series, and the head, whichever there are.

    One after the other they compute what the module of `build` does, bit for bit, and so do their initial weights if
    they are made under the same seed. Their parameters have the names of that module's, each in one piece.
    drop_path: as of `build`. What layers give to all behind them, as the mask of a series, passes from piece to piece
    beside what these return: one has to be asked after those before it.
    """
    found: list[nn.Module] = []
    told: dict[str, Tensor] = {}
    end = ""
    builder = Builder(repeated=repeated(_nodes(architecture)), format=_format(architecture), drop_path=drop_path)
    for node in _series(architecture):
        before, builder = builder, builder.after()
        start = builder.begin(node.inputs, before, end, trained=False)
        end = write(node, start, builder)
        body = builder.forward(start, end)
        given = [name for name in builder.contexts if name not in before.contexts]
        body[-1] = ", ".join([body[-1], *given])
        piece = _made(_code(builder, body, f"{show(node.inputs)} to {show(node.output)}.", "Network"), builder)
        if given:
            piece.register_forward_hook(functools.partial(_keep, told, given))
        if taken := builder.arguments():
            piece.register_forward_pre_hook(functools.partial(_hand_over, told, taken))
        found.append(piece)
    return found


def _keep(told: dict[str, Tensor], names: list[str], piece: nn.Module, x: object, given: tuple[Tensor, ...]) -> Tensor:
    """What a piece gives beside its output is kept for the pieces behind it."""
    del piece, x
    output, *values = given
    told.update(zip(names, values, strict=True))
    return output


def _hand_over(told: dict[str, Tensor], names: list[str], piece: nn.Module, x: tuple[Tensor]) -> tuple[Tensor, ...]:
    del piece
    return (*x, *(told[name] for name in names))


class Places(NamedTuple):
    """The uses of layers in one tree of a network. root: its own. names: the submodules and parameters that each added,
    as the module of `build` calls them. below: the nodes that a use uses, of those with names and all above them, by
    (part, copy), but for the tree inside a block, which the block itself says. computed: of these names, those of
    tensors that follow from their layers.
    """

    root: Node
    names: dict[Path, list[str]]
    below: dict[Path, dict[tuple[int, int], Node]]
    computed: frozenset[str]


def places(architecture: Architecture) -> list[Places]:
    """Of stem, tree and head, whichever there are."""
    nodes = _nodes(architecture)
    builder = Builder(repeated=repeated(nodes))
    x = builder.start(architecture.input)
    found = []
    for node in nodes:
        known = len(builder.origins)
        x = write(node, x, builder)
        there = Places(node, {}, {}, frozenset(builder.computed))
        for name, origin in itertools.islice(builder.origins.items(), known, None):
            path = origin.path()
            there.names.setdefault(path, []).append(name)
            at: Origin | None = origin
            while at is not None and path and path[-1] not in (used := there.below.setdefault(path[:-1], {})):
                if isinstance(at.node, Node):
                    used[path[-1]] = at.node
                path, at = path[:-1], at.above
        found.append(there)
    return found


def _series(architecture: Architecture) -> Iterator[Node]:
    """Stem, steps and head, in the order in which they compute. Nested series are laid flat."""
    stack = _nodes(architecture)[::-1]
    while stack:
        node = stack.pop()
        if isinstance(node.layer, Series):
            stack += reversed(node.parts)
        else:
            yield node


def _nodes(architecture: Architecture) -> list[Node]:
    return [node for node in (architecture.stem, architecture.root, architecture.head) if node is not None]


def _format(architecture: Architecture) -> Modifier | None:
    return named(architecture.format) if architecture.format else None


def _made(text: str, builder: Builder) -> nn.Module:
    """The module that the source defines."""
    return _executed(text, {"own_layer": _own_layer(builder)})


def _executed(text: str, names: Mapping[str, Any]) -> nn.Module:
    filename = f"<network {blake2b(text.encode(), digest_size=8).hexdigest()}>"
    _remember(filename, text)
    namespace: dict[str, Any] = {"__name__": "evosearch.generated", **names}
    exec(compile(text, filename, "exec"), namespace)  # noqa: S102 - the source is ours, written line by line above
    return cast("nn.Module", namespace["Network"]())


# --- ensembles ------------------------------------------------------------------------------------------------------


def _joint_source(ensemble: Ensemble, name: str) -> str:
    """A class for each architecture, and below them the one that asks all members."""
    joint = Builder()
    classes: list[str] = []
    for title, member in _classes(ensemble).items():
        builder, body = _written(member, title)
        _refuse_owned(builder)
        joint.help(builder.helpers, builder.helped)
        classes += [*_class(builder, body, title), "", ""]
    return _file(_title(ensemble), joint.helpers, [*classes, *_joint_class(ensemble, name)])


def _joint(ensemble: Ensemble) -> nn.Module:
    made = {title: functools.partial(build, member) for title, member in _classes(ensemble).items()}
    return _executed(_file(_title(ensemble), {}, _joint_class(ensemble, "Network")), made)


def _classes(ensemble: Ensemble) -> dict[str, Architecture]:
    """The members' architectures by the names of their classes, in the order in which members are first of one."""
    return {f"Member{number}": one for number, one in enumerate({m.text: m for m in ensemble.members}.values(), 1)}


def _joint_class(ensemble: Ensemble, name: str) -> list[str]:
    names, averaging = {member.text: title for title, member in _classes(ensemble).items()}, ensemble.averaging
    asked, views = ("m(v)", " for v in (x, x.flip(3))") if ensemble.mirrored else ("m(x)", "")
    mean = f"sum(w * {averaging.averaged.format(out=asked)} for w, m in zip(self.weights, self.members){views})"
    if ensemble.mirrored:
        mean += " / 2"
    members = ", ".join(f"{names[member.text]}()" for member in ensemble.members)
    return [
        f"class {name}(nn.Module):",
        f"    weights = ({', '.join(map(repr, ensemble.weights))},)",
        "",
        "    def __init__(self):",
        "        super().__init__()",
        f"        self.members = nn.ModuleList([{members}])",
        "",
        "    def forward(self, x):",
        f"        mean = {mean}",
        f"        return {averaging.outputs.format(mean='mean')}",
    ]


def working_scalars(architecture: Architecture) -> Working:
    """What training needs of memory for one example.

    A tensor that several layers need counts once, where `Cost.activations` counts it for each of them.
    """
    return _write(architecture, "Network")[1].working()


def _own_layer(builder: Builder) -> Callable[[str], nn.Module]:
    def own_layer(attribute: str) -> nn.Module:
        layer, inputs = builder.owned[attribute]
        return layer.module(inputs)

    return own_layer


@lru_cache(maxsize=2)  # of one candidate the memory is estimated, then it is built
def _write(architecture: Architecture, name: str, drop_path: bool = False) -> tuple[str, Builder]:
    builder, body = _written(architecture, drop_path=drop_path)
    return _code(builder, body, _title(architecture), name), builder


def _written(architecture: Architecture, prefix: str = "", *, drop_path: bool = False) -> tuple[Builder, Sequence[str]]:
    """What all layers wrote, and the lines of forward. prefix: of the names of blocks' classes."""
    nodes = _nodes(architecture)
    build = Builder(repeated=repeated(nodes), prefix=prefix, format=_format(architecture), drop_path=drop_path)
    start = end = build.start(architecture.input)
    for node in nodes:
        end = write(node, end, build)
    return build, build.forward(start, end)


def _code(build: Builder, body: Iterable[str], title: str, name: str) -> str:
    return _file(title, build.helpers, _class(build, body, name))


def _file(title: str, helpers: Mapping[str, str], classes: Iterable[str]) -> str:
    lines = [
        f'"""{title}"""',
        "",
        "import torch",
        "from torch import nn",
        "from torch.nn import functional as F",
        "",
        *(f"\n{source.strip()}\n" for _, source in sorted(helpers.items())),
        "",
        *classes,
    ]
    return "\n".join(lines) + "\n"


def _class(build: Builder, body: Iterable[str], name: str, remark: str = "") -> list[str]:
    """The class, behind those of the blocks that it calls."""
    blocks: list[str] = []
    for block in {one.name: one for one in build.outlined.values()}.values():
        inner = block.build.forward(block.start, block.end)
        blocks += [*_class(block.build, inner, block.name, f"  # {block.title}"), "", ""]
    return [
        *blocks,
        f"class {name}(nn.Module):{remark}",
        *(("    drop_path = 0.0", "") if build.drop_path else ()),
        "    def __init__(self):",
        "        super().__init__()",
        *(f"        {_attribute(build, attribute)}" for attribute in build.modules),
        "",
        f"    def forward({', '.join(['self', 'x', *build.arguments()])}):",
        *(f"        {line}" for line in body),
    ]


def _attribute(build: Builder, attribute: str) -> str:
    if attribute in build.buffers:
        return f"self.register_buffer({attribute!r}, {build.modules[attribute]})"
    made = f"own_layer({attribute!r})" if attribute in build.owned else build.modules[attribute]
    return f"self.{attribute} = {made}"


def _title(architecture: Architecture | Ensemble) -> str:
    if isinstance(architecture, Ensemble):
        many = len(architecture.members) > 1
        answers = f"{len(architecture.members)} networks that answer as one" if many else "One network"
        views = ", each the mean over an image and its mirror image" if architecture.mirrored else ""
        return f"{_title(architecture.members[0])} {answers}{views if many else views.replace(', each', ':')}."
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


__all__ = ["build", "places", "require_true", "segments", "source", "working_scalars"]
