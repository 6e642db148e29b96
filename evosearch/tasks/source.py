"""What stands in model.py below the network: what its examples are made of, and how it is asked. Needs torch alone.

For tables NumPy too: `evosearch.tasks.encode` stands in it as it is.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.tasks import encode

if TYPE_CHECKING:
    from evosearch.tasks.base import Task

# Examples that float32 would not tell apart are centred and scaled before they become float32.
_PREPROCESS = {
    "float32": "(torch.as_tensor({examples}).float() - MEAN) / STD",
    "float64": "((torch.as_tensor({examples}, dtype=torch.float64) - MEAN) / STD).float()",
}


def answer_source(task: Task) -> str:
    """Python source: constants, `preprocess(examples)`, and each of the kind's answers as `NAME(network, examples)`."""
    shape = "x".join(map(str, task.input_shape))
    lines = [
        f"# Of the train split of {task.name}. One example is {shape}, batch first.",
        f"MEAN = {_literal(task.mean)}",
        f"STD = {_literal(task.std)}",
    ]
    if task.labels:
        lines.append(f"LABELS = {list(task.values)!r}")
    lines += [f"{name.upper()} = {_literal(value)}" for name, value in task.kind.constants(task).items()]
    examples, what = "examples", "A batch of raw examples (array or tensor)"
    if task.columns:
        lines += [
            f"COLUMNS = {[dict(column) for column in task.columns]!r}",
            f"NAMES = {list(task.names)!r}  # of the file's columns",
            "",
            "",
            _encoder(),
        ]
        examples, what = "_encoded(examples)", "Rows (mappings by column, a DataFrame, or cells in the file's order)"
    lines += [
        "",
        "",
        "def preprocess(examples):",
        f'    """{what} as the network takes it."""',
        f"    return {_PREPROCESS[task.mean.dtype.name].format(examples=examples)}",
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


def _encoder() -> str:
    """`evosearch.tasks.encode` without its first words, and what passes on examples that are numbers already."""
    source = inspect.getsource(encode)
    return (
        source[source.index("import math") :]
        + '''

def _encoded(examples):
    """Rows as numbers; a tensor, or an array that is as wide as they are, holds them already."""
    wide = () if hasattr(examples, "columns") else getattr(examples, "shape", ())[1:]
    if isinstance(examples, torch.Tensor) or (wide == (width(COLUMNS),) and len(NAMES) != width(COLUMNS)):
        return examples
    return encode(COLUMNS, examples, NAMES)
'''.rstrip()
    )


def _literal(array: np.ndarray[Any, np.dtype[Any]]) -> str:
    if array.dtype == np.float64:
        return f"torch.tensor({array.tolist()!r}, dtype=torch.float64)"
    return f"torch.tensor({array.astype(float).tolist()!r})"
