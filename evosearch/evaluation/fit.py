"""One training from fresh weights to a score, and the final one."""

from __future__ import annotations

import logging
import math
import time
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from evosearch.cost import COUNTED, Cost
from evosearch.errors import ShapeError
from evosearch.evaluation.batches import Batches
from evosearch.evaluation.failures import Stopped, failed, one_line
from evosearch.evaluation.measures import of_networks
from evosearch.evaluation.optimizers import optimizer_of, rate
from evosearch.evaluation.precision import autocast, dtype_of, seeded
from evosearch.evaluation.recipe import Recipe, check
from evosearch.evaluation.regularising import drop_paths, dropped
from evosearch.evaluation.rules import Learning, named
from evosearch.evaluation.step import Step
from evosearch.score import Score, Status
from evosearch.tasks.noise import standard_error

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from evosearch.architecture import Architecture
    from evosearch.evaluation.stopping import StopRule
    from evosearch.tasks.base import Array, Split, Task

log = logging.getLogger(__name__)

UNTIMED = 2  # steps at the start that tell nothing of those to come
JUDGING = 0.5  # what a batch takes forwards, of a step on it, at the most
CHECK_EVERY = 20  # steps between looks at the loss; a look waits for the device


class Trained(NamedTuple):
    """The score, the trained network and its metric where the score is ok, and the traceback of what failed.

    outputs: of the network that was kept, (N, outputs) for the examples that it was judged on, where the score is ok.
    architecture: what was built, where the caller says it.
    fold: of folds the one whose network is kept, which was trained on all rows but those of its validation split.
    """

    score: Score
    network: nn.Module | None
    log: str = ""
    metric: float = math.nan
    outputs: Array | None = None
    architecture: Architecture | None = None
    fold: Task | None = None


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
    rule: StopRule | None = None,
    brief: Any = None,
    parent: nn.Module | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """Build a network, train it on the train split, judge it on the validation split after each epoch.

    build: returns the network, (B, *task.input_shape) -> (B, task.outputs); called under the seed, so that equal
        seeds give equal initial weights.
    deadline: a time of `clock`; a training that is not done by then has status timeout.
    rule, brief: what may end the training early, and what it was told of the curves known before.
    parent: the network whose weights it begins with, for a rule that learns from it.

    Objectives of an ok score: the measures of networks (evosearch.evaluation.measures), but for what is counted before
    anything is built, which stands in the score's cost. The caller's random state is left as it was.
    """
    return _attempt(
        lambda fit: fit.run(task.train, task.validation, curve=True),
        _Fit(build, task, recipe, device, seed, deadline, rule, brief, clock, parent=parent),
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
    finish_by: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """Train on train and validation together, then evaluate once on the test split.

    finish_by: a time of `clock`; a schedule that would go on beyond, as its first steps tell, is shortened to end then.

    The score's objective is the test metric, under the task's metric name; metrics hold it again as test_<metric>.
    """
    both = task.whole()
    trained = _attempt(
        lambda fit: fit.run(both, task.test_split(), curve=False),
        _Fit(build, task, recipe, device, seed, math.inf, None, None, clock, finish_by),
        key,
        cost,
    )
    if trained.score.status != "ok":
        return trained
    found = {f"test_{task.metric}": trained.score.objectives[task.metric]}
    return trained._replace(score=replace(trained.score, metrics={**trained.score.metrics, **found}))


def warm_up(device: str) -> None:
    """One step of a tiny network: what torch loads on first use (seconds) is not on the first candidate's time."""
    import torch

    with seeded(device, seed=0, deterministic=True):
        layer = torch.nn.Linear(1, 1, device=device)
        optimizer = optimizer_of(layer, Recipe(), device)
        layer(torch.zeros(1, 1, device=device)).sum().backward()
        optimizer.step()


def _attempt(run: Callable[[_Fit], tuple[float, dict[str, float]]], fit: _Fit, key: str, cost: Cost) -> Trained:
    """Run a fit; turn what goes wrong with the candidate into a status. Mistakes of the caller are raised."""
    import torch

    check(fit.task, fit.recipe)
    begun = fit.clock()
    status: Status = "ok"
    metric, metrics = math.nan, dict[str, float]()
    error = trace = ""
    try:
        metric, metrics = run(fit)
        metrics |= fit.error()
    except Stopped as stop:
        status, error = stop.status, str(stop)
    except ShapeError as wrong:
        status, error = "invalid", str(wrong)
    except Exception as failure:  # noqa: BLE001 - a candidate's network is its own code: what it raises is its result
        status, error, trace = failed(failure), one_line(failure), traceback.format_exc()
    if status != "ok":
        fit.network = None
    if status == "oom" and fit.device.startswith("cuda"):
        torch.cuda.empty_cache()  # not before the exception is gone, which holds what the step had made
    seconds = fit.clock() - begun
    score = Score(
        key=key,
        status=status,
        metrics=metrics,
        curve=tuple(fit.curve),
        cost=cost,
        seconds=seconds,
        seed=fit.seed,
        error=error,
    )
    if status != "ok":
        return Trained(score, None, trace)
    trained = Trained(score, fit.network, trace, metric, fit.outputs)
    values = {measure.name: measure.value(trained, fit.task) for measure in of_networks(fit.task)}
    measured = {name: value for name, value in values.items() if value is not None and name not in COUNTED}
    return trained._replace(score=replace(score, objectives=measured))


def _lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """Put the network's weights for images into a memory layout."""
    network.to(memory_format=layout)  # type: ignore[call-overload]  # torch's documents have this call, its overloads do not


@dataclass
class _Fit:
    """One training under way."""

    build: Callable[[], nn.Module]
    task: Task
    recipe: Recipe
    device: str
    seed: int
    deadline: float
    rule: StopRule | None
    brief: Any
    clock: Callable[[], float]
    finish_by: float = math.inf
    parent: nn.Module | None = None

    def __post_init__(self) -> None:
        self.curve: list[float] = []
        self.planned = self.asked = 0  # steps of the schedule: for which there is time, and those that were asked for
        self.timed = (0, 0.0)  # the step from which steps are timed, and when it began
        self.network: nn.Module | None = None
        self.targets: Array | None = None
        self.groups: Array | None = None
        self.outputs: Array | None = None

    def error(self) -> dict[str, float]:
        """The standard error of the metric, as the last examples that the network was judged on tell it."""
        if self.targets is None or self.outputs is None:
            return {}
        found = standard_error(self.task.judge, self.targets, self.outputs, self.groups)
        return {f"{self.task.metric}_se": found} if math.isfinite(found) else {}

    def run(self, train: Split, judge: Split, curve: bool) -> tuple[float, dict[str, float]]:
        """Train on one split, judge on the other: after every epoch (curve) or once at the end.

        Returns the task's metric and what is reported beside it. Raises Stopped, and whatever the network raises.
        """
        images, self.groups = len(self.task.input_shape) == 3, judge.groups
        try:
            return self._run(train, judge, curve, channels_last=images)
        except RuntimeError as refused:
            # Convolutions are faster with channels last, and a network that asks for a view cannot have them so.
            if not images or "view size is not compatible" not in str(refused):
                raise
            log.info("trained with channels first: %s", one_line(refused))
            self.curve.clear()
            return self._run(train, judge, curve, channels_last=False)

    def _run(self, train: Split, judge: Split, curve: bool, channels_last: bool) -> tuple[float, dict[str, float]]:
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        with seeded(self.device, self.seed, self.recipe.deterministic):
            network = self.network = self.build().to(self.device, dtype_of(self.recipe))
            _lay_out(network, layout)
            batches = Batches(self.task, train, self.recipe, self.device, layout, self.recipe.augment)
            judged = Batches(self.task, judge, self.recipe, self.device, layout)
            learning = Learning(self.task, self.recipe, self.device, batches.dtype, self.parent)
            rule = named(self.recipe.rule)(network, learning)
            step = Step(network, batches, rule, self.recipe, self.device)
            epochs, metric, loss = self.recipe.epochs, math.nan, math.nan
            self.planned = self.asked = batches.steps * epochs
            dropping = dropped(network, self.recipe.dropout)
            for epoch in range(epochs):
                rule.begin(epoch)
                train_loss = self._epoch(step, batches, epoch, judged.count / judged.size)
                last = (epoch + 1) * batches.steps >= self.planned
                if curve or last:
                    with step.weights_to_judge():
                        if last:
                            step.set_progress(1.0)  # what is judged is what is kept
                        metric, loss = self._evaluate(network, judged)
                    self._fold(metric, loss, epoch, curve)
                if last:
                    break
            step.keep_average()
            dropping()
            drop_paths(network, 0.0)
            network = self.network = rule.kept()
        metrics = {"loss": loss, "train_loss": train_loss, "epochs": self.planned / batches.steps}
        if step.graph_failed:
            metrics["graph_fallbacks"] = 1.0
        if self.device.startswith("cuda"):
            metrics["peak_memory"] = float(torch.cuda.max_memory_allocated(self.device))
        _lay_out(network, torch.contiguous_format)  # files want it
        return metric, metrics

    def _epoch(self, step: Step, batches: Batches, epoch: int, judging: float) -> float:
        """One pass, or the rest of the schedule; returns the mean training loss. judging: batches after the last."""
        import torch

        step.network.train()
        order = batches.order()
        total = torch.zeros((), device=self.device)
        for number in range(batches.steps):
            at = epoch * batches.steps + number
            step.set_rate(rate(self.recipe, at, self.planned))
            step.set_progress(at / self.planned)
            if self.recipe.drop_path:
                drop_paths(step.network, self.recipe.drop_path * at / self.planned)
            total += step(order[number * batches.size : (number + 1) * batches.size])
            if self.clock() > self.deadline:
                raise Stopped("timeout", f"time limit reached in epoch {epoch + 1}, step {number + 1}")
            if math.isfinite(self.finish_by):
                self._shorten(at, judging)
            last = at + 1 >= self.planned
            if (at + 1) % CHECK_EVERY == 0 or number == batches.steps - 1 or last:
                step.check(total, at)
            if last:
                break
        return float(total) / (number + 1)

    def _shorten(self, at: int, judging: float) -> None:
        """Plan no more steps than there is time for, as the steps so far tell; looked at after 1, 2, 4, ... of them.

        The first two are not counted: memory is taken and kernels are chosen in them. What one slow step has taken
        away, the next look gives back.
        """
        now = self.clock()
        if at == UNTIMED - 1:
            self.timed = (at, now)
        if now >= self.finish_by:
            self.planned = min(self.planned, at + 1)
        taken = at - self.timed[0]
        if at < UNTIMED or taken & (taken - 1):
            return
        each = (now - self.timed[1]) / taken
        left = self.finish_by - now - JUDGING * judging * each
        self.planned = min(self.asked, at + 1 + max(0, int(left / max(each, 1e-9))))

    def _evaluate(self, network: nn.Module, judged: Batches) -> tuple[float, float]:
        """The task's metric and the mean loss over all examples of the split."""
        import torch

        task, plain = self.task, replace(self.recipe, label_smoothing=0.0)
        network.eval()
        outputs, loss = [], torch.zeros((), device=self.device)
        with torch.no_grad(), autocast(self.device, self.recipe):
            for start in range(0, judged.count, judged.size):  # as in a step: no more memory is needed than for one
                rows = torch.arange(start, min(start + judged.size, judged.count), device=judged.device)
                x, y = judged.take(rows)
                out = network(x)
                if self.recipe.mirrored:
                    out = task.kind.averaging.mean([out, network(x.flip(3))])
                out = out.to(judged.dtype)
                loss += task.kind.loss(out, y, plain) * len(rows)
                outputs.append(out)
        self.targets, self.outputs = judged.targets, torch.cat(outputs).cpu().numpy()
        return task.judge(self.targets, self.outputs), float(loss) / judged.count

    def _fold(self, metric: float, loss: float, epoch: int, curve: bool) -> None:
        if not (math.isfinite(metric) and math.isfinite(loss)):
            raise Stopped("nan", f"{self.task.metric} or loss is not finite on held-out data after epoch {epoch + 1}")
        if not curve:
            return
        self.curve.append(metric)
        if self.rule is None or epoch == self.recipe.epochs - 1:
            return
        reason = self.rule.stop(self.brief, tuple(self.curve), self.task.measure.sign)
        if reason:
            raise Stopped("stopped", f"{self.task.metric} {reason}")
