"""Opening a Space: a grammar, a person's own layers, an input shape and limits put together, in one place for all."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from evosearch.architecture import USUAL_INPUT, Limits, Space
from evosearch.errors import RunChanged, UsageError
from evosearch.layers import load_layers, vocabulary
from evosearch.layers.base import show
from evosearch.layers.columns import Columns, columns_of
from evosearch.layers.library.masked import Masked
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.plugins import CLASSES
from evosearch.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from evosearch.grammar.core import Grammar
    from evosearch.layers.base import Leaf, Shape
    from evosearch.plugins import Operators
    from evosearch.tasks import AnyTask

HEADS = ("head/", "kind/")  # plug-ins that a head may come from


def open_space(
    grammar: Grammar,
    layers: Iterable[Path | str] = (),
    input: Shape | None = None,
    limits: Limits | None = None,
    head: Leaf | None = None,
    columns: Columns | None = None,
    format: str = "",
    stem: Leaf | None = None,
) -> Space:
    """The architectures of a grammar at an input shape; the usual one of its mode where none is given.

    layers: files of a person's own; of two layers of one name the later one counts. Runs them. head: as in Space.
    columns: of the table that is read, where it is one. format, stem: as in Space.
    Raises UsageError where a language without shapes is given one.
    """
    if grammar.input == "none":
        if input is not None:
            raise UsageError(f"--input {show(input)}: {grammar.name} is a language without shapes (`// input: none`)")
        return Space(grammar, None, None, limits)
    own: dict[str, type] = {}
    for file in layers:
        found = load_layers(file)
        for name in own.keys() & found:
            own[name]._replaced = True  # type: ignore[attr-defined]
        own |= found
    words = vocabulary(grammar, own, columns)
    return Space(grammar, words, input or USUAL_INPUT[grammar.input], limits, head, stem, format)


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
    return open_space(grammar, layers, task.input_shape, limits, behind, table_of(task), format, stem_of(task))


def stem_of(task: AnyTask) -> Leaf | None:
    """What stands before every network for a task: of series of unequal length what takes their ends from them."""
    return Masked() if isinstance(task, Task) and task.masked else None


def table_of(task: AnyTask) -> Columns | None:
    """What the columns of a task's train split hold, where its examples are rows of a table."""
    if not isinstance(task, Task) or len(task.input_shape) != 1:
        return None
    return columns_of(task.normalise(task.train.x))


# --- in a run's header ----------------------------------------------------------------------------------------------


def described(space: Space, task: AnyTask, used: Iterable[str]) -> dict[str, Any]:
    """What a run's header says of its space, so that `recorded_space` opens it without the task.

    used: the run's plug-ins, as "kind/name".
    """
    found: dict[str, Any] = {
        "input": list(space.network_input) if space.network_input else None,
        "outputs": task.outputs if isinstance(task, Task) else None,
        "head": "",
    }
    if space.head is not None and type(space.head) is not MeanLinear:
        found["head"] = next((name for name in used if name.startswith(HEADS)), "")
        if (said := _said(space.head)) is not None:
            found["head_layer"] = said
    if space.stem is not None:
        found["masked"] = True
    if space.vocabulary and (columns := space.vocabulary.columns_read):
        found["columns"] = columns.packed()
    if space.format:
        found["modifier"] = space.format
    return found


def recorded_space(
    header: Mapping[str, Any], grammar: Grammar, layers: Iterable[Path | str] = (), own: Operators | None = None
) -> Space:
    """The space that a run's header describes, without limits.

    layers, own: the run's own code; without `own` a head that is such code is left out. Raises RunChanged where the
    head's class is not found.
    """
    shape = tuple(header["input"]) if header["input"] else None
    columns = Columns.unpacked(header["columns"]) if "columns" in header else None
    head, modifier = _recorded_head(header, own), header.get("modifier", "")
    stem = Masked() if header.get("masked") else None
    return open_space(grammar, layers, shape, head=head, columns=columns, format=modifier, stem=stem)


def _said(head: Leaf) -> list[Any] | None:
    """A head as plain values: module and name of its class, and its fields; None where these are no plain values."""
    named = fields(head)  # type: ignore[arg-type]  # a layer is a dataclass by contract, which its base cannot say
    values = {field.name: getattr(head, field.name) for field in named}
    return [type(head).__module__, type(head).__name__, values] if all(map(_is_plain, values.values())) else None


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, tuple) else isinstance(value, int | float | str)


def _recorded_head(header: Mapping[str, Any], own: Operators | None) -> Leaf | None:
    outputs, name = header.get("outputs"), header.get("head", "")
    if outputs is None or (name and own is None):
        return None
    if own is None or not name:
        return MeanLinear(int(outputs))
    plugin = own.get(*name.split("/"))  # loads its file, and with it what that imports
    module, title, values = header.get("head_layer", ("", "", {}))
    cls = getattr(sys.modules.get(module), title, None) if title else None
    if cls is None or not all(hasattr(cls, member) for member in CLASSES["head"]):  # a header may name anything
        raise RunChanged(
            f"{plugin.path}: it does not define the run's head, {title or 'which is not recorded'}, where it is "
            "loaded; import it at the file's top, or build the network by best/model.py"
        )
    head: Leaf = cls(**{key: _tuples(value) for key, value in values.items()})
    return head


def _tuples(value: Any) -> Any:
    """A value as it was before msgpack made lists of tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


__all__ = ["described", "open_space", "recorded_space", "space_of", "table_of"]
