"""Plain PyTorch code: needs torch alone, and holds no weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evosearch import network
from evosearch.formats.base import Original, Run, runner
from evosearch.results import model_source


class Python:
    suffix = ".py"
    exact = True
    use = 'runpy.run_path("{name}")["Network"]()'

    def require(self) -> None:
        pass

    def write(self, original: Original) -> bytes:
        if original.task is None:
            return network.source(original.architecture).encode()
        return model_source(original.architecture, original.task, original.temperature).encode()

    def read(self, original: Original, path: Path) -> Run:
        namespace: dict[str, Any] = {"__name__": path.stem}
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)  # noqa: S102 - written just above
        module = namespace["Network"]()
        module.load_state_dict(original.network.state_dict())
        return runner(module.eval())
