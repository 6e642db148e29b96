"""Weights that pass on: a child network begins with those of its parent, as far as the two are alike.

The typed trees of parent and child are aligned from the root down. Equal layers copy their weights; a layer that
changed copies what overlaps, and what it takes in beyond that begins at zero; a new residual begins as the identity.
So a child computes what its parent does wherever that can be had: with a residual more (as in fixup and ReZero
initialisations), with more channels (the exact case of network morphisms, Wei et al. 2016: the new channels are read
with weight zero), with larger kernels (zero around the old one), with a part that is computed twice and summed, the
weights of whose last layers are half.

Sources: Net2Net (Chen, Goodfellow and Shlens 2016); EAS (Cai et al. 2018); network morphism (Wei et al. 2016).
"""

from __future__ import annotations

import difflib
import functools
import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from evosearch import network
from evosearch.architecture import Architecture, deep_recursion
from evosearch.layers import residuals
from evosearch.layers.base import Derived, Leaf, Series, width
from evosearch.layers.builder import is_progress

if TYPE_CHECKING:
    from torch import Tensor

    from evosearch.layers.builder import Path
    from evosearch.layers.node import Layer, Node

Weights = Mapping[str, "Tensor"]


@dataclass(eq=False)
class Use:
    """A use of a layer in a network. names: the submodules and parameters that it added, in order. parts: below it.
    computed: among the network's names, those of tensors that follow from their layers.
    """

    node: Node
    names: tuple[str, ...]
    parts: tuple[Use, ...]
    computed: frozenset[str]

    @cached_property
    def signature(self) -> str:
        """Equal for sub-trees that are the same layers, whatever their shapes."""
        return f"{self.node.layer!r}({','.join(part.signature for part in self.parts)})"

    @property
    def is_named(self) -> bool:
        """Whether it or anything below it added a submodule or parameter."""
        return bool(self.names) or any(part.is_named for part in self.parts)

    @property
    def series(self) -> list[Use]:
        """What is computed one after the other, nested series laid flat."""
        if not isinstance(self.node.layer, Series):
            return [self]
        return [one for part in self.parts for one in part.series]


class Inherited(NamedTuple):
    """What a child took over. weights: its state, by name. copied, of: scalars that came from the parent, of all."""

    weights: dict[str, Tensor]
    copied: int
    of: int


def inherit(parent: Architecture, weights: Weights, child: Architecture, fresh: Weights) -> Inherited:
    """The child's weights, from its parent's where they are alike and `fresh` elsewhere.

    weights: the parent's state dict; fresh: the child's, newly initialised; neither is changed. Running statistics and
    what is drawn at random pass on as weights do, what layers compute between equal ones alone. For trees nested deeper
    than Python can hold: raises ArchitectureError.
    """
    found = {name: value.clone() for name, value in fresh.items()}
    copied: dict[str, int] = {}
    with deep_recursion(parent.derivation.depth + child.derivation.depth):
        for action in _aligned(_line(parent), _line(child)):
            if isinstance(action, _Narrowed):
                weights = _by_importance(action, weights)
                continue
            if isinstance(action, _Scaled):
                for name in _tensors(action.use, found):
                    if found[name].is_floating_point():
                        found[name] = _scaled(name, found[name], action.factor)
                continue
            for old, new in _pairs(action, weights, found):
                own = _folded(weights[old], found[new])
                found[new], copied[new] = _overlap(own, found[new], action.blocks, _passes(action.child))
    return Inherited(found, sum(copied.values()), sum(v.numel() for name, v in found.items() if not is_progress(name)))


def preserves(parent: Architecture, child: Architecture) -> bool:
    """Whether a child with its parent's weights surely computes what the parent does: no weight is looked at.

    So it is where layers of the parent have more channels or larger kernels, which nothing but layers of one channel
    each lies behind before all channels are read by weights, where residuals came in that begin as the identity, and
    where a part is computed twice at half of its weights.
    """
    with deep_recursion(parent.derivation.depth + child.derivation.depth):
        before, after, kept = _line(parent), _line(child), _Kept([], set())
        if parent.input != child.input or not _keeps(before, after, kept):
            return False
        # Weights go where layers are aligned: to another place where a layer has become what its neighbour is.
        actions = list(_aligned(before, after))
        scaled = {id(action.use) for action in actions if isinstance(action, _Scaled) and action.factor}
        pairs = {(id(action.parent), id(action.child)) for action in actions if isinstance(action, _Pair)}
        return scaled == {id(use) for use in kept.halved} and kept.pairs <= pairs


# --- places ---------------------------------------------------------------------------------------------------------


def _line(architecture: Architecture) -> list[Use]:
    """Stem, steps and head as one series."""
    return [one for there in network.places(architecture) for one in _use(there.root, (), there).series]


def _use(node: Node, path: Path, there: network.Places) -> Use:
    """The tree below a node. A part that a layer writes several times is there as often, and what it writes besides its
    parts behind them, where that has weights.
    """
    inside, used = node.layer.inside(node.inputs), there.below.get(path, {})
    inner = dict(enumerate((inside,) if inside is not None else node.parts))
    inner |= {index: used[index, 0] for index, _ in sorted(used) if index not in inner}
    parts: list[Use] = []
    for index, part in inner.items():
        copy = 0
        while copy == 0 or (index, copy) in used:
            parts.append(_use(part, (*path, (index, copy)), there))
            copy += 1
    own = tuple(there.names.get(path, ()))
    if own and len(parts) == 1 and parts[0].node.cost.params == node.cost.params and not parts[0].is_named:
        parts[0].names, own = own, ()  # a layer and its part are one module, which has the part's weights
    return Use(node, own, tuple(parts), there.computed)


# --- alignment ------------------------------------------------------------------------------------------------------


class _Pair(NamedTuple):
    """Two uses of one layer. blocks: how often the channels that came before stand in their input, in a row."""

    parent: Use
    child: Use
    blocks: int


class _Scaled(NamedTuple):
    """A use whose weights begin at a share of what they are otherwise: at zero, or at half."""

    use: Use
    factor: float


class _Narrowed(NamedTuple):
    """A use of the parent that has fewer channels in the child; those of one channel each behind it, and who reads."""

    use: Use
    behind: tuple[Use, ...]
    reader: Use


Action: TypeAlias = "_Pair | _Scaled | _Narrowed"


def _aligned(parent: Sequence[Use], child: Sequence[Use]) -> Iterator[Action]:
    """What to do with two series: the longest common one is alike; between those, layers of one kind are."""
    after = {id(use): parent[index + 1 :] for index, use in enumerate(parent)}
    for action in _matches(parent, child):
        if isinstance(action, _Pair) and id(action.parent) in after and _narrower(action):
            behind = list(itertools.takewhile(_passes, after[id(action.parent)]))
            readers = after[id(action.parent)][len(behind) :]
            if readers and _mixes(readers[0]):
                yield _Narrowed(action.parent, tuple(behind), readers[0])
        yield action


def _narrower(pair: _Pair) -> bool:
    return _mixes(pair.parent) and width(pair.child.node.output) < width(pair.parent.node.output)


def _mixes(use: Use) -> bool:
    layer = _layer(use)
    return isinstance(layer, Leaf) and layer.mixes_channels


def _passes(use: Use) -> bool:
    layer = _layer(use)
    return isinstance(layer, Leaf) and layer.channelwise(use.node.inputs)


def _matches(parent: Sequence[Use], child: Sequence[Use]) -> Iterator[Action]:
    blocks = dict(zip(map(id, child), _blocks(child), strict=True))
    for same, olds, news in _matched([use.signature for use in parent], [use.signature for use in child]):
        old, new = [parent[i] for i in olds], [child[i] for i in news]
        if same:
            for one, other in zip(old, new, strict=True):
                yield from _alike(one, other, blocks[id(other)])
            continue
        for alike, a, b in _matched([type(u.node.layer) for u in old], [type(u.node.layer) for u in new]):
            if alike:
                for i, j in zip(a, b, strict=True):
                    yield from _alike(old[i], new[j], blocks[id(new[j])])
                continue
            for j in b:
                yield from _added_to(new[j], [old[i] for i in a])


def _matched(parent: Sequence[object], child: Sequence[object]) -> Iterator[tuple[bool, range, range]]:
    """Stretches of two sequences that are equal, and those between; the ranges of their indices."""
    for tag, a, b, c, d in difflib.SequenceMatcher(None, parent, child, autojunk=False).get_opcodes():
        yield tag == "equal", range(a, b), range(c, d)


def _alike(parent: Use, child: Use, blocks: int) -> Iterator[Action]:
    """Two uses of one class of layer: their own weights, and their parts' in order."""
    yield _Pair(parent, child, blocks)
    if len(parent.parts) != len(child.parts):
        yield from _aligned(parent.parts, child.parts)
        return
    for old, new in zip(parent.parts, child.parts, strict=True):
        yield from _aligned(old.series, new.series)


def _added_to(child: Use, parents: Sequence[Use]) -> Iterator[Action]:
    """A layer that the parent has not: what the parent has several times, or one put around it, or a residual."""
    ends = _multiple(child, parents)
    if ends:
        for part, end in zip(child.parts, ends, strict=True):
            yield from _aligned(parents, part.series)
            yield _Scaled(end, 1 / len(ends))
        return
    for part in child.parts:
        series = part.series
        if parents and any(use.signature == parents[0].signature for use in series):
            yield from _aligned(parents, series)
            return
    added = _added(child)
    last = [end for end in map(_last, added or ()) if end is not None]
    if added is not None and len(last) == len(added):
        yield from (_Scaled(end, 0.0) for end in last)


def _added(use: Use) -> list[Use] | None:
    """The parts whose outputs a residual adds to its input; None for what is no residual."""
    if not residuals.is_residual(use.node):
        return None
    if use.node.layer.inside(use.node.inputs) is not None:
        return _added(use.parts[0])
    return [use.parts[index] for index in residuals.added(use.node)] if len(use.parts) == len(use.node.parts) else None


def _multiple(use: Use, parents: Sequence[Use]) -> list[Use]:
    """Of a sum whose parts are each what the parent has in its place: the layer of each part whose weights scale what
    comes of it. Empty where it is none.
    """
    wanted = [(one.signature, one.node.inputs) for one in parents]
    alike = any(type(one.node.layer) is type(use.node.layer) for one in parents)  # it would be taken for that one
    if not wanted or alike or len(use.parts) < 2 or not residuals.is_multiple(use.node, len(use.parts)):
        return []
    if any([(one.signature, one.node.inputs) for one in part.series] != wanted for part in use.parts):
        return []
    ends = [end for end in map(_scaling, use.parts) if end is not None]
    return ends if len(ends) == len(use.parts) else []


def _scaling(use: Use) -> Use | None:
    """The leaf of whose weights a share makes that share of the use's output; None where there is none."""
    for one in reversed(use.series):
        layer = _layer(one)
        if layer.inside(one.node.inputs) is not None or not isinstance(layer, Leaf):
            return None
        if one.node.cost.params:
            return one if layer.scales else None
        if not layer.homogeneous:
            return None
    return None


def _last(use: Use) -> Use | None:
    """The leaf that makes the use's output zero where all its weights are; None where there is none."""
    for one in reversed(use.series):
        layer = _layer(one)
        if layer.inside(one.node.inputs) is not None:
            return _last(one.parts[0])
        if not isinstance(layer, Leaf):
            return None
        if one.node.cost.params:
            return one if layer.vanishes else None
        if not layer.keeps_zero:
            return None
    return None


class _Kept(NamedTuple):
    """What a function hangs on that is kept. halved: layers that have to begin with a share of their weights. pairs:
    ids of layers with weights, the parent's and the child's that has to begin with them.
    """

    halved: list[Use]
    pairs: set[tuple[int, int]]


def _keeps(parent: Sequence[Use], child: Sequence[Use], kept: _Kept) -> bool:
    """Whether a series computes what the parent's does, on equal inputs, and ends with as many channels.

    kept: gets what that hangs on.
    """
    waiting = list(parent)
    grown = False  # whether there are channels, behind the parent's own, that the parent has not
    for use in child:
        old = waiting[0] if waiting else None
        if old is not None and type(use.node.layer) is type(old.node.layer):
            after = _grown(old, use, grown, kept)
            if after is not None:
                if isinstance(_layer(use), Leaf) and use.node.cost.params:
                    kept.pairs.add((id(old), id(use)))
                grown = after
                del waiting[0]
                continue
        size = len(use.parts[0].series) if use.parts else 0
        ends = [] if grown else _multiple(use, waiting[:size])
        if ends:
            kept.halved.extend(ends)
            del waiting[:size]
            continue
        added = _added(use)
        if grown or not added or any(_last(one) is None for one in added):
            return False
    return not waiting and not grown


def _grown(old: Use, new: Use, grown: bool, kept: _Kept) -> bool | None:
    """Whether there are channels that the parent has not behind a layer as before it; None where it keeps nothing."""
    before, after = _layer(old), _layer(new)
    if not (isinstance(before, Leaf) and isinstance(after, Leaf)) or after.inside(new.node.inputs) is not None:
        same = old.node.layer == new.node.layer and not grown and len(old.parts) == len(new.parts)
        pairs = zip(old.parts, new.parts, strict=True) if same else ()
        return False if same and all(_keeps(a.series, b.series, kept) for a, b in pairs) else None
    if before == after and not grown:
        return False
    if after.channelwise(new.node.inputs) and after.grows(before):
        return grown
    if after.mixes_channels and after.grows(before):
        return new.node.output != old.node.output
    return None


def _layer(use: Use) -> Layer:
    layer = use.node.layer
    return layer.at(use.node.inputs) if isinstance(layer, Derived) else layer


def _blocks(uses: Sequence[Use]) -> Iterator[int]:
    """For each use of a series, how often the channels that came before it stand in its input, in a row."""
    blocks = 1
    for use in uses:
        yield blocks
        layer = _layer(use)
        if isinstance(layer, Leaf) and (not use.node.cost.params or layer.channelwise(use.node.inputs)):
            blocks *= layer.channel_copies
        else:
            blocks = 1


# --- tensors --------------------------------------------------------------------------------------------------------


def _pairs(pair: _Pair, weights: Weights, fresh: Weights) -> list[tuple[str, str]]:
    """The names of the tensors that belong together in two uses of a layer."""
    old, new = pair.parent.names, pair.child.names
    if len(old) != len(new):
        return []
    found, equal = [], pair.parent.node.layer == pair.child.node.layer
    for one, other in zip(old, new, strict=True):
        if other in pair.child.computed and not equal:
            continue
        for name in fresh:
            if name == other or name.startswith(f"{other}."):
                twin = one + name.removeprefix(other)
                if twin in weights and _are_alike(_folded(weights[twin], fresh[name]), fresh[name]):
                    found.append((twin, name))
    return found


def _are_alike(old: Tensor, fresh: Tensor) -> bool:
    """Whether one may pass on to the other; whole numbers are counts, or places in a tensor of one size."""
    return old.shape == fresh.shape if not fresh.is_floating_point() else old.dim() == fresh.dim()


def _folded(old: Tensor, fresh: Tensor) -> Tensor:
    """The old weights of a convolution as those of the linear layer of its windows, where the fresh ones are such, and
    the other way about; others as they are.
    """
    if (old.dim(), fresh.dim()) == (4, 2):
        return old.flatten(1)
    if (old.dim(), fresh.dim()) == (2, 4) and old.shape[1] % fresh.shape[2:].numel() == 0:
        return old.reshape(len(old), -1, *fresh.shape[2:])
    return old


def _tensors(use: Use, fresh: Weights) -> list[str]:
    return [name for name in fresh for own in use.names if name == own or name.startswith(f"{own}.")]


def _by_importance(narrowed: _Narrowed, weights: Weights) -> dict[str, Tensor]:
    """The same network with the channels of one layer in another order: those with the largest weights first.

    Source: the L1 norm of a filter's weights (Li et al. 2017, "Pruning filters for efficient convnets").
    """
    channels = width(narrowed.use.node.output)
    own = [name for name in _tensors(narrowed.use, weights) if weights[name].dim() > 1]
    if not own or any(weights[name].shape[0] != channels for name in own):
        return dict(weights)
    sums = [weights[name].abs().flatten(1).sum(1) for name in own]
    order = functools.reduce(operator.add, sums).argsort(descending=True, stable=True)
    found = dict(weights)
    for use in (narrowed.use, *narrowed.behind):
        for name in _tensors(use, weights):
            if weights[name].dim() and weights[name].shape[0] == channels:
                found[name] = weights[name][order]
    for name in _tensors(narrowed.reader, weights):
        value = weights[name]
        if value.dim() > 1 and value.shape[1] % channels == 0:
            blocks = range(0, value.shape[1], channels)
            found[name] = value[:, [start + index for start in blocks for index in order.tolist()]]
    return found


def _scaled(name: str, value: Tensor, factor: float) -> Tensor:
    """A share of the value; the statistics of a norm stay."""
    return value if name.endswith(("running_mean", "running_var")) else value * factor


def _overlap(old: Tensor, fresh: Tensor, blocks: int = 1, channelwise: bool = False) -> tuple[Tensor, int]:
    """The fresh tensor with what overlaps of the old one, and how many scalars that is.

    Axis 0 counts outputs, axis 1 inputs, both from the first on; further axes are a kernel's, from its centre. The old
    outputs do not see new inputs, nor what is new around their kernels. blocks: in which the inputs stand; where each
    channel passes by itself, they are the outputs too.
    """
    if old.shape == fresh.shape:
        return old.to(fresh.dtype).clone(), old.numel()
    axis = 0 if channelwise else 1
    if blocks > 1 and fresh.dim() > axis and fresh.shape[axis] % blocks == 0 and old.shape[axis] % blocks == 0:
        parts = [_overlap(*both) for both in zip(old.chunk(blocks, axis), fresh.chunk(blocks, axis), strict=True)]
        import torch

        return torch.cat([part for part, _ in parts], dim=axis), sum(count for _, count in parts)
    if fresh.dim() < 2:
        count = min(old.numel(), fresh.numel())
        result = fresh.clone()
        result[:count] = old[:count].to(fresh.dtype)
        return result, count
    kept, taken = [], []
    for axis, (was, now) in enumerate(zip(old.shape, fresh.shape, strict=True)):
        count, centred = min(was, now), axis > 1
        kept.append(slice((now - count) // 2, (now - count) // 2 + count) if centred else slice(0, count))
        taken.append(slice((was - count) // 2, (was - count) // 2 + count) if centred else slice(0, count))
    result = fresh.clone()
    result[kept[0]] = 0
    part = old[tuple(taken)]
    result[tuple(kept)] = part.to(fresh.dtype)
    return result, part.numel()


__all__ = ["Inherited", "inherit", "preserves"]
