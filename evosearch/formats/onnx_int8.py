"""ONNX in whole numbers of 8 bits: calibrated static quantisation by ONNX Runtime. Needs the extra `onnx`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.formats.onnx import Onnx, without_traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evosearch.formats.base import Array, Original, Run

CALIBRATED = 256  # training rows that say how large activations get
BATCH = 32


class OnnxInt8(Onnx):
    """Weights by output channel, activations by tensor, symmetric, as pairs of Q and DQ nodes that runtimes fuse."""

    exact = False

    def write(self, original: Original) -> bytes:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Rows:
            """A CalibrationDataReader by its `get_next`: all that ONNX Runtime asks of one."""

            def __init__(self) -> None:
                self.batches = _batches(original)

            def get_next(self) -> dict[str, Array] | None:
                return next(self.batches, None)

        program = super().write(original)
        with tempfile.TemporaryDirectory() as folder:
            plain, prepared, made = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "made"))
            plain.write_bytes(program)
            quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
            options: dict[str, Any] = {"ActivationSymmetric": True, "WeightSymmetric": True}
            quantize_static(
                str(prepared),
                str(made),
                Rows(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QInt8,
                extra_options=options,
            )
            model = onnx.load(str(made))
        without_traces(model.graph)
        del model.metadata_props[:]
        onnx.helper.set_model_props(
            model, {one.key: one.value for one in onnx.load_from_string(program).metadata_props}
        )
        content: bytes = model.SerializeToString()
        return content

    def simulated(self, path: Path) -> Run:
        """The fake-quantised network: by ONNX Runtime without its optimisations, so that no Q or DQ node is joined."""
        return self.run(path, fused=False)


def _batches(original: Original) -> Iterator[dict[str, Array]]:
    """Normalised training rows, spread evenly over the split; noise for a part of a network, which has no examples."""
    task = original.task
    if task is None:
        x = np.random.default_rng(0).standard_normal((CALIBRATED, *original.architecture.input), dtype=np.float32)
    else:
        rows = np.linspace(0, len(task.train) - 1, min(CALIBRATED, len(task.train))).astype(np.int64)
        x = task.normalise(task.train.x[rows])
    yield from ({"x": x[start : start + BATCH]} for start in range(0, len(x), BATCH))
