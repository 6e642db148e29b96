"""What a training takes of memory, estimated before it is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.evaluation.recipe import Recipe
    from evosearch.layers.builder import Working
    from evosearch.tasks.base import Task


def memory_estimate(params: int, working: Working, task: Task, recipe: Recipe, device: str = "cpu") -> int:
    """Bytes that training a network takes on the device, beside the data set.

    Weights, gradients, the optimizer's moments and the running average; what backward holds of one batch; what the
    widest operation is at work on, a fifth more. Under autocast weights are float32 and activations bfloat16, but for
    the copies that CUDA makes where it computes in float32 still. On CPU within a factor of 1.5 of what torch's
    profiler counts for the twenty architectures of tests/bench; on CUDA it has not been measured.
    """
    precision = recipe.precision_on(device)
    width = 8 if precision == "float64" else 4
    activation = 2 if precision == "bfloat16" else width
    copies = (4 if recipe.optimizer == "adamw" else 3) + (1 if recipe.ema else 0)
    batch = min(recipe.batch, len(task.train))
    needed = copies * width * params + batch * activation * (working.held + working.widest * 6 // 5)
    if precision == "bfloat16" and device.startswith("cuda"):
        needed += batch * 4 * working.copies
    return needed
