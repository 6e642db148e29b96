"""A network in a format that others read: written beside, loaded again, compared with the original, then put in place.

python        plain PyTorch code; needs torch alone, holds no weights
safetensors   the weights, by the names that the code gives them
pt2           torch.export's program: code and weights, runs in torch without evosearch, from Python or C++
onnx          ONNX, by torch's exporter; runs wherever ONNX does (extra `onnx`)

Every format takes a batch of normalised examples, (batch, *input) float32, with the batch size free, and gives
(batch, outputs). What its users need to know besides (normalisation, labels, the sentence) is in the file's metadata.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata, util
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch import network
from evosearch.architecture import Architecture
from evosearch.errors import EvosearchError, ExportError
from evosearch.layers.base import show
from evosearch.results import model_source
from evosearch.store.disk import Disk

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from evosearch.layers.node import Node
    from evosearch.tasks import Task

Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Array], Array]  # examples (batch, *input) -> (batch, outputs)

TOLERANCE = 1e-4  # largest difference of an export that is called done, as `difference` measures it
BATCHES = (1, 5)  # batch sizes it is compared at; both differ from the one it is traced with
TRACED = 3
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
PROTOBUF_LIMIT = 2**31  # bytes; one ONNX file holds no more


@dataclass(frozen=True)
class Original:
    """What is exported: a network on the CPU in evaluation mode, what it was made from, and the task it was made for.

    task: None for a part of a network, which has no head and no examples.
    """

    architecture: Architecture
    network: nn.Module
    task: Task | None


@dataclass(frozen=True)
class Exported:
    """A file that was loaded again. differences: the largest one by what was compared, as `difference` measures it."""

    path: Path
    format: str
    size: int
    differences: Mapping[str, float]

    @property
    def difference(self) -> float:
        return max(self.differences.values())


@dataclass(frozen=True)
class Format:
    """write: a file's content. read: the file as a function; of the original it takes what the format does not hold.

    use: how a person loads it.
    """

    suffix: str
    write: Callable[[Original], bytes]
    read: Callable[[Original, Path], Run]
    use: str


def export(original: Original, format: str, path: Path) -> Exported:
    """Write the network to `path` in one of FORMATS; a file that is there is replaced once the new one is sound.

    Compared on random examples and on real ones of the task, at two batch sizes. Raises ExportError, which names the
    layer, where the format cannot say the network or says another one; then nothing is left at `path`.
    """
    if format not in FORMATS:
        raise ExportError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    if format == "onnx":
        _require_onnx()
    with Disk().replacing(path, alone=False, durable=False) as beside:
        differences = _attempt(original, format, beside)
        size = beside.stat().st_size
    return Exported(path, format, size, differences)


def difference(found: Array, expected: Array) -> float:
    """The largest absolute difference of outputs, where they are larger than 1 relative to the largest of them.

    Infinite where the shapes differ, or one is finite where the other is not.
    """
    if found.shape != expected.shape:
        return float("inf")
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    if same.all():
        return 0.0
    if not (np.isfinite(found) | same).all() or not (np.isfinite(expected) | same).all():
        return float("inf")
    apart = np.abs(np.subtract(found, expected, where=~same, out=np.zeros_like(expected)))
    return float(apart.max() / max(1.0, np.abs(expected[np.isfinite(expected)]).max()))


def description(original: Original) -> dict[str, Any]:
    """What a user of the file needs to know beside it, as plain data: the files' metadata under the key `evosearch`."""
    architecture, task = original.architecture, original.task
    found: dict[str, Any] = {
        "version": metadata.version("evosearch"),
        "architecture": architecture.text,
        "input": list(architecture.input),
    }
    if task is not None:
        found |= {"task": task.name, "outputs": task.outputs, "labels": list(task.labels)}
        constants = {"mean": task.mean, "std": task.std, **task.kind.constants(task)}
        found |= {name: np.asarray(values, dtype=np.float64).tolist() for name, values in constants.items()}
    return found


# --- compared -------------------------------------------------------------------------------------------------------


def _attempt(original: Original, format: str, beside: Path) -> dict[str, float]:
    """Write, read and compare; what the format refuses, or says otherwise, becomes an error that names the layer."""
    try:
        with _quiet():
            return _written(original, format, beside)
    except EvosearchError:
        raise
    except Exception as error:  # exporters raise whatever torch and onnx met inside: no common base but this
        with _quiet():
            layer = _culprit(original, format, beside)
        reason = str(error) if isinstance(error, _Differs) else _reason(error)
        raise ExportError(f"{format} cannot say {layer}: {reason}") from error


class _Differs(Exception):
    """What was loaded again computes something else."""


def _written(original: Original, format: str, beside: Path) -> dict[str, float]:
    """The differences by what was compared. Raises _Differs where one is over TOLERANCE."""
    Disk().write_new(beside, FORMATS[format].write(original))
    again, expected = FORMATS[format].read(original, beside), runner(original.network)
    differences = {name: difference(again(x), expected(x)) for name, x in _examples(original)}
    name = max(differences, key=lambda name: differences[name])
    if not differences[name] <= TOLERANCE:
        raise _Differs(f"the outputs on {name} differ by {differences[name]:.2g}, allowed is {TOLERANCE:g}")
    return differences


def runner(module: nn.Module) -> Run:
    """A module as a function of arrays."""
    import torch

    def run(x: Array) -> Array:
        with torch.no_grad():
            out: Array = module(torch.from_numpy(x)).numpy()
        return out

    return run


def _examples(original: Original) -> Iterator[tuple[str, Array]]:
    rng = np.random.default_rng(0)
    for batch in BATCHES:
        yield f"random x{batch}", rng.standard_normal((batch, *original.architecture.input), dtype=np.float32)
    if original.task is not None:
        for batch in BATCHES:
            rows = np.arange(batch) % len(original.task.validation)
            yield f"{original.task.name} x{batch}", original.task.normalise(original.task.validation.x[rows])


def _culprit(original: Original, format: str, beside: Path) -> str:
    """The layer that fails: from the root down, the innermost one that fails when it is all there is."""
    node = original.architecture.root
    if _alone(original, node, format, beside):
        return "the network with these weights, though its layers with fresh ones"
    while True:
        inner = next((part for part in dict.fromkeys(node.parts) if not _alone(original, part, format, beside)), None)
        if inner is None:
            return f"{node.layer.name} ({show(node.inputs)} to {show(node.output)})"
        node = inner


def _alone(original: Original, node: Node, format: str, beside: Path) -> bool:
    """Whether the format can say a network of this one layer with its parts."""
    part = Architecture(node, node.inputs, "", original.architecture.derivation)
    try:
        _written(Original(part, network.build(part).eval(), None), format, beside)
    except Exception:  # noqa: BLE001 - as in _attempt; that it fails is the answer, the reason was told there
        return False
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters tell of their packages and progress; they print whole programs where they fail."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        told = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: BaseException, limit: int = 200) -> str:
    """The first line of what an exporter failed of in the first place: ONNX's wraps torch.export's, with advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    said = f"{type(error).__name__}: {line}"
    return said if len(said) <= limit else said[: limit - 3] + "..."


# --- the formats ----------------------------------------------------------------------------------------------------


def _write_python(original: Original) -> bytes:
    if original.task is None:
        return network.source(original.architecture).encode()
    return model_source(original.architecture, original.task).encode()


def _read_python(original: Original, path: Path) -> Run:
    namespace: dict[str, Any] = {"__name__": path.stem}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)  # noqa: S102 - written just above
    module = namespace["Network"]()
    module.load_state_dict(original.network.state_dict())
    return runner(module.eval())


def _write_safetensors(original: Original) -> bytes:
    from safetensors.torch import save

    state = {name: tensor.contiguous() for name, tensor in original.network.state_dict().items()}
    return save(state, {"format": "pt", "evosearch": json.dumps(description(original))})


def _read_safetensors(original: Original, path: Path) -> Run:
    from safetensors.torch import load_file

    module = network.build(original.architecture)
    module.load_state_dict(load_file(path))
    return runner(module.eval())


def _traced(original: Original) -> tuple[torch.Tensor, Any]:
    """An example for an exporter, and which of its axes is free."""
    import torch

    x = torch.zeros(TRACED, *original.architecture.input)
    return x, ({0: torch.export.Dim("batch")},)


def _write_pt2(original: Original) -> bytes:
    import torch

    x, free = _traced(original)
    program = torch.export.export(original.network, (x,), dynamic_shapes=free)
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"evosearch": json.dumps(description(original))})
    return file.getvalue()


def _read_pt2(_: Original, path: Path) -> Run:
    import torch

    return runner(torch.export.load(path).module())


def _write_onnx(original: Original) -> bytes:
    import torch

    size = sum(tensor.nbytes for tensor in original.network.state_dict().values())
    if size >= PROTOBUF_LIMIT:
        raise ExportError(f"onnx holds 2 GiB in a file, and the weights are {size / 2**30:.1f}; use --format pt2")
    x, free = _traced(original)
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


def _read_onnx(_: Original, path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(x: Array) -> Array:
        out: Array = session.run(None, {"x": x})[0]
        return out

    return run


def _require_onnx() -> None:
    missing = [name for name in ONNX_PACKAGES if util.find_spec(name) is None]
    if missing:
        raise ExportError(f"--format onnx needs {', '.join(missing)}: pip install 'evosearch[onnx]'")


FORMATS: dict[str, Format] = {
    "python": Format(".py", _write_python, _read_python, 'runpy.run_path("{name}")["Network"]()'),
    "safetensors": Format(
        ".safetensors", _write_safetensors, _read_safetensors, 'safetensors.torch.load_file("{name}")'
    ),
    "pt2": Format(".pt2", _write_pt2, _read_pt2, 'torch.export.load("{name}").module()(x)'),
    "onnx": Format(".onnx", _write_onnx, _read_onnx, 'onnxruntime.InferenceSession("{name}").run(None, {{"x": x}})'),
}

__all__ = ["FORMATS", "TOLERANCE", "Exported", "Format", "Original", "description", "difference", "export", "runner"]
