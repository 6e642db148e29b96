"""One optimizer step, eager or as a CUDA graph."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from typing import TYPE_CHECKING, ClassVar

from evosearch.evaluation.averaging import averaged
from evosearch.evaluation.failures import Stopped, one_line
from evosearch.evaluation.optimizers import optimizer_of
from evosearch.layers.builder import is_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor, nn

    from evosearch.evaluation.batches import Batches
    from evosearch.evaluation.recipe import Recipe
    from evosearch.evaluation.rules import Rule

log = logging.getLogger(__name__)


class Step:
    """One optimizer step on some rows. On CUDA the step becomes a CUDA graph after a few eager ones, where it can."""

    captures_failed: ClassVar[int] = 0  # in this process
    EAGER = 3  # steps before the capture, on the stream that it is made on, as torch.cuda.graph asks

    def __init__(self, network: nn.Module, batches: Batches, rule: Rule, recipe: Recipe, device: str) -> None:
        self.network, self.rule, self.recipe, self.device, self.batches = network, rule, recipe, device, batches
        self.optimizer = optimizer_of(network, recipe, device)
        self.average = averaged(network, recipe.ema)
        self._progress = [tensor for name, tensor in network.named_buffers() if is_progress(name)]
        self.graph_failed = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._graphable = device.startswith("cuda") and batches.resident and rule.captured and not recipe.drop_path
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

    def set_progress(self, value: float) -> None:
        """Tell the layers that ask for it which share of training is done (see `Builder.progress`)."""
        for buffer in self._progress:
            buffer.fill_(value)

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
        from torch.autograd import backward
        from torch.nn.utils import clip_grad_norm_

        self.optimizer.zero_grad(set_to_none=True)
        loss = self.rule.loss(*self.batches.take(rows))
        backward(loss)
        self.rule.change(self._done - 1)
        if self.recipe.clip:
            clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
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
            Step.captures_failed += 1
            log.warning("no CUDA graph for this network, its steps run one kernel at a time: %s", one_line(refused))
            self._graphable, self.graph_failed = False, True
        else:
            self._graph = graph

    @contextlib.contextmanager
    def weights_to_judge(self) -> Iterator[None]:
        """Inside it the network has the weights that are judged: the running average where there is one."""
        self.keep_average()
        yield
        self.keep_average()  # exchanged again

    def keep_average(self) -> None:
        """Give the network the running average of its weights, where there is one."""
        if self.average is not None:
            self.average.swap()

    def check(self, total: Tensor, step: int) -> None:
        """Raise Stopped where the summed loss or the last gradient is not finite. Waits for the device."""
        import torch

        if not math.isfinite(float(total)):
            raise Stopped("nan", f"loss is not finite by step {step + 1}")
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        if not bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients))):
            raise Stopped("nan", f"gradient is not finite at step {step + 1}")


def cuda_graph_capture_failed() -> bool:
    """Whether the capture of a CUDA graph has failed in this process, which had better be replaced then.

    Torch's allocator takes a capture that could not be ended for one that goes on, and gives no memory back meanwhile.
    """
    return Step.captures_failed > 0


@functools.cache
def _side_stream(device: str) -> torch.cuda.Stream:
    """One for all trainings: cuBLAS keeps a workspace for each stream it has seen."""
    import torch

    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's __new__ has no types
