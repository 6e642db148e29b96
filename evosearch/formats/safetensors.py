"""The weights, by the names that the code gives them."""

from __future__ import annotations

import json
from pathlib import Path

from evosearch import network
from evosearch.formats.base import Original, Run, description, runner


class Safetensors:
    suffix = ".safetensors"
    exact = True
    use = 'safetensors.torch.load_file("{name}")'

    def require(self) -> None:
        pass

    def write(self, original: Original) -> bytes:
        from safetensors.torch import save

        state = {name: tensor.contiguous() for name, tensor in original.network.state_dict().items()}
        return save(state, {"format": "pt", "evosearch": json.dumps(description(original))})

    def read(self, original: Original, path: Path) -> Run:
        from safetensors.torch import load_file

        module = network.build(original.architecture)
        module.load_state_dict(load_file(path))
        return runner(module.eval())
