"""ONNX, by torch's exporter; runs wherever ONNX does. Needs the extra `onnx`."""

from __future__ import annotations

import json
from importlib import util
from pathlib import Path

from evosearch.errors import ExportError
from evosearch.formats.base import Array, Original, Run, description, traced

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
PROTOBUF_LIMIT = 2**31  # bytes; one ONNX file holds no more


class Onnx:
    suffix = ".onnx"
    exact = True
    use = 'onnxruntime.InferenceSession("{name}").run(None, {{"x": x}})'

    def require(self) -> None:
        missing = [name for name in PACKAGES if util.find_spec(name) is None]
        if missing:
            raise ExportError(f"--format onnx needs {', '.join(missing)}: pip install 'evosearch[onnx]'")

    def write(self, original: Original) -> bytes:
        import torch

        size = sum(tensor.nbytes for tensor in original.network.state_dict().values())
        if size >= PROTOBUF_LIMIT:
            raise ExportError(f"onnx holds 2 GiB in a file, and the weights are {size / 2**30:.1f}; use --format pt2")
        x, free = traced(original)
        program = torch.onnx.export(
            original.network,
            (x,),
            dynamo=True,
            dynamic_shapes=free,
            input_names=["x"],
            output_names=["y"],
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props["evosearch"] = json.dumps(description(original))
        content: bytes = program.model_proto.SerializeToString()
        return content

    def read(self, _: Original, path: Path) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def run(x: Array) -> Array:
            out: Array = session.run(None, {"x": x})[0]
            return out

        return run
