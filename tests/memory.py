"""What a network's own code holds in memory, found by running its `forward` statement by statement."""

from __future__ import annotations

import ast
import math
from typing import Any

import torch
from torch import Tensor, nn


def room(module: nn.Module, x: Tensor) -> int:
    """Bytes that torch takes to work in while a convolution of one example runs on one thread of a processor.

    Its own kernel (up to 3x3) unfolds the input into columns, but for 1x1, which needs none; oneDNN's, for larger
    ones, has weights and input in an order of its own (torch 2.13, ATen/native/Convolution.cpp, use_mkldnn).
    """
    if not isinstance(module, nn.Conv2d):
        return 0
    kernel = math.prod(module.kernel_size)
    if max(module.kernel_size) > 3:
        return module.weight.nbytes + x.nbytes
    places = math.prod(x.shape[2:]) // math.prod(module.stride)
    return 0 if kernel == 1 else module.in_channels * kernel * places * x.element_size()


class Simulation:
    """Runs the classes of a source on one example. peak: bytes of different storages that are held at once.

    torch_s: with what is no business of the network's: the caller's input, and the room that convolutions take.
    """

    def __init__(self, source: str, *, torch_s: bool = False) -> None:
        self.torch_s = torch_s
        self.names: dict[str, Any] = {"__name__": "simulated"}
        exec(compile(source, "<simulated>", "exec"), self.names)
        tree = ast.parse(source)
        self.forwards = {
            one.name: next(f for f in one.body if isinstance(f, ast.FunctionDef) and f.name == "forward")
            for one in tree.body
            if isinstance(one, ast.ClassDef) and not one.name.startswith("Formatted") and one.name != "Refined"
        }
        self.peak = 0

    def run(self, shape: tuple[int, ...]) -> int:
        with torch.no_grad():
            x = torch.randn(1, *shape)
            self._forward(self.names["Network"]().eval(), x, _held({"x": x}) if self.torch_s else {})
        return self.peak

    def _forward(self, module: nn.Module, x: Tensor, outside: dict[int, int]) -> Tensor:
        names: dict[str, Any] = {"self": module, "x": x}
        del x
        for statement in self.forwards[type(module).__name__].body:
            before = {**outside, **_held(names)}
            if isinstance(statement, ast.Return):
                assert isinstance(statement.value, ast.Name)
                found: Tensor = names[statement.value.id]
                return found
            shapes = {name: value.to("meta") for name, value in names.items() if isinstance(value, Tensor)}
            inner = self._inner(module, statement)
            if inner is not None:
                assert isinstance(statement, ast.Assign)
                call = statement.value
                assert isinstance(call, ast.Call)
                argument = call.args[0]
                assert isinstance(argument, ast.Name)
                (target,) = statement.targets
                assert isinstance(target, ast.Name)
                made = self._forward(inner, names[argument.id], before)
                names[target.id] = made
                del made
            else:
                code = compile(ast.Module([statement], []), "<statement>", "exec")
                exec(code, self.names, names)
            taken = self._room(module, statement, shapes) if self.torch_s else 0
            self.peak = max(self.peak, taken + sum({**before, **_held(names)}.values()))
        raise AssertionError("no return")

    def _room(self, module: nn.Module, statement: ast.stmt, inputs: dict[str, Tensor]) -> int:
        """What the modules that a statement calls take to work in, as far as they are called with a name."""
        found = 0
        for call in ast.walk(statement):
            if isinstance(call, ast.Call) and isinstance(at := call.func, ast.Attribute) and call.args:
                called = getattr(module, at.attr, None) if isinstance(at.value, ast.Name) else None
                if isinstance(call.args[0], ast.Name) and isinstance(called, nn.Module):
                    found = max(found, room(called, inputs[call.args[0].id]))
                elif isinstance(call.args[0], ast.Name) and at.attr == "max_pool2d":  # where each output was, in int64
                    found = max(found, 8 * inputs[call.args[0].id].numel() // ast.literal_eval(call.args[1]) ** 2)
        return found

    def _inner(self, module: nn.Module, statement: ast.stmt) -> nn.Module | None:
        """The block of a class of its own that a statement calls."""
        if isinstance(statement, ast.Assign) and isinstance(call := statement.value, ast.Call):
            at = call.func
            if isinstance(at, ast.Attribute) and isinstance(at.value, ast.Name) and at.value.id == "self":
                found = getattr(module, at.attr)
                return found if type(found).__name__ in self.forwards else None
        return None


def _held(names: dict[str, Any]) -> dict[int, int]:
    tensors = [value for value in names.values() if isinstance(value, Tensor)]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
