"""What a network's own code holds in memory, found by running its `forward` statement by statement."""

from __future__ import annotations

import ast
from typing import Any

import torch
from torch import Tensor, nn


class Simulation:
    """Runs the classes of a source on one example. peak: bytes of different storages that are held at once."""

    def __init__(self, source: str) -> None:
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
            self._forward(self.names["Network"]().eval(), torch.randn(1, *shape), {})
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
            self.peak = max(self.peak, sum({**before, **_held(names)}.values()))
        raise AssertionError("no return")

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
