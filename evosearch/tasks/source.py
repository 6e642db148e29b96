"""What stands in model.py below the network: what its examples are made of, and how it is asked. Needs torch alone.

`evosearch.tasks.batch` stands in it as it is; for tables `evosearch.tasks.encode` too, which needs NumPy.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.tasks import encode

if TYPE_CHECKING:
    from evosearch.tasks.base import Task
    from evosearch.tasks.kinds import Kind

TEMPERATURE = "TEMPERATURE"  # that answers may divide logits by

# Examples that float32 would not tell apart are centred and scaled before they become float32.
_PREPROCESS = {
    "float32": "(batch({examples}, SHAPE{masked}).float() - MEAN) / STD",
    "float64": "((batch({examples}, SHAPE{masked}).double() - MEAN) / STD).float()",
}

_ROWS = "Rows (mappings by column, a DataFrame, or cells in the file's order)"
# Raw examples, by the number of their axes.
_RAW = {
    1: "Rows of numbers (an array, a tensor, a DataFrame, or a list)",
    2: "Series (an array or a tensor, or a list of them)",
    3: "Images (an array or a tensor, or a list of them; channels first or last)",
}


def tempered(kind: Kind) -> bool:
    """Whether one of the kind's answers is of logits that are divided by a temperature."""
    return any(TEMPERATURE in answer.source for answer in kind.answers)


def answer_source(task: Task, temperature: float = 1.0) -> str:
    """Python source: constants, `preprocess(examples)`, and each of the kind's answers as `NAME(network, examples)`.

    temperature: that fits held-out answers, 1 where none was fitted.
    """
    shape = "x".join(map(str, task.input_shape))
    marked = ", with a last number that preprocess adds: whether the step is there" if task.masked else ""
    lines = [
        f"# Of the train split of {task.name}. One example is {shape}{marked}, batch first.",
        f"SHAPE = {task.input_shape!r}",
        f"MEAN = {_literal(task.mean)}",
        f"STD = {_literal(task.std)}",
    ]
    if task.labels:
        lines.append(f"LABELS = {list(task.values)!r}")
    lines += [f"{name.upper()} = {_literal(value)}" for name, value in task.kind.constants(task).items()]
    if tempered(task.kind):
        lines.append(f"{TEMPERATURE} = {temperature!r}  # that logits are divided by for probabilities; 1: as they are")
    examples, what, preprocess = "examples", _RAW[len(task.input_shape)], _PREPROCESS[task.mean.dtype.name]
    if task.columns:
        lines += [
            f"COLUMNS = {[dict(column) for column in task.columns]!r}",
            f"NAMES = {list(task.names)!r}  # of the file's columns",
            "",
            "",
            _encoder(),
        ]
        examples, what = "_encoded(examples)", _ROWS
    lines += [
        "",
        "",
        _batch(),
        "",
        "",
        "def preprocess(examples):",
        f'    """{what} as the network takes it."""',
        f"    return {preprocess.format(examples=examples, masked=', masked=True' if task.masked else '')}",
    ]
    for answer in task.kind.answers:
        lines += [
            "",
            "",
            f"def {answer.name}(network, examples):",
            f'    """{answer.doc}"""',
            "    with torch.no_grad():",
            f"        return {answer.source.format(out='network(preprocess(examples))')}",
        ]
    return "\n".join(lines) + "\n"


def encoder_source(task: Task) -> str:
    """Python source that needs NumPy alone, for a network of a table in a format that takes numbers.

    `preprocess(rows)` gives what the network takes, (B, D) float32; LABELS and the kind's constants say what it says.
    """
    mean, std = (f"np.array({one.astype(float).tolist()!r}, np.{task.mean.dtype})" for one in (task.mean, task.std))
    return "\n".join(
        [
            f'"""Rows of {task.name} as its network takes them; needs NumPy alone."""',
            "",
            _encoding(),
            "",
            "",
            f"COLUMNS = {[dict(column) for column in task.columns]!r}",
            f"NAMES = {list(task.names)!r}  # of the file's columns",
            f"LABELS = {list(task.values)!r}",
            *(f"{name.upper()} = {values.tolist()!r}" for name, values in task.kind.constants(task).items()),
            f"MEAN = {mean}",
            f"STD = {std}",
            "",
            "",
            "def preprocess(rows):",
            f'    """{_ROWS} as the network takes them."""',
            "    return ((encode(COLUMNS, rows, NAMES).astype(MEAN.dtype) - MEAN) / STD).astype(np.float32)",
            "",
        ]
    )


def _batch() -> str:
    """`evosearch.tasks.batch` without its first words, as it lies there: torch is not loaded for it."""
    source = Path(__file__).with_name("batch.py").read_text(encoding="utf-8")
    return source[source.index("def batch") :].rstrip().replace("examples: Any", "examples")


def _encoder() -> str:
    """`_encoding`, and what passes on examples that are numbers already."""
    return (
        _encoding()
        + '''


def _encoded(examples):
    """Rows as numbers; a tensor, or an array that is as wide as they are and as no row is, holds them already."""
    wide = () if hasattr(examples, "columns") else tuple(getattr(examples, "shape", ())[1:])
    encoded = wide == (width(COLUMNS),) and width(COLUMNS) not in (len(COLUMNS), len(NAMES))
    return examples if encoded or isinstance(examples, torch.Tensor) else encode(COLUMNS, examples, NAMES)
'''.rstrip()
    )


def _encoding() -> str:
    """`evosearch.tasks.encode` without its first words."""
    source = inspect.getsource(encode)
    return source[source.index("import math") :].rstrip()


def _literal(array: np.ndarray[Any, np.dtype[Any]]) -> str:
    if array.dtype == np.float64:
        return f"torch.tensor({array.tolist()!r}, dtype=torch.float64)"
    return f"torch.tensor({array.astype(float).tolist()!r})"
