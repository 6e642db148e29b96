"""Opening a Space: a grammar, a person's own layers, an input shape and limits put together, in one place for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.architecture import USUAL_INPUT, Limits, Space
from evosearch.errors import UsageError
from evosearch.layers import load_layers, vocabulary
from evosearch.layers.base import show
from evosearch.layers.columns import columns_of
from evosearch.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from evosearch.grammar.core import Grammar
    from evosearch.layers.base import Leaf, Shape
    from evosearch.layers.columns import Columns
    from evosearch.tasks import AnyTask


def open_space(
    grammar: Grammar,
    layers: Iterable[Path | str] = (),
    input: Shape | None = None,
    limits: Limits | None = None,
    head: Leaf | None = None,
    columns: Columns | None = None,
    format: str = "",
) -> Space:
    """The architectures of a grammar at an input shape; the usual one of its mode where none is given.

    layers: files of a person's own; of two layers of one name the later one counts. Runs them. head: as in Space.
    columns: of the table that is read, where it is one. format: as in Space.
    Raises UsageError where a language without shapes is given one.
    """
    if grammar.input == "none":
        if input is not None:
            raise UsageError(f"--input {show(input)}: {grammar.name} is a language without shapes (`// input: none`)")
        return Space(grammar, None, None, limits)
    own: dict[str, type] = {}
    for file in layers:
        own |= load_layers(file)
    words = vocabulary(grammar, own, columns)
    return Space(grammar, words, input or USUAL_INPUT[grammar.input], limits, head, format=format)


def space_of(
    task: AnyTask,
    grammar: Grammar,
    layers: Iterable[Path | str] = (),
    limits: Limits | None = None,
    head: Callable[[int], Leaf] | None = None,
    format: str = "",
) -> Space:
    """The candidates for a task: networks from its input shape to its outputs, or sentences of a language.

    A task that scores candidates itself need not say what they take; a grammar with layers is then read at its usual
    input shape. head: makes the head for so many outputs, where it is not that of the task's kind. format: as in Space.
    Raises UsageError where a task that trains networks is given a language without layers.
    """
    if grammar.input == "none":
        if isinstance(task, Task):
            raise UsageError(f"{grammar.name} has no layers (`input: none`), and task {task.name} trains networks")
        return open_space(grammar, limits=limits)
    behind = None
    if isinstance(task, Task):
        behind = task.kind.head(task) if head is None else head(task.outputs)
    return open_space(grammar, layers, task.input_shape, limits, behind, table_of(task), format)


def table_of(task: AnyTask) -> Columns | None:
    """What the columns of a task's train split hold, where its examples are rows of a table."""
    if not isinstance(task, Task) or len(task.input_shape) != 1:
        return None
    return columns_of(task.normalise(task.train.x))


__all__ = ["open_space", "space_of", "table_of"]
