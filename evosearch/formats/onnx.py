"""ONNX, by torch's exporter; runs wherever ONNX does. Needs the extra `onnx`."""

from __future__ import annotations

import json
from importlib import util
from pathlib import Path
from typing import Any

from evosearch.errors import ExportError
from evosearch.formats.base import Array, Original, Run, description, traced

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
PROTOBUF_LIMIT = 2**31  # bytes; one ONNX file holds no more


def without_traces(graph: Any) -> None:
    """Take out what an exporter notes of where each operation came from: the paths and lines of this machine's code,
    and the shapes in between, which any runtime infers.
    """
    del graph.value_info[:], graph.metadata_props[:]
    for one in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        one.doc_string = ""
        del one.metadata_props[:]


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
        model = program.model_proto
        without_traces(model.graph)
        content: bytes = model.SerializeToString()
        return content

    def read(self, _: Original, path: Path) -> Run:
        return self.run(path)

    @staticmethod
    def run(path: Path, *, fused: bool = True) -> Run:
        """The file as a function. fused: whether operations may be joined to ones that compute them at once."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = 1
        if not fused:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def run(x: Array) -> Array:
            out: Array = session.run(None, {"x": x})[0]
            return out

        return run
