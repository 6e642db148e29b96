"""Recipe + network + task -> Score: many small trainings of networks nobody has seen, each as cheap as it can be.

The data set lives on the device in its stored dtype where it fits; one permutation an epoch; batches are gathered,
normalised and augmented there. Nothing in a step waits for the device: the loss is summed on it and looked at every
20 steps. What goes wrong with a candidate is a Score with a status; only mistakes of the caller are raised.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import math
import os
import time
import traceback
import weakref
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from evosearch.cost import Cost
from evosearch.errors import ConfigError, ShapeError
from evosearch.score import Score, Status, evaluation_seed
from evosearch.tasks.base import Split, Task
from evosearch.tasks.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import torch
    from torch import Tensor, nn

    from evosearch.layers.builder import Working

log = logging.getLogger(__name__)

CHECK_EVERY = 20  # steps between looks at the loss; a look waits for the device
ONE_CYCLE_RISE = 0.3  # share of the steps in which one-cycle rises where no warm-up is given, as torch's default
AUGMENTATIONS = ("crop", "flip", "cutout")

Augmentation = Literal["crop", "flip", "cutout"]


@dataclass(frozen=True)
class Recipe:
    """How a candidate is trained. The defaults are those of einspace (Ericsson et al. 2024, section 5).

    epochs: passes over the train split; an incomplete last batch is left out of each.
    batch: examples in a step.
    optimizer: sgd or adamw.
    lr: learning rate, the largest of the schedule.
    momentum: of SGD; AdamW's first beta.
    nesterov: whether SGD's momentum is Nesterov's.
    weight_decay: on the weights of linear and convolution layers only, not on norms, biases or positional encodings.
    schedule: cosine falls from lr to 0; onecycle rises from lr/25 and falls to lr/250,000, as torch's; constant.
    warmup: epochs in which the rate rises linearly to lr; for onecycle the length of its rise (0: 30 % of the steps).
    label_smoothing: share of the target probability that is spread evenly over all classes.
    clip: largest L2 norm of the whole gradient; 0 for no limit.
    precision: auto is bfloat16 autocast on CUDA, float32 elsewhere. On a processor with AVX-512 BF16 or AMX, bfloat16
        takes a third off most trainings on images; auto leaves it out there, so that scores do not hang on it.
    augment: crop (shift by up to an eighth, zeros outside), flip (left-right), cutout (a square of a quarter's side).
    deterministic: same seed, same score; bit for bit on CPU at one thread count.
    stop: median ends a training whose curve lies under the median of those known when it was proposed.
    seed: the training seeds of all candidates derive from it and their keys.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: int = 8
    batch: int = 256
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.04
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    schedule: Literal["cosine", "onecycle", "constant"] = "cosine"
    warmup: float = 0.0
    label_smoothing: float = 0.0
    clip: float = 0.0
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    augment: tuple[Augmentation, ...] = ()
    deterministic: bool = True
    stop: Literal["off", "median"] = "off"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 2), ("weight_decay", 0), ("warmup", 0), ("clip", 0)):
            if not getattr(self, name) >= least:
                raise ConfigError(f"recipe.{name} is {getattr(self, name)}; it must be at least {least}")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ConfigError(f"recipe.lr is {self.lr}; it must be a number above 0")
        for name in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"recipe.{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        unknown = [name for name in self.augment if name not in AUGMENTATIONS]
        if unknown:
            raise ConfigError(f"recipe.augment: no augmentation '{unknown[0]}'; there are {', '.join(AUGMENTATIONS)}")

    def digest(self, device: str = "cpu", *, threads: int = 1) -> str:
        """32 hex digits over all but the seed, the device's kind ("cpu", "cuda"), the precision used there, and the
        threads of a training: sums round differently with their number.
        """
        kind = device.partition(":")[0]
        fields = {**asdict(self), "device": kind, "precision": self.precision_on(kind)}
        del fields["seed"]
        if threads != 1:  # one is left out, so that the digests that runs and ledgers hold stay theirs
            fields["threads"] = threads
        return hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=16).hexdigest()

    def precision_on(self, device: str) -> str:
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if device.startswith("cuda") else "float32"

    def training_seed(self, key: str) -> int:
        """A training's seed: the same for equal keys whenever and wherever they are proposed."""
        return evaluation_seed(self.seed, key)


# For the bundled digits: 190 steps of batch 64 where einspace's recipe, made for far larger sets, would take 32. Small
# residual networks reach 0.98 to 0.99 on validation in about a second of one core (seed 0, torch 2.13, x86-64).
DIGITS = Recipe(epochs=12, batch=64, optimizer="adamw", lr=5e-3, weight_decay=0.05, schedule="onecycle")


class Trained(NamedTuple):
    """The score, the trained network where the score is ok, and the traceback of what failed."""

    score: Score
    network: nn.Module | None
    log: str = ""


class Stopped(Exception):
    """Ends a training early, with the status it gets."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status


def train(
    build: Callable[[], nn.Module],
    task: Task,
    recipe: Recipe,
    *,
    device: str = "cpu",
    seed: int = 0,
    key: str = "",
    cost: Cost = Cost(),
    deadline: float = math.inf,
    medians: Sequence[float] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """Build a network, train it on the train split, judge it on the validation split after each epoch.

    build: returns the network, (B, *task.input_shape) -> (B, task.outputs); called under the seed, so that equal
        seeds give equal initial weights.
    deadline: a time of `clock`; a training that is not done by then has status timeout.
    medians: for recipe.stop == "median", what the curve must reach after each epoch.

    Objectives of an ok score: the task's metric by its name after the last epoch, error (1 - metric, for
    classification), params, flops and seconds. The caller's random state is left as it was.
    """
    return _attempt(
        lambda fit: fit.run(task.train, task.validation, curve=True),
        _Fit(build, task, recipe, device, seed, deadline, medians, clock),
        key,
        cost,
    )


def final_train(
    build: Callable[[], nn.Module],
    task: Task,
    recipe: Recipe,
    *,
    device: str = "cpu",
    seed: int = 0,
    key: str = "",
    cost: Cost = Cost(),
    deadline: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """Train on train and validation together, then evaluate once on the test split.

    The score's objective is the test metric, under the task's metric name; metrics hold it again as test_<metric>.
    """
    both = Split(np.concatenate([task.train.x, task.validation.x]), np.concatenate([task.train.y, task.validation.y]))
    trained = _attempt(
        lambda fit: fit.run(both, task.test_split(), curve=False),
        _Fit(build, task, replace(recipe, stop="off"), device, seed, deadline, (), clock),
        key,
        cost,
    )
    if trained.score.status != "ok":
        return trained
    found = {f"test_{task.metric}": trained.score.objectives[task.metric]}
    return trained._replace(score=replace(trained.score, metrics={**trained.score.metrics, **found}))


def check(task: Task, recipe: Recipe) -> None:
    """Raise ConfigError where the recipe is not for such a task."""
    if recipe.augment and not task.images:
        raise ConfigError(f"recipe.augment is for images, and {task.name} has none; leave it empty")


def warm_up(device: str) -> None:
    """One step of a tiny network: what torch loads on first use (seconds) is not on the first candidate's time."""
    import torch

    with _on(device, seed=0, deterministic=True):
        layer = torch.nn.Linear(1, 1, device=device)
        optimizer = optimizer_of(layer, Recipe(), device)
        layer(torch.zeros(1, 1, device=device)).sum().backward()
        optimizer.step()


def medians(curves: Iterable[Sequence[float]], least: int = 5) -> tuple[float, ...]:
    """Median over candidates of the metric after each epoch, as far as at least `least` of them got.

    The median rule of Golovin et al. 2017 (Vizier, section 3.2), with the curve itself in place of its running mean.
    """
    known = [curve for curve in curves if curve]
    result: list[float] = []
    while len(reached := [curve[len(result)] for curve in known if len(curve) > len(result)]) >= least:
        result.append(float(np.median(reached)))
    return tuple(result)


def memory_estimate(params: int, working: Working, task: Task, recipe: Recipe, device: str = "cpu") -> int:
    """Bytes that training a network takes on the device, beside the data set.

    Weights, gradients and the optimizer's moments; what backward holds of one batch; what the widest operation is at
    work on, a fifth more. Under autocast weights are float32 and activations bfloat16, but for the copies that CUDA
    makes where it computes in float32 still. On CPU within a factor of 1.5 of what torch's profiler counts for the
    twenty architectures of tests/bench; on CUDA it has not been measured.
    """
    precision = recipe.precision_on(device)
    width = 8 if precision == "float64" else 4
    activation = 2 if precision == "bfloat16" else width
    copies = 4 if recipe.optimizer == "adamw" else 3
    batch = min(recipe.batch, len(task.train))
    needed = copies * width * params + batch * activation * (working.held + working.widest * 6 // 5)
    if precision == "bfloat16" and device.startswith("cuda"):
        needed += batch * 4 * working.copies
    return needed


def _attempt(
    run: Callable[[_Fit], tuple[dict[str, float], dict[str, float]]], fit: _Fit, key: str, cost: Cost
) -> Trained:
    """Run a fit; turn what goes wrong with the candidate into a status. Mistakes of the caller are raised."""
    import torch

    check(fit.task, fit.recipe)
    begun = fit.clock()
    status: Status = "ok"
    objectives: dict[str, float] = {}
    metrics: dict[str, float] = {}
    error = trace = ""
    try:
        objectives, metrics = run(fit)
    except Stopped as stop:
        status, error = stop.status, str(stop)
    except ShapeError as wrong:
        status, error = "invalid", str(wrong)
    except Exception as failure:  # noqa: BLE001 - a candidate's own code may raise anything at all
        status, error, trace = failed(failure), one_line(failure), traceback.format_exc()
    if status != "ok":
        fit.network = None
    if status == "oom" and fit.device.startswith("cuda"):
        torch.cuda.empty_cache()  # not before the exception is gone, which holds what the step had made
    seconds = fit.clock() - begun
    if status == "ok":
        costs = {"params": float(cost.params), "flops": float(cost.flops), "seconds": seconds}
        objectives = {**objectives, **costs}
    score = Score(
        key=key,
        status=status,
        objectives=objectives,
        metrics=metrics,
        curve=tuple(fit.curve),
        cost=cost,
        seconds=seconds,
        seed=fit.seed,
        error=error,
    )
    return Trained(score, fit.network, trace)


def failed(failure: BaseException) -> Status:
    """The status that an exception out of a candidate's code gives it: oom or crashed."""
    if isinstance(failure, MemoryError):
        return "oom"
    # torch.OutOfMemoryError says "out of memory"; the CPU allocator raises a bare RuntimeError, in words by platform.
    said = str(failure).lower()
    refused = ("not enough memory", "can't allocate memory", "out of memory")
    return "oom" if isinstance(failure, RuntimeError) and any(words in said for words in refused) else "crashed"


def one_line(failure: BaseException, limit: int = 300) -> str:
    said = " ".join(str(failure).split())
    text = f"{type(failure).__name__}: {said}" if said else type(failure).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of step 0 <= step < steps.

    As torch's CosineAnnealingLR and OneCycleLR (cos, its default factors, rate only), stepped after every batch.
    """
    warm = min(round(recipe.warmup * steps / recipe.epochs), steps)
    if recipe.schedule == "onecycle":
        rise = warm or ONE_CYCLE_RISE * steps
        low, high, end = recipe.lr / 25, recipe.lr, recipe.lr / 25 / 1e4
        peak = max(rise - 1, 0.0)
        if step <= peak and peak > 0:
            return low + (high - low) * (1 - math.cos(math.pi * step / peak)) / 2
        done = (step - peak) / max(steps - 1 - peak, 1e-9)
        return end + (high - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
    if step < warm:
        return recipe.lr * (step + 1) / warm
    if recipe.schedule == "constant":
        return recipe.lr
    return recipe.lr * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1))) / 2


@dataclass
class _Fit:
    """One training under way."""

    build: Callable[[], nn.Module]
    task: Task
    recipe: Recipe
    device: str
    seed: int
    deadline: float
    medians: Sequence[float]
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self.curve: list[float] = []
        self.network: nn.Module | None = None

    def run(self, train: Split, judge: Split, curve: bool) -> tuple[dict[str, float], dict[str, float]]:
        """Train on one split, judge on the other: after every epoch (curve) or once at the end.

        Returns the objectives and the metrics. Raises Stopped, and whatever the network raises.
        """
        images = len(self.task.input_shape) == 3
        try:
            return self._run(train, judge, curve, channels_last=images)
        except RuntimeError as refused:
            # Convolutions are faster with channels last, and a network that asks for a view cannot have them so.
            if not images or "view size is not compatible" not in str(refused):
                raise
            log.info("trained with channels first: %s", one_line(refused))
            self.curve.clear()
            return self._run(train, judge, curve, channels_last=False)

    def _run(
        self, train: Split, judge: Split, curve: bool, channels_last: bool
    ) -> tuple[dict[str, float], dict[str, float]]:
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        with _on(self.device, self.seed, self.recipe.deterministic):
            network = self.network = self.build().to(self.device, _dtype(self.recipe))
            network.to(memory_format=layout)  # type: ignore[call-overload]
            batches = _Batches(self.task, train, self.recipe, self.device, layout, self.recipe.augment)
            judged = _Batches(self.task, judge, self.recipe, self.device, layout)
            step = _Step(network, batches, self.task, self.recipe, self.device)
            epochs, found = self.recipe.epochs, {}
            for epoch in range(epochs):
                train_loss = self._epoch(step, batches, epoch)
                if curve or epoch == epochs - 1:
                    found = self._judge(network, judged)
                    self._fold(found, epoch, curve)
        metrics = {"loss": found.pop("loss"), "train_loss": train_loss, "epochs": float(epochs)}
        if step.graph_failed:
            metrics["graph_fallbacks"] = 1.0
        if self.device.startswith("cuda"):
            metrics["peak_memory"] = float(torch.cuda.max_memory_allocated(self.device))
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as files want weights
        return found, metrics

    def _epoch(self, step: _Step, batches: _Batches, epoch: int) -> float:
        """One pass; returns the mean training loss."""
        import torch

        step.network.train()
        order = torch.randperm(batches.count, device=batches.device)
        total = torch.zeros((), device=self.device)
        for number in range(batches.steps):
            at = epoch * batches.steps + number
            step.set_rate(rate(self.recipe, at, batches.steps * self.recipe.epochs))
            total += step(order[number * batches.size : (number + 1) * batches.size])
            if self.clock() > self.deadline:
                raise Stopped("timeout", f"time limit reached in epoch {epoch + 1}, step {number + 1}")
            if (at + 1) % CHECK_EVERY == 0 or number == batches.steps - 1:
                step.check(total, at)
        return float(total) / batches.steps

    def _judge(self, network: nn.Module, judged: _Batches) -> dict[str, float]:
        """The task's metric under its name, and the mean loss, over all examples of the split."""
        import torch

        task = self.task
        network.eval()
        outputs, loss = [], torch.zeros((), device=self.device)
        with torch.no_grad(), _autocast(self.device, self.recipe):
            for start in range(0, judged.count, judged.size):  # as in a step: no more memory is needed than for one
                rows = torch.arange(start, min(start + judged.size, judged.count), device=judged.device)
                x, y = judged.take(rows)
                out = network(x).to(judged.dtype)
                loss += loss_of(task, out, y) * len(rows)
                outputs.append(out.argmax(1) if task.kind == "classification" else out)
        predicted = torch.cat(outputs).cpu().numpy()
        if task.kind == "regression":
            predicted = predicted * task.target_std + task.target_mean
        value = METRICS[task.metric].value(judged.targets, predicted, task.outputs)
        found = {task.metric: value, "loss": float(loss) / judged.count}
        if task.kind == "classification":
            found["error"] = 1 - value
        return found

    def _fold(self, found: dict[str, float], epoch: int, curve: bool) -> None:
        if not all(math.isfinite(value) for value in found.values()):
            raise Stopped("nan", f"{self.task.metric} or loss is not finite on held-out data after epoch {epoch + 1}")
        if not curve:
            return
        value = found[self.task.metric]
        self.curve.append(value)
        if self.recipe.stop == "median" and epoch < min(len(self.medians), self.recipe.epochs - 1):
            median = self.medians[epoch]
            if value < median if self.task.larger_is_better else value > median:
                said = f"{self.task.metric} {value:.4g} after epoch {epoch + 1}, the median is {median:.4g}"
                raise Stopped("stopped", said)


def loss_of(task: Task, out: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of classes, mean squared error of normalised regression targets."""
    from torch.nn.functional import cross_entropy, mse_loss

    if task.kind == "classification":
        return cross_entropy(out, y, label_smoothing=label_smoothing)
    return mse_loss(out, y)


@dataclass(eq=False)
class Placed:
    """A split as tensors: x in stored dtype, y int64 classes or normalised float32; on the device where they fit."""

    x: Tensor
    y: Tensor


_placed: weakref.WeakKeyDictionary[Split, dict[str, Placed]] = weakref.WeakKeyDictionary()


def placed(task: Task, split: Split, device: str) -> Placed:
    """The split on the device, kept for the next candidate; in main memory where it would fill a quarter of that."""
    import torch

    kept = _placed.setdefault(split, {})
    if device not in kept:
        targets = split.y
        if task.kind == "regression":
            targets = ((targets - task.target_mean) / task.target_std).astype(np.float32)
        x, y = (torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in (split.x, targets))
        if device.startswith("cuda"):
            free, total = torch.cuda.mem_get_info(device)
            share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda _: 1.0)  # since torch 2.7
            free = min(free, int(total * share(device)))
            if x.nbytes + y.nbytes < free // 4:
                x, y = x.to(device), y.to(device)
            else:
                log.warning("%s fills over a quarter of %s; batches are copied from main memory", task.name, device)
        kept[device] = Placed(x, y)
    return kept[device]


class _Batches:
    """Rows of a split as normalised, augmented tensors on the device."""

    def __init__(
        self,
        task: Task,
        split: Split,
        recipe: Recipe,
        device: str,
        layout: torch.memory_format,
        augment: Sequence[Augmentation] = (),
    ) -> None:
        import torch

        self.data = placed(task, split, device)
        self.device = self.data.x.device  # where rows are looked up
        self.resident = self.device.type == torch.device(device).type
        self.count = len(split)
        self.size = min(recipe.batch, self.count)
        self.steps = self.count // self.size
        self.targets = split.y
        self.dtype = _dtype(recipe)
        self._target = torch.device(device)
        self._layout = layout
        self._mean = torch.from_numpy(task.mean).to(device, self.dtype)
        self._scale = 1 / torch.from_numpy(task.std).to(device, self.dtype)
        self._augment = augment
        self._y_dtype = torch.int64 if task.kind == "classification" else self.dtype

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """x (len(rows), *input_shape) and y of these rows."""
        x, y = self.data.x[rows], self.data.y[rows]
        if not self.resident:
            x, y = x.to(self._target), y.to(self._target)
        x = (x.to(self.dtype) - self._mean).mul_(self._scale)
        for name in self._augment:
            x = AUGMENT[name](x)
        return x.contiguous(memory_format=self._layout), y.to(self._y_dtype)


def _crop(x: Tensor) -> Tensor:
    """Each image shifted by its own offset, up to an eighth of its size (at least one pixel); what comes in is 0."""
    import torch
    from torch.nn.functional import pad

    batch, _, height, width = x.shape
    reach = max(1, min(height, width) // 8)
    padded = pad(x, (reach, reach, reach, reach))
    down, right = torch.randint(2 * reach + 1, (2, batch, 1), device=x.device)
    rows = down + torch.arange(height, device=x.device)
    columns = right + torch.arange(width, device=x.device)
    which = torch.arange(batch, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _flip(x: Tensor) -> Tensor:
    """Each image mirrored left to right with probability one half."""
    import torch

    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)


def _cutout(x: Tensor) -> Tensor:
    """A square of a quarter of each image's side, anywhere inside, set to 0, the mean (DeVries & Taylor 2017)."""
    import torch

    batch, _, height, width = x.shape
    side = max(1, min(height, width) // 4)
    top = torch.randint(height - side + 1, (batch, 1, 1, 1), device=x.device)
    left = torch.randint(width - side + 1, (batch, 1, 1, 1), device=x.device)
    rows = torch.arange(height, device=x.device)[:, None]
    columns = torch.arange(width, device=x.device)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return x.masked_fill(inside, 0.0)


AUGMENT: dict[str, Callable[[Tensor], Tensor]] = {"crop": _crop, "flip": _flip, "cutout": _cutout}


class _Step:
    """One optimizer step on some rows. On CUDA the step becomes a CUDA graph after a few eager ones, where it can."""

    captures_failed: ClassVar[int] = 0  # in this process
    EAGER = 3  # steps before the capture, on the stream that it is made on, as torch.cuda.graph asks

    def __init__(self, network: nn.Module, batches: _Batches, task: Task, recipe: Recipe, device: str) -> None:
        self.network, self.task, self.recipe, self.device, self.batches = network, task, recipe, device, batches
        self.optimizer = optimizer_of(network, recipe, device)
        self.graph_failed = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._graphable = device.startswith("cuda") and batches.resident
        self._done = 0
        self._rows: Tensor | None = None
        self._loss: Tensor | None = None

    def set_rate(self, value: float) -> None:
        import torch

        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(value)  # a captured step reads it from the device
                return  # all groups share it
            group["lr"] = value

    def __call__(self, rows: Tensor) -> Tensor:
        """The step's loss, a scalar on the device, not waited for."""
        if self._graph is None and self._graphable and self._done >= self.EAGER:
            self._capture(rows)
        self._done += 1
        if self._graph is not None and self._rows is not None and self._loss is not None:
            self._rows.copy_(rows)
            self._graph.replay()
            return self._loss
        if self._graphable:
            return self._aside(rows)
        return self._eager(rows)

    def _eager(self, rows: Tensor) -> Tensor:
        from torch.nn.utils import clip_grad_norm_

        self.optimizer.zero_grad(set_to_none=True)
        x, y = self.batches.take(rows)
        with _autocast(self.device, self.recipe):
            out = self.network(x)
        loss = loss_of(self.task, out.to(self.batches.dtype), y, self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip:
            clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        return loss.detach()

    def _aside(self, rows: Tensor) -> Tensor:
        import torch

        current, side = torch.cuda.current_stream(self.device), _side_stream(self.device)
        side.wait_stream(current)
        try:
            with torch.cuda.stream(side):
                return self._eager(rows)
        finally:
            current.wait_stream(side)

    def _capture(self, rows: Tensor) -> None:
        import torch

        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        self._rows = rows.clone()
        self.optimizer.zero_grad(set_to_none=True)
        try:
            with torch.cuda.graph(graph, stream=_side_stream(self.device)):
                self._loss = self._eager(self._rows)
        except RuntimeError as refused:
            torch.cuda.set_stream(current)  # torch.cuda.graph does not, where the end of the capture fails
            torch.cuda.synchronize(self.device)
            _Step.captures_failed += 1
            log.warning("no CUDA graph for this network, its steps run one kernel at a time: %s", one_line(refused))
            self._graphable, self.graph_failed = False, True
        else:
            self._graph = graph

    def check(self, total: Tensor, step: int) -> None:
        """Raise Stopped where the summed loss or the last gradient is not finite. Waits for the device."""
        import torch

        if not math.isfinite(float(total)):
            raise Stopped("nan", f"loss is not finite by step {step + 1}")
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        if not bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients))):
            raise Stopped("nan", f"gradient is not finite at step {step + 1}")


def spoiled() -> bool:
    """Whether the capture of a CUDA graph has failed in this process, which had better be replaced then.

    Torch's allocator takes a capture that could not be ended for one that goes on, and gives no memory back meanwhile.
    """
    return _Step.captures_failed > 0


@functools.cache
def _side_stream(device: str) -> torch.cuda.Stream:
    """One for all trainings: cuBLAS keeps a workspace for each stream it has seen."""
    import torch

    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def optimizer_of(network: nn.Module, recipe: Recipe, device: str) -> torch.optim.Optimizer:
    """The recipe's optimizer. Decayed are parameters called `weight` with two axes or more, which linear and
    convolution layers have, and norms, biases and positional encodings do not.
    """
    import torch

    decayed = [p for name, p in network.named_parameters() if name.rpartition(".")[2] == "weight" and p.ndim >= 2]
    chosen = {id(p) for p in decayed}
    others = [p for p in network.parameters() if id(p) not in chosen]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    cuda = device.startswith("cuda")
    lr = torch.tensor(float(recipe.lr), device=device) if cuda else float(recipe.lr)
    # One fused kernel for all parameters: on small networks the step is otherwise mostly Python.
    fused = cuda or device == "cpu"
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=lr, momentum=recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0, fused=fused
        )
    return torch.optim.AdamW(groups, lr=lr, betas=(float(recipe.momentum), 0.999), fused=fused, capturable=cuda)


def _dtype(recipe: Recipe) -> torch.dtype:
    import torch

    return torch.float64 if recipe.precision == "float64" else torch.float32


def _autocast(device: str, recipe: Recipe) -> AbstractContextManager[object]:
    import torch

    if recipe.precision_on(device) != "bfloat16":
        return contextlib.nullcontext()
    # No cache of cast weights: it would outlive a captured step and hand the next one stale copies.
    return torch.autocast(device.partition(":")[0], torch.bfloat16, cache_enabled=False)


@contextlib.contextmanager
def _on(device: str, seed: int, deterministic: bool) -> Iterator[None]:
    """Torch's generators seeded, for initial weights, permutations and dropout; afterwards as they were.

    On CUDA the device is the current one, and its kernels are deterministic where that is asked for and they can be.
    On CPU torch's are deterministic at a fixed thread count already.
    """
    import torch

    if not device.startswith("cuda"):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU besides
            yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    filling: Any = torch.utils.deterministic
    filled = filling.fill_uninitialized_memory
    with torch.cuda.device(device), torch.random.fork_rng(devices=[torch.device(device)]):
        torch.default_generator.manual_seed(seed)
        torch.cuda.manual_seed(seed)
        torch.cuda.reset_peak_memory_stats(device)
        # Some kernels have no deterministic twin; torch warns of those instead of failing the candidate.
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        filling.fill_uninitialized_memory = False  # a kernel for each new tensor, to find mistakes
        torch.backends.cudnn.benchmark = not deterministic
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            filling.fill_uninitialized_memory = filled
            torch.backends.cudnn.benchmark = benchmark
