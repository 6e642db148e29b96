"""Taps: what a network computes, call by call, while it is measured.

Generated networks call functions (`F.relu`), which hooks on modules never see. A tap sees each of them, whoever calls,
and may give another answer. For measurement only: nothing is trained under a tap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ACTIVATIONS = frozenset(
    {
        "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish",
        "hardtanh", "prelu", "threshold",
    }
)  # fmt: skip
WEIGHTED = frozenset({"linear", "conv1d", "conv2d", "conv3d"})
NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"})

Call = Callable[[str, tuple[Any, ...], "Tensor"], None]  # a function's name, its positional arguments, what it gave


@contextmanager
def tapped(names: Collection[str], seen: Call | None) -> Iterator[None]:
    """Inside, `seen` is called after each call of a torch function of one of the names, not of what that calls itself.

    None: such functions are not called, and give their first argument in place of an answer.
    """
    from torch.overrides import TorchFunctionMode

    class Tap(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = getattr(function, "__name__", "")
            if name in names and seen is None:
                return args[0]
            answer = function(*args, **(kwargs or {}))
            if name in names and seen is not None:
                seen(name, args, answer)
            return answer

    with Tap():
        yield
