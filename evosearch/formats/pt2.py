"""torch.export's program: code and weights, runs in torch without evosearch, from Python or C++."""

from __future__ import annotations

import io
import json
from pathlib import Path

from evosearch.formats.base import Original, Run, description, runner, traced


class Pt2:
    suffix = ".pt2"
    exact = True
    use = 'torch.export.load("{name}").module()(x)'

    def require(self) -> None:
        pass

    def write(self, original: Original) -> bytes:
        import torch

        x, free = traced(original)
        program = torch.export.export(original.network, (x,), dynamic_shapes=free)
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={"evosearch": json.dumps(description(original))})
        return file.getvalue()

    def read(self, _: Original, path: Path) -> Run:
        import torch

        return runner(torch.export.load(path).module())
