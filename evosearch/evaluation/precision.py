"""In what numbers a training computes, and with what randomness."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from evosearch.evaluation.recipe import Recipe


def dtype_of(recipe: Recipe) -> torch.dtype:
    import torch

    return torch.float64 if recipe.precision == "float64" else torch.float32


def autocast(device: str, recipe: Recipe) -> AbstractContextManager[object]:
    import torch

    if recipe.precision_on(device) != "bfloat16":
        return contextlib.nullcontext()
    # No cache of cast weights: it would outlive a captured step and hand the next one stale copies.
    return torch.autocast(device.partition(":")[0], torch.bfloat16, cache_enabled=False)


@contextlib.contextmanager
def seeded(device: str, seed: int, deterministic: bool) -> Iterator[None]:
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
