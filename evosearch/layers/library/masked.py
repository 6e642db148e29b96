"""Series of unequal length: which of their steps are there, for layers that ask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evosearch.layers.base import Shape, ShapeError, WrittenLeaf

if TYPE_CHECKING:
    from evosearch.layers.base import Emission, Leaf
    from evosearch.layers.builder import Builder
    from evosearch.layers.node import Node

MASK = "mask"

STEPS_THERE = '''
def steps_there(x):
    """Which steps of series (N, S, D) are there, as the last number of each says: (N, S). The first always is."""
    there = x[:, :, -1] > 0.5
    return torch.cat([torch.ones_like(there[:, :1]), there[:, 1:]], dim=1)
'''

MASKED_MEAN = '''
def masked_mean(x, mask):
    """The mean over those steps of columns (N, S, D) that are there: (N, D)."""
    return x.masked_fill(~mask.unsqueeze(2), 0).sum(1) / mask.sum(1, keepdim=True)
'''

MASKED_NORM = '''
def masked_norm(norm, x, mask):
    """Batch norm of columns (N, D, S) over the steps that are there; the others are zero behind it."""
    behind = ~mask.unsqueeze(1)
    if not norm.training:
        return norm(x).masked_fill(behind, 0)
    count, dtype = mask.sum(), x.dtype
    if not x.is_cuda and count > 1:  # the quicker way, whose shapes hang on the data, as no CUDA graph can have them
        there = norm(x.transpose(1, 2)[mask])
        return there.new_zeros(*mask.shape, x.shape[1]).index_put((mask,), there).transpose(1, 2)
    x = x.to(norm.weight.dtype)
    mean = x.masked_fill(behind, 0).sum((0, 2)) / count
    x = (x - mean.unsqueeze(1)).masked_fill(behind, 0)
    variance = x.square().sum((0, 2)) / count
    with torch.no_grad():  # as torch's own norm remembers them, the variance without bias
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * count / (count - 1).clamp(min=1), norm.momentum)
    x = x * (norm.weight * torch.rsqrt(variance + norm.eps)).unsqueeze(1) + norm.bias.unsqueeze(1)
    return x.masked_fill(behind, 0).to(dtype)
'''

FLIPPED = '''
def flipped(x, mask):
    """The steps of columns (N, S, D) that are there in reverse order; then those that are not, so too."""
    last, steps = mask.sum(1, keepdim=True) - 1, torch.arange(x.shape[1], device=x.device)
    return x.gather(1, ((last - steps) % x.shape[1]).unsqueeze(2).expand_as(x))
'''


class Marked(WrittenLeaf):
    """Takes off the last number of each step, which is 1 where the series is there and 0 behind its end."""

    def fits_axes(self, axes: int, want_axes: int | None) -> bool:
        return axes == 2 and want_axes in (None, 2)

    def shape(self, x: Shape) -> Shape:
        if len(x) != 2 or x[1] < 2:
            raise ShapeError("{}: {} has no steps of two numbers or more", self.name, x)
        return (x[0], x[1] - 1)

    def params(self, x: Shape) -> int:
        return 0


@dataclass(frozen=True)
class Unmasked(Marked):
    """(S, D) -> (S, D - 1): the series as they are, without the last number of each step."""

    name: ClassVar[str] = "unmasked"

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        return build.line("{}[:, :, :-1]", x, shape=node.output, view=True)


@dataclass(frozen=True)
class Masked(Marked):
    """(S, D) -> (S, D - 1): what stands before networks for series of unequal length.

    It takes off the last number of each step, 1 where the series is there and 0 behind its end. What is behind becomes
    zero, and batch norms, means, maxima, last steps, scales and attention are of the steps that are there: they find
    these in the context `mask`. Before layers that rearrange steps, for which no mask would be right, is `unmasked`.
    """

    name: ClassVar[str] = "masked"

    def before(self, root: Node) -> Leaf:
        return self if keeps_steps(root) else Unmasked()

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper(STEPS_THERE)
        mask = build.line("steps_there({})", x, shape=node.inputs[:1])
        build.give(MASK, mask)
        x = build.line("{}[:, :, :-1]", x, shape=node.output, view=True)
        return zero_behind(x, mask, build)


def keeps_steps(root: Node) -> bool:
    """Whether all layers of a tree that reads a column keep its steps in their order, until they are pooled."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if (inside := node.layer.inside(node.inputs)) is not None:
            waiting.append(inside)
            continue
        pooled = len(node.output) == 1 or node.output[0] == 1
        if not pooled and not (len(node.inputs) == 2 and node.layer.keeps_steps):
            return False
        waiting += node.parts
    return True


def mask_of(x: str, build: Builder) -> str | None:
    """The variable of the mask (N, S) of a column's own steps; None where none is known.

    Behind strides it has every so many of the series' steps: that at which a convolution's kernel has its middle, or a
    window without padding begins.
    """
    shape = build.shape(x)
    return mask_at(x, shape[0], build) if len(shape) == 2 else None


def mask_at(x: str, steps: int, build: Builder) -> str | None:
    """As `mask_of`, for a variable that holds so many steps on whatever axis."""
    mask = build.context(MASK)
    if mask is None:
        return None
    (whole,), stride = build.shape(mask), build.stride(x)
    if steps == whole and stride == 1:
        return mask
    if steps > -(-whole // stride):  # made longer again
        return build.line(f"F.interpolate({{}}[:, None].float(), {steps})[:, 0] > 0.5", mask, shape=(steps,))
    every = f"::{stride}" if steps == -(-whole // stride) else f":{steps * stride}:{stride}"
    return build.line(f"{{}}[:, {every}]", mask, shape=(steps,), view=True)


def batch_norm(x: str, axes: int, channels: int, build: Builder) -> str:
    """The variable of x (N, channels, ...), so many axes without the batch's and the channels', behind a batch norm.

    Of columns of which a mask is known it is over the steps that are there.
    """
    shape = build.shape(x)
    norm = build.module(f"nn.BatchNorm{axes}d({channels})", "norm")
    if axes == 1 and (mask := mask_at(x, shape[-1], build)):
        build.helper(MASKED_NORM)
        extra = math.prod(shape) + shape[-1]
        return build.line(f"masked_norm({norm}, {{}}, {{}})", x, mask, shape=shape, extra=extra)
    return build.line(f"{norm}({{}})", x, shape=shape, keeps="in")


def zero_behind(x: str, mask: str, build: Builder) -> str:
    """The variable of a column whose steps that are not there are zero."""
    return build.line("{}.masked_fill(~{}.unsqueeze(2), 0)", x, mask, shape=build.shape(x))


def max_pool(code: str, x: str, axis: int, build: Builder, *, shape: Shape, stride: int = 1, extra: int) -> str:
    """The variable of maxima of windows over a column's steps, by code that calls torch's function. axis: of the steps.

    Where a mask is known, what is behind the end counts as what is outside, for nothing; where no step of a window is
    there, it is zero.
    """
    other = 3 - axis  # the axis that a mask has not
    if mask := mask_at(x, build.shape(x)[axis - 1], build):
        x = build.line(f"{{}}.masked_fill(~{{}}.unsqueeze({other}), -torch.inf)", x, mask, shape=build.shape(x))
    x = build.line(code, x, shape=shape, keeps="in", extra=extra, stride=stride)
    if mask and (mask := mask_at(x, shape[axis - 1], build)):
        x = build.line(f"{{}}.masked_fill(~{{}}.unsqueeze({other}), 0)", x, mask, shape=shape)
    return x


def masked_mean(x: str, mask: str, build: Builder) -> str:
    """The variable of the mean (N, D) over the steps of a column that are there."""
    build.helper(MASKED_MEAN)
    return build.line("masked_mean({}, {})", x, mask, shape=build.shape(x)[1:])


def masked_max(x: str, mask: str, build: Builder) -> str:
    """The variable of the maximum (N, D) over the steps of a column that are there."""
    steps, features = build.shape(x)
    code = "{}.masked_fill(~{}.unsqueeze(2), -torch.inf).amax(dim=1)"
    return build.line(code, x, mask, shape=(features,), extra=(steps + 1) * features)


def flipped(x: str, build: Builder) -> str:
    """The variable of a column with its steps in reverse order; where a mask is known, of those that are there, so that
    the mask holds for it too. Twice is none.
    """
    mask, shape = mask_of(x, build), build.shape(x)
    if mask is None:
        return build.line("{}.flip(1)", x, shape=shape)
    build.helper(FLIPPED)
    return build.line("flipped({}, {})", x, mask, shape=shape, keeps="in", extra=2 * shape[0])
