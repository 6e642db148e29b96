"""A network in a format that others read: written beside, loaded again, compared with the original, then put in place.

Each format is a file of its own here, a class that answers `base.Format`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evosearch import network
from evosearch.architecture import Architecture
from evosearch.ensemble import Ensemble
from evosearch.errors import EvosearchError, ExportError
from evosearch.formats.base import Array, Format, Original, Simulated, runner
from evosearch.formats.onnx import Onnx
from evosearch.formats.onnx_int8 import OnnxInt8
from evosearch.formats.pt2 import Pt2
from evosearch.formats.python import Python
from evosearch.formats.safetensors import Safetensors
from evosearch.layers.base import show
from evosearch.store.disk import Disk, handing_over

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.layers.node import Node

REASON = 200  # characters that are told of why an export failed
TOLERANCE = 1e-4  # largest difference of an export that is called done, as `difference` measures it
QUANTISED = 0.25  # the same of a format that is not exact: what eight bits may change of the largest output
FUSED = 0.05  # of such a format and its own numbers computed in floats: a sum next to a half is rounded either way
BATCHES = (1, 5)  # batch sizes it is compared at; both differ from `base.TRACED`


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


def export(original: Original, format: str, path: Path) -> Exported:
    """Write the network to `path` in one of FORMATS; a file that is there is replaced once the new one is sound.

    Compared on random examples and on real ones of the task, at two batch sizes. Raises ExportError, which names the
    layer, where the format cannot say the network or says another one; then nothing is left at `path`.
    """
    if format not in FORMATS:
        raise ExportError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    FORMATS[format].require()
    with handing_over(path) as beside:
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
    exact = FORMATS[format].exact
    allowed = TOLERANCE if exact else QUANTISED
    examples = dict(_examples(original, drawn=exact or original.task is None))
    found = {name: again(x) for name, x in examples.items()}
    differences = {name: difference(found[name], expected(x)) for name, x in examples.items()}
    _require(differences, allowed)
    made = FORMATS[format]
    if isinstance(made, Simulated):
        simulated = made.simulated(beside)
        fused = {f"its numbers in floats, {n}": difference(found[n], simulated(x)) for n, x in examples.items()}
        _require(fused, FUSED)
        differences |= fused
    return differences


def _require(differences: Mapping[str, float], allowed: float) -> None:
    """Raise _Differs where the largest difference is over what is allowed."""
    name = max(differences, key=lambda name: differences[name])
    if not differences[name] <= allowed:
        raise _Differs(f"the outputs on {name} differ by {differences[name]:.2g}, allowed is {allowed:g}")


def _examples(original: Original, drawn: bool) -> Iterator[tuple[str, Array]]:
    """Random ones, where `drawn`, and real ones of the task."""
    rng = np.random.default_rng(0)
    for batch in BATCHES if drawn else ():
        yield f"random x{batch}", rng.standard_normal((batch, *original.architecture.input), dtype=np.float32)
    if original.task is not None:
        for batch in BATCHES:
            rows = np.arange(batch) % len(original.task.validation)
            yield f"{original.task.name} x{batch}", original.task.normalise(original.task.validation.x[rows])


def _culprit(original: Original, format: str, beside: Path) -> str:
    """The layer that fails: from the root down, the innermost one that fails when it is all there is."""
    model = original.architecture
    members = model.members if isinstance(model, Ensemble) else (model,)
    member = next((one for one in members if not _alone(one, one.root, format, beside)), None)
    if member is None:
        return "the network with these weights, though its layers with fresh ones"
    node = member.root
    while True:
        inner = next((part for part in dict.fromkeys(node.parts) if not _alone(member, part, format, beside)), None)
        if inner is None:
            return f"{node.layer.name} ({show(node.inputs)} to {show(node.output)})"
        node = inner


def _alone(whole: Architecture, node: Node, format: str, beside: Path) -> bool:
    """Whether the format can say a network of this one layer with its parts."""
    part = Architecture(node, node.inputs, "", whole.derivation)
    try:
        _written(Original(part, network.build(part).eval(), None), format, beside)
    except Exception:  # noqa: BLE001 - exporters have no common base; that one fails is the answer
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


def _reason(error: BaseException) -> str:
    """The first line of what an exporter failed of in the first place: ONNX's wraps torch.export's, with advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    said = f"{type(error).__name__}: {line}"
    return said if len(said) <= REASON else said[: REASON - 3] + "..."


FORMATS: Mapping[str, Format] = {
    "python": Python(),
    "safetensors": Safetensors(),
    "pt2": Pt2(),
    "onnx": Onnx(),
    "onnx-int8": OnnxInt8(),
}

__all__ = ["FORMATS", "TOLERANCE", "Exported", "Format", "Original", "difference", "export", "runner"]
