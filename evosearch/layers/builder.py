"""What layers write their code into: the lines of one network's `forward`, and the submodules they use.

A Builder counts how long each intermediate result is needed, so that names are used again and nothing is kept alive
longer than by hand-written code; and it counts what backward will hold.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeAlias

from evosearch.cost import FULL
from evosearch.errors import LayerError
from evosearch.layers.modifiers import Spared
from evosearch.layers.shapes import Shape, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from evosearch.layers.modifiers import Modifier


DROP_PATH = '''
def drop_path(x, rate, axes, training):
    """A whole example is zero with probability `rate`, the others are scaled up."""
    if not training or rate == 0:
        return x
    kept = torch.rand_like(x.flatten(1)[:, 0], dtype=torch.float32) >= rate
    return x * (kept / (1 - rate)).to(x.dtype).view(-1, *[1] * axes)
'''


class ModuleLayer(Protocol):
    """A layer that has a `module` and no code."""

    name: ClassVar[str]
    saves: ClassVar[str]

    def module(self, x: Shape) -> nn.Module:
        """The layer at input shape `x`."""


PENALTY = '''
class Penalty(torch.autograd.Function):
    """x as it is; its backward pass begins that of the penalty too."""

    @staticmethod
    def forward(context, x, penalty):
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return gradient, gradient.new_ones(())


penalised = Penalty.apply
'''


@dataclass(slots=True)
class _Line:
    code: str  # with a pair of braces for each input
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    inside: int = 0  # scalars that a block's class holds at the most, its input aside


PROGRESS = "progress"
Path: TypeAlias = "tuple[tuple[int, int], ...]"  # of a use of a layer: (part, copy) of each use from the root down


class Working(NamedTuple):
    """Scalars that training needs in memory for one example.

    held: for the backward pass, each stored tensor once. copies: in float32, that CUDA's autocast makes and
    backward holds beside those. widest: what the widest line reads and writes.
    """

    held: int
    copies: int
    widest: int


class Origin(NamedTuple):
    """A use of a layer in the typed tree.

    above: the use that it is a part of, None at the root. part: its place among that node's parts, behind them where a
    layer writes what is none of these. copy: a layer may write a part several times; which of them it is. node: what is
    used, a Node; None at the root.
    """

    above: Origin | None
    part: int
    copy: int
    node: object = None

    def path(self) -> Path:
        found, at = [], self
        while at.above is not None:
            found.append((at.part, at.copy))
            at = at.above
        return tuple(reversed(found))

    def below(self, place: Origin) -> Origin:
        """The same use, of a tree that is the only part of the use `place`."""
        if self.above is None:
            return Origin(place, 0, 0)
        return Origin(self.above.below(place), self.part, self.copy, self.node)


ROOT = Origin(None, 0, 0)


def is_progress(name: str) -> bool:
    """Whether a tensor of a network's state is what `Builder.progress` speaks of: no weight, and no layer's own."""
    return name.rpartition(".")[2] == PROGRESS


class Outlined(NamedTuple):
    """What a class of its own says: the lines of a block, from the variable `start` to `end`."""

    name: str
    title: str
    build: Builder
    start: str
    end: str


@dataclass
class Builder:
    """What layers write their code into. Variables are opaque until the whole is written.

    modules: attribute name -> the code that makes it, buffers among them. computed: the buffers that follow from their
    layers, those inside a block's class too.
    owned: attribute name -> own layer that has only a `module`. helpers: functions and module classes that the lines
    use, name -> source. helped: the layer that each is of. writing: the layer that is being written, where it is known.
    repeated: (layer, input shape) of the blocks that get a class of their own. outlined: these classes, by that and
    whether gradients reach their input. prefix: of their names.
    place: the use of a layer that is being written. origins: attribute name -> the use that added it.
    contexts: variables that layers before gave a name, by it.
    format: of the weights of what is being written, None for float32. drop_path: whether residual parts are left out
    at random in training, by the class's number `drop_path`. spared: what formats changed of the costs.
    """

    modules: dict[str, str] = field(default_factory=dict)
    buffers: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    owned: dict[str, tuple[ModuleLayer, Shape]] = field(default_factory=dict)
    helpers: dict[str, str] = field(default_factory=dict)
    helped: dict[str, object] = field(default_factory=dict)
    outlined: dict[tuple[object, ...], Outlined] = field(default_factory=dict)
    repeated: frozenset[tuple[object, ...]] = frozenset()
    prefix: str = ""
    place: Origin = ROOT
    writing: object = None
    origins: dict[str, Origin] = field(default_factory=dict)
    format: Modifier | None = None
    drop_path: bool = False
    spared: Spared = field(default_factory=Spared)
    contexts: dict[str, str] = field(default_factory=dict)
    _formatted: dict[str, tuple[int, int]] = field(default_factory=dict)  # module -> its weights, output channels
    _lines: list[_Line] = field(default_factory=list)
    _shapes: dict[str, Shape] = field(default_factory=dict)
    _strides: dict[str, int] = field(default_factory=dict)  # of columns behind strides, over the network's own steps
    _bases: dict[str, str] = field(default_factory=dict)  # the variable whose storage a view shows
    _kept: set[str] = field(default_factory=set)
    _learned: set[str] = field(default_factory=set)  # variables, modules and parameters that gradients reach
    _extra: int = 0
    _saved: int = 0
    _widest: int = 0  # line inside a class
    _copies: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _taken: dict[str, object] = field(default_factory=dict)  # attribute -> the layer that it is of

    def after(self) -> Builder:
        """An empty Builder for the part of a network behind this one: its submodules are numbered on."""
        return Builder(
            repeated=self.repeated,
            format=self.format,
            drop_path=self.drop_path,
            _counts=self._counts,
            _taken=self._taken,
        )

    def module(self, code: str, name: str, *, trained: bool = True, numbered: bool = True) -> str:
        """Adds a submodule or parameter made by `code`; returns how forward speaks of it ("self.conv3").

        trained: whether it has parameters. numbered: False for what there is once, as the head, and has this very name;
        LayerError where another layer has it.
        """
        attribute = name
        if not numbered and name in self._taken:
            raise LayerError(
                f"{_spoken(self.writing)} and {_spoken(self._taken[name])} both have a submodule {name!r}; leave out "
                "`numbered=False`, so that each is called by a number"
            )
        while numbered and (attribute := f"{name}{self._counts[name] + 1}") in self._taken:
            self._counts[name] += 1  # "conv" eleven times, and "conv1" once
        self._counts[name] += 1
        self._taken[attribute] = self.writing
        if self.format is not None and (weights := weighted(code)) is not None:
            self._formatted[f"self.{attribute}"] = weights
            self.spared += _spared_weights(self.format, *weights)
            code = self.format.code(code)
            for source in self.format.sources:
                self.helper(source)
        self.modules[attribute] = code
        self.origins[attribute] = self.place
        if trained:
            self._learned.add(f"self.{attribute}")
        return f"self.{attribute}"

    def buffer(self, code: str, name: str, *, drawn: bool = False) -> str:
        """Adds a tensor made by `code` that is saved with the weights and not trained; returns as `module` does.

        drawn: at random, so that it passes on from parent to child as weights do. What is computed passes on between
        equal layers alone.
        """
        attribute = self.module(code, name, trained=False)
        plain = attribute.removeprefix("self.")
        self.buffers.add(plain)
        if not drawn:
            self.computed.add(plain)
        return attribute

    def progress(self) -> str:
        """How forward speaks of the share of training that is done: a scalar from 0 to 1, and 1 in what is trained.

        A training sets every buffer of this name (see `evaluation.step`); in a module that nobody trains it is 1.
        """
        if PROGRESS not in self.modules:  # no use of a layer is its origin: it is of all layers that ask for it
            self.modules[PROGRESS] = "torch.ones(())"
            self.buffers.add(PROGRESS)
            self._taken[PROGRESS] = self.writing
        return f"self.{PROGRESS}"

    def penalty(self, x: str, code: str, *, extra: int = 0) -> str:
        """Has training lower a scalar beside the loss: `code`, with `x` put into its braces.

        Returns what stands for `x` from now on: the same numbers, whose backward pass adds the scalar's gradient. So
        it works in any training loop, and the loss that is told does not hold it. extra: scalars that backward needs.
        """
        self.helper(PENALTY)
        code = "penalised({0}, " + code.replace("{}", "{0}") + ") if self.training else {0}"
        return self.line(code, x, shape=self._shapes[x], extra=extra, view=True)

    def helper(self, source: str) -> None:
        """Has the source define a helper, a function or class, whose `def name(` or `class Name(` begins `source`.

        They stand in alphabetical order; a base class has a name that comes first. Raises LayerError where there is
        another helper of this name.
        """
        found = re.search(r"^(?:def|class) (\w+)\(", source, re.MULTILINE)
        assert found is not None, "a helper is a function or a class"
        self.help({found.group(1): source}, {found.group(1): self.writing})

    def help(self, helpers: Mapping[str, str], layers: Mapping[str, object]) -> None:
        """Adds helpers by name, and the layers that they are of. Raises LayerError where two of one name differ."""
        for name, source in helpers.items():
            if self.helpers.setdefault(name, source).strip() != source.strip():
                raise LayerError(
                    f"{_spoken(self.helped[name])} and {_spoken(layers[name])} have different helpers of one name, "
                    f"{name!r}; rename that of your own layer"
                )
            self.helped.setdefault(name, layers[name])

    def line(
        self,
        code: str,
        *inputs: str,
        shape: Shape,
        keeps: str = "",
        extra: int = 0,
        view: bool = False,
        float32: bool = False,
        stride: int = 1,
    ) -> str:
        """Adds `variable = code`, with the inputs put into the code's braces; returns the variable.

        keeps: what backward needs, the inputs ("in"), the output ("out") or both ("in out"); extra: further scalars.
        view: the output shows the first input's storage. float32: CUDA's autocast computes it so. stride: of a column,
        that its steps are every so many of the input's.
        """
        (output,) = self._add(code, inputs, 1, shape, inputs[0] if view else None)
        if stride > 1:
            self._strides[output] = stride * self.stride(output)
        for module in re.findall(r"(self\.\w+)\(", code) if self._formatted else ():
            if module in self._formatted and self.format is not None:
                weights, channels = self._formatted[module]
                multiplied = weights * math.prod(shape) // channels
                held = self.format.copies * math.prod(self._shapes[inputs[0]])
                self.spared += _spared_work(self.format, multiplied, held)
                extra += held
        if self._learned.intersection((*inputs, *re.findall(r"self\.\w+", code))):
            self._learned.add(output)  # backward comes this way
            if keeps:
                kept = (*(inputs if "in" in keeps else ()), *((output,) if "out" in keeps else ()))
                self._kept.update(self._bases[v] for v in kept)
                scalars = sum(math.prod(self._shapes[v]) for v in kept)
                self._saved += scalars
                if float32:
                    self._copies += scalars
            self._extra += extra
        return output

    def lines(self, code: str, x: str, *, count: int, shape: Shape) -> tuple[str, ...]:
        """Adds `a, b, ... = code`: `count` views of `x`, each of the given shape."""
        outputs = self._add(code, (x,), count, shape, x)
        if x in self._learned:
            self._learned.update(outputs)
        return outputs

    def own(self, layer: ModuleLayer, x: str, inputs: Shape, output: Shape) -> str:
        """Adds an own layer that has no code, only a `module`: it can be built, and not exported."""
        attribute = self.module("", "".join(c if c.isalnum() else "_" for c in layer.name) + "_").removeprefix("self.")
        self.owned[attribute] = (layer, inputs)
        return self.line(f"self.{attribute}({{}})", x, shape=output, keeps=layer.saves)

    def reached(self, variable: str) -> bool:
        """Whether gradients reach the variable: backward needs what follows from it."""
        return variable in self._learned

    def nested(self) -> Builder:
        """An empty Builder for what is inside a class, which shares the helpers of this one."""
        return Builder(helpers=self.helpers, helped=self.helped, format=self.format, drop_path=self.drop_path)

    def dropped(self, path: str) -> str:
        """The variable of a residual part, left out at random where the network is trained so; else as it is."""
        if not self.drop_path:
            return path
        self.helper(DROP_PATH)
        shape = self.shape(path)
        return self.line(f"drop_path({{}}, self.drop_path, {len(shape)}, self.training)", path, shape=shape, extra=1)

    def give(self, name: str, value: str) -> None:
        """Has all layers that are written from now on find the variable `value` under a name, see `context`."""
        self.contexts[name] = value

    def context(self, name: str) -> str | None:
        """The variable that a layer before gave this name; None where none did.

        `mask`: (N, S) bool, which steps of a series are there; see `evosearch.layers.library.masked`.
        """
        return self.contexts.get(name)

    def stride(self, variable: str) -> int:
        """How many of the network's own steps, from one to the next, those of a column are apart."""
        return self._strides.get(variable, 1)

    def begin(self, shape: Shape, outer: Builder, x: str, *, trained: bool) -> str:
        """An input that is the outer `x`: what is known in the network around a block's class is known in it, too."""
        start = self.start(shape, trained=trained)
        if (stride := outer.stride(x)) > 1:
            self._strides[start] = stride
        for name, value in outer.contexts.items():
            self.give(name, self.start(outer.shape(value)))
        return start

    def arguments(self) -> list[str]:
        """What forward of a block's class takes behind its input: the names of the contexts that its lines use."""
        used = {variable for line in self._lines for variable in line.inputs}
        made = {variable for line in self._lines for variable in line.outputs}
        return [name for name, value in self.contexts.items() if value in used - made]

    def call(self, block: Outlined, name: str, x: str, shape: Shape) -> str:
        """Adds a submodule of an outlined class and the line that calls it; what it keeps inside counts once a call."""
        inner, start, end = block.build, block.start, block.end
        code = f"{block.name}()"
        module = self.module(code, name, trained=bool(inner._learned - {start}))
        attribute = module.removeprefix("self.")
        for below, origin in inner.origins.items():
            self.origins[f"{attribute}.{below}"] = origin.below(self.place)
        self.computed |= {f"{attribute}.{below}" for below in inner.computed}
        ends = {start: "in", end: "out"} if start != end else {start: "in"}
        kept = {variable: side for variable, side in ends.items() if variable in inner._kept}
        extra = inner.held() - sum(math.prod(inner._shapes[variable]) for variable in kept)
        self._copies += inner._copies
        self.spared += inner.spared
        self._widest = max(self._widest, inner.working().widest)
        beside = [self.contexts[name] for name in inner.arguments()]
        code = f"{module}({', '.join(['{}'] * (1 + len(beside)))})"
        output = self.line(code, x, *beside, shape=shape, keeps=" ".join(kept.values()), extra=extra)
        if (stride := inner.stride(end)) > 1:
            self._strides[output] = stride
        self._lines[-1].inside = inner.inside(start, end)
        return output

    def shape(self, variable: str) -> Shape:
        return self._shapes[variable]

    def held(self) -> int:
        """Scalars that backward holds for one example: each stored tensor once, however many layers need it."""
        return self._extra + sum(math.prod(self._shapes[base]) for base in self._kept)

    def saved(self) -> int:
        """Scalars that backward needs, a tensor that two lines need counted for both, as in Cost.activations."""
        return self._extra + self._saved

    def working(self) -> Working:
        """What training needs of memory for one example."""
        widths = [
            sum(math.prod(self._shapes[v]) for v in (*line.inputs, *line.outputs))
            for line in self._lines
            if any(self._bases[v] == v for v in line.outputs)  # a view writes nothing
        ]
        return Working(self.held(), self._copies, max([*widths, self._widest]))

    def peak(self, x: str, output: str) -> int:
        """Scalars of one example that the lines hold at once, at the most: what is still needed, and what is written.

        x: the input, which counts for as long as a line needs it. output: what is returned, kept to the end. Tensors
        that a line makes for itself and views, which hold nothing, are not counted; those of a block's class are.
        """
        last = {self._bases[v]: n for n, line in enumerate(self._lines) for v in line.inputs}
        last[self._bases[output]] = len(self._lines)
        live = {self._bases[x]} if self._bases[x] in last else set()
        held = most = sum(math.prod(self._shapes[v]) for v in live)
        for number, line in enumerate(self._lines):
            new = {v for v in line.outputs if self._bases[v] == v}
            written = sum(math.prod(self._shapes[v]) for v in new)
            most = max(most, held + max(written, line.inside))
            live |= new
            held += written
            gone = {v for v in live if last.get(v, -1) <= number}
            held -= sum(math.prod(self._shapes[v]) for v in gone)
            live -= gone
        return most

    def inside(self, x: str, output: str) -> int:
        """The peak of a class's lines beside its input, which whoever called it holds until they are done."""
        kept = Builder(_shapes=self._shapes, _bases=self._bases)
        kept._lines = [*self._lines, _Line("", (x,), ())]
        return kept.peak(x, output) - math.prod(self._shapes[x])

    def is_taken(self, name: str) -> bool:
        """Whether a submodule has this name."""
        return name in self._taken

    def start(self, shape: Shape, *, trained: bool = False) -> str:
        """A variable that is there. trained: whether gradients reach it."""
        (x,) = self._new(1, shape, None)
        if trained:
            self._learned.add(x)
        return x

    def forward(self, x: str, output: str) -> list[str]:
        """The lines of forward's body. A name is used again as soon as what it stands for is no longer needed."""
        last = {variable: number for number, line in enumerate(self._lines) for variable in line.inputs}
        named = {value: name for name, value in self.contexts.items()}
        names = {**named, x: "x"}
        free: list[int] = []
        used = 1
        lines: list[str] = []
        for number, line in enumerate(self._lines):
            inputs = [names[variable] for variable in line.inputs]
            ending = [v for v in dict.fromkeys(line.inputs) if last[v] == number and v not in (output, *named)]
            stale = {_index(names.pop(variable)) for variable in ending}
            free = sorted([*free, *stale])
            for variable in line.outputs:
                if variable in named:
                    continue
                if not free:
                    free, used = [used], used + 1
                index = free.pop(0)
                stale.discard(index)
                names[variable] = _name(index)
            targets = ", ".join(names[variable] for variable in line.outputs)
            lines.append(f"{targets} = {line.code.format(*inputs)}  # {show(self._shapes[line.outputs[0]])}")
            unread = [v for v in line.outputs if v not in last and v not in (output, *named)]
            unread_indices = {_index(names.pop(variable)) for variable in unread}
            free = sorted([*free, *unread_indices])
            dropped = sorted(stale | unread_indices)
            if dropped and number + 1 < len(self._lines):
                lines.append(f"del {', '.join(map(_name, dropped))}")
        lines.append(f"return {names[output]}")
        return lines

    def _add(self, code: str, inputs: tuple[str, ...], count: int, shape: Shape, base: str | None) -> tuple[str, ...]:
        outputs = self._new(count, shape, base)
        if self._strides and (stride := max(map(self.stride, inputs), default=1)) > 1:
            self._strides.update(dict.fromkeys(outputs, stride))
        self._lines.append(_Line(code, inputs, outputs))
        return outputs

    def _new(self, count: int, shape: Shape, base: str | None) -> tuple[str, ...]:
        variables = tuple(f"v{len(self._shapes) + number}" for number in range(count))
        for variable in variables:
            self._shapes[variable] = shape
            self._bases[variable] = variable if base is None else self._bases[base]
        return variables


def _spoken(layer: object) -> str:
    """A layer as errors name it: `linear (Linear)`."""
    cls = type(layer).__name__
    return "a layer" if layer is None else f"{name} ({cls})" if (name := getattr(layer, "name", "")) else cls


WEIGHTED = re.compile(r"nn\.(Linear|Conv[123]d)\((.*)\)")


def weighted(code: str) -> tuple[int, int] | None:
    """(weights, output channels) of the linear or convolution layer that code makes; None of another module."""
    found = WEIGHTED.fullmatch(code)
    if found is None:
        return None
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    inputs, outputs, *more = [ast.literal_eval(argument) for argument in call.args]
    if found[1] == "Linear":
        return inputs * outputs, outputs
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    kernel = more[0] if more else named["kernel_size"]
    axes = int(found[1][4])
    places = math.prod(kernel) if isinstance(kernel, tuple) else kernel**axes
    return inputs // named.get("groups", 1) * outputs * places, outputs


def _spared_weights(format: Modifier, weights: int, channels: int) -> Spared:
    stored = math.ceil(weights * format.density * format.weight_bits)
    return Spared(params=channels if format.scales else 0, bits=FULL * weights - stored)


def _spared_work(format: Modifier, multiplied: int, held: int) -> Spared:
    bits = min(format.weight_bits, FULL) * min(format.input_bits, FULL)
    return Spared(activations=held, bitops=FULL * FULL * multiplied - math.ceil(multiplied * format.density * bits))


def _name(index: int) -> str:
    return f"x{index}" if index else "x"


def _index(name: str) -> int:
    return int(name[1:] or 0)
