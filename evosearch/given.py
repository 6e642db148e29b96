"""Tasks that a program holds in memory: data it has loaded, a function it has defined.

Workers find a task by its name, since they are processes of their own. So data are written to a file once, whose
contents are part of the run's digests like any other file's. A function that a worker could not import (of a script, a
notebook, a lambda) is kept here, under a name that says what it does: `evosearch.given:NAME`. Only this process can
call it, which is where functions are evaluated unless workers are asked for.
"""

from __future__ import annotations

import csv
import hashlib
import inspect
import io
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import TaskError
from evosearch.store.disk import Disk
from evosearch.tasks.arrays import TITLES
from evosearch.tasks.cells import place
from evosearch.tasks.columns import MOST_WORDS
from evosearch.tasks.encode import ORDERS, cells_of, days, missing, number, titles
from evosearch.tasks.ends import side_by_side
from evosearch.tasks.kinds import are_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

TOLD = "told_"
SPLITS = tuple(word for words in TITLES.values() for word in words)
NO_CELLS = (list, tuple, dict, set, frozenset, bytes, bytearray, complex, np.ndarray, np.complexfloating)
TARGET, GROUPS = "target", "groups"  # columns of a table's targets and groups that have no name of their own

_functions: dict[str, Callable[..., Any]] = {}


def spec(task: object, file: Path, target: str = "", groups: str = "") -> tuple[str, dict[str, Any]]:
    """What a configuration says of a task: its name, and what else of [data] follows from it.

    task: a name or path as `--task` takes it; a function `(text, derivation, seed) -> fitness`; a pair (X, y) of
    arrays, or of a DataFrame and its targets; these with the groups of the rows, (X, y, groups); a DataFrame with its
    targets in it; a mapping of arrays named x_train, y_train, x_test, ...; a torch Dataset of pairs (x, y), or a
    mapping of such named train, val and test.
    file: where data are written, with the suffix of their format. target: the column of a DataFrame that holds its
    targets, as `data.target` names it; the last one where empty. groups: as `data.groups` names them; the arrays called
    so may hold words. Raises TaskError.
    """
    if isinstance(task, str | Path):
        return str(task), {}
    if isinstance(task, Mapping):
        return str(_save(file.with_suffix(".npz"), _splits(task), groups)), {}
    if isinstance(task, tuple) and len(task) in (2, 3):
        x, y, *of = task
        if all(_is_data_set(one) and not hasattr(one, "shape") and not isinstance(one, list | tuple) for one in task):
            raise TaskError('two data sets: say which is which, {"train": ..., "test": ...}')
        if hasattr(x, "columns"):
            return _save_table(file.with_suffix(".csv"), x, y, groups=of)
        arrays = {name: _array(one) for name, one in zip(("x", "y", GROUPS), task, strict=False)}
        return str(_save(file.with_suffix(".npz"), arrays, GROUPS)), {"groups": GROUPS} if of else {}
    if hasattr(task, "columns"):
        return _save_table(file.with_suffix(".csv"), task, target=target)
    if _is_data_set(task):
        return str(_save(file.with_suffix(".npz"), _stacked(_each(task)))), {}
    if callable(task):
        return _function(task), {}
    raise TaskError(
        f"a task of type {type(task).__name__}: give a name or path, a pair (X, y), a DataFrame, a mapping of arrays, "
        "a torch Dataset or a function"
    )


def _array(values: Any) -> Array:
    """Values as an array; a tensor from wherever it lies. Raises TaskError where they are of several shapes."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if "bfloat16" in str(values.dtype):  # of which NumPy has none
            values = values.float()
    if hasattr(values, "toarray"):
        values = values.toarray()  # a sparse matrix: a network reads all of a row
    if np.ma.is_masked(values):
        raise TaskError("an array with masked values: fill them, or leave out such rows")
    try:
        array = np.asarray(values)
        # NumPy would give every text the room of the longest.
        if array.dtype != object or any(isinstance(one, str | bytes) for one in array.flat):
            return array
        # What pandas gives of columns of several types: Python's numbers, each by itself.
        inferred = np.asarray(array.tolist())
        return inferred if inferred.dtype.kind in "biuf" else array
    except ValueError as error:
        if (series := _series(values)) is not None:
            return series
        raise TaskError(
            f"examples must be of one shape: {error}; of series of several lengths each is an array (S, D)"
        ) from None


def _series(values: Sequence[Any]) -> Array | None:
    """Series of several lengths as one array; None of anything else, as rows of plain numbers one of which is short.

    Raises TaskError for one of other dimensions than the first.
    """
    if not all(hasattr(one, "shape") for one in values):
        return None
    series = [_array(one) for one in values]
    axes = [one.shape[1] if one.ndim == 2 else 1 for one in series]
    other = next((row for row, one in enumerate(series) if axes[row] != axes[0] or one.ndim != series[0].ndim), None)
    if other is not None and series[0].ndim == 2 and series[0].dtype != np.uint8:
        raise TaskError(
            f"row {other}: an example of shape {series[other].shape}, and the first of {series[0].shape}; series have "
            "the shape (S, D), all with the same D"
        )
    return side_by_side(series)


def _splits(task: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of a mapping, whose values are arrays, or data sets by the names of their splits."""
    found: dict[str, Array] = {}
    for name, value in task.items():
        if str(name).lower() in SPLITS and _is_data_set(value):
            found |= {f"{part}_{name}": array for part, array in _stacked(_each(value)).items()}
        else:
            found[str(name)] = _array(value)
    return found


def _is_data_set(task: object) -> bool:
    """Whether this is a torch Dataset, or a list: what has examples by number."""
    return hasattr(task, "__getitem__") and hasattr(task, "__len__")


def _each(examples: Any) -> Iterable[Any]:
    return (examples[row] for row in range(len(examples)))


def _stacked(examples: Iterable[Any]) -> dict[str, Array]:
    """The arrays of a data set's pairs (x, y)."""
    pairs = list(examples)
    if not pairs or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise TaskError("a data set must hold pairs (example, target), and one at least")
    columns = {name: [pair[part] for pair in pairs] for part, name in enumerate("xy")}
    try:
        return {name: np.stack([_array(one) for one in values]) for name, values in columns.items()}
    except ValueError as error:
        if (series := _series(columns["x"])) is not None:
            return {"x": series, "y": np.stack([_array(one) for one in columns["y"]])}
        raise TaskError(f"the examples of a data set must be of one shape: {error}") from None


def _save(file: Path, arrays: Mapping[str, Array], groups: str = "") -> Path:
    """Write the archive, whole or not at all. groups: the arrays called so may hold words, as targets may. Raises
    TaskError for arrays of objects, StorageError.
    """
    plain, worded = {}, ("y", groups.lower() or "y")
    for name, array in arrays.items():
        target = name.lower().startswith(worded) or name.lower().endswith(worded)
        if target and array.dtype.kind not in "biufU" and all(isinstance(one, str) for one in array.ravel().tolist()):
            array = array.astype(str)  # words as pandas keeps them
        if array.dtype.kind not in ("biufU" if target else "biuf"):
            words = ", or words for classes and groups" if target else ""
            raise TaskError(f"{name} holds {array.dtype} values; give numbers{words}")
        plain[name] = array
    disk = Disk()
    disk.mkdir(file.parent)
    with disk.replacing(file) as beside, beside.open("wb") as opened:
        np.savez(opened, allow_pickle=False, **plain)
    return file.resolve()


def _save_table(
    file: Path, frame: Any, y: Any = None, *, target: str = "", groups: Sequence[Any] = ()
) -> tuple[str, dict[str, Any]]:
    """A DataFrame as a CSV with a header; no value is an empty cell. Targets y are last where they are no column of it;
    groups: none, or one array of the rows' groups, a column behind the frame's.
    """
    names = titles(frame.columns)
    if twice := next((name for name, count in Counter(names).items() if count > 1), ""):
        raise TaskError(f"two columns are called '{twice}'; give them names of their own")
    columns = [cells_of(frame[name]) for name in frame.columns]
    kinds = [getattr(frame[name], "dtype", "") for name in frame.columns]
    told: dict[str, Any] = {"header": "yes"}
    for one in groups:
        _require_in_order(frame, one, "groups", "groups")
        told["groups"] = _free(GROUPS, names)
        names.append(told["groups"])
        columns.append(_array(one).ravel().tolist())
        kinds.append("")
    if y is not None:
        _require_in_order(frame, y)
        targets = _array(y)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets[:, 0]
        if targets.ndim != 1:
            raise TaskError(f"targets of shape {targets.shape}; a table has one for each row")
        one = y[y.columns[0]] if hasattr(y, "columns") else y
        name = getattr(one, "name", None)
        if name is None:
            name = _free(TARGET, names)
        target = str(name).strip(" \t")
        if target in names:
            raise TaskError(f"column '{name}' of X has the name of the target; rename one of them")
        names.append(target)
        columns.append(list(targets) if targets.dtype.kind in "mM" else targets.tolist())
        kinds.append(getattr(one, "dtype", ""))
        told["target"] = target
    if len({*map(len, columns)}) > 1:
        several = f"{len(columns[-2])} groups and " if groups else ""
        raise TaskError(f"{several}{len(columns[-1])} targets for {len(columns[0])} rows; they must be as many")
    goal = place(names, target) if target else len(names) - 1
    words = []
    for at, (name, cells, kind) in enumerate(zip(names, columns, kinds, strict=True)):
        if _are_named(cells) or (at != goal and is_category(kind) and _need_saying(cells)):
            words.append(name)
        elif at == goal and is_category(kind):
            told["kind"] = "classification"
    if words:
        told["words"] = words
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(names)
    written = [[_cell(cell, name) for cell in cells] for name, cells in zip(names, columns, strict=True)]
    table.writerows(zip(*written, strict=True))
    disk = Disk()
    disk.mkdir(file.parent)
    with disk.replacing(file) as beside:
        disk.write_new(beside, text.getvalue().encode("utf-8"))
    return str(file.resolve()), told


def _free(name: str, names: Sequence[str]) -> str:
    """The name, or one like it, that no column has."""
    return next(one for one in (name, *(f"{name}_{n}" for n in range(len(names)))) if one not in names)


def _cell(cell: Any, name: str) -> Any:
    """A cell as a CSV writes it; of a length of time its days. Raises TaskError for what is neither number nor word."""
    if type(cell) in (bool, int, float):
        return cell if cell == cell else ""
    if isinstance(cell, str):
        if not cell.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell):
            raise TaskError(f"column '{name}' holds {cell!r}, which is no text: half of a pair of surrogates")
        return cell
    if isinstance(cell, NO_CELLS):
        raise TaskError(f"column '{name}' holds {type(cell).__name__} values; give numbers, words or dates")
    if missing(cell):
        return ""
    return number(cell) if isinstance(cell, np.timedelta64 | timedelta) else cell


def is_category(kind: object) -> bool:
    """Whether a column's dtype says that its values are categories: pandas' and polars'."""
    return str(kind).lower().startswith(("categor", "enum"))


def _need_saying(cells: Sequence[Any]) -> bool:
    """Whether a column of categories would be read as anything else than words, or be refused; dates stay dates."""
    known = {cell for cell in cells if not missing(cell)}
    if any(number(cell) is not None for cell in known):
        return True
    return len(known) > MOST_WORDS and not all(any(days(cell, order) is not None for order in ORDERS) for cell in known)


def _are_named(cells: Sequence[Any]) -> bool:
    """Whether all that have a value are texts, of a few different whole numbers."""
    known = [cell for cell in cells if not missing(cell)]
    texts = bool(known) and all(isinstance(cell, str) and re.fullmatch("[+-]?[0-9]{1,9}", cell) for cell in known)
    return texts and are_classes(np.array(known, np.int64))


def _require_in_order(frame: Any, y: Any, what: str = "targets", name: str = "y") -> None:
    """Raise TaskError where targets have the rows' index in another order, as of a frame that was shuffled alone."""
    rows: Any = getattr(frame, "index", None)
    targets: Any = getattr(y, "index", None)
    if rows is None or not hasattr(targets, "equals") or len(rows) != len(targets) or targets.equals(rows):
        return
    if Counter(targets) == Counter(rows):
        raise TaskError(
            f"{what} have the index of X in another order: give {name}.loc[X.index], or {name}.to_numpy() as it is"
        )


# --- functions ------------------------------------------------------------------------------------------------------


def _function(function: Callable[..., Any]) -> str:
    """The name by which tasks.load finds a function; functions of one code that were made otherwise have several."""
    if (found := _importable(function)) is not None:
        return found
    base = kept = _kept_as(function)
    number = 1
    while kept in _functions and not _alike(_functions[kept], function):
        number += 1
        kept = f"{base}_{number}"
    _functions[kept] = function
    return f"{__name__}:{kept}"


def stands_for(task: Callable[..., Any] | str | Path, name: str) -> bool:
    """Whether a task is the one of this name in a run; a function that is kept here is found by it from then on."""
    if not callable(task):
        return str(task) == name
    if (found := _importable(task)) is not None:
        return found == name
    module, _, kept = name.partition(":")
    if module != __name__ or re.fullmatch(rf"{re.escape(_kept_as(task))}(_\d+)?", kept) is None:
        return False
    _functions[kept] = task
    return True


def _importable(function: Callable[..., Any]) -> str | None:
    """`module:name` of a function that any process can import; None of others."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module and module != "__main__" and getattr(sys.modules.get(module), name, None) is function:
        return f"{module}:{name}"
    return None


def _kept_as(function: Callable[..., Any]) -> str:
    """What a function is called here: its own name, and a digest of its code."""
    plain = getattr(function, "__name__", "")
    stem = plain if plain.isidentifier() else "function"
    return f"{stem}_{hashlib.blake2b(_code(function), digest_size=6).hexdigest()}"


def _alike(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether two functions of one code hold the same: closures of a loop differ, a cell that is run again does not."""
    mine, theirs = _held(one), _held(other)
    plain = (bool, int, float, str, bytes)
    if len(mine) != len(theirs):
        return False
    pairs = zip(mine, theirs, strict=True)
    return all(a is b or (isinstance(a, plain) and type(a) is type(b) and a == b) for a, b in pairs)


def _held(function: Callable[..., Any]) -> list[Any]:
    """What a function has besides its code: what it closes over, and its defaults; an object that is called, itself."""
    if not hasattr(function, "__code__"):
        return [function]
    itself = getattr(function, "__self__", None)  # of a method
    defaults = [*(getattr(function, "__defaults__", None) or ())]
    named = sorted((getattr(function, "__kwdefaults__", None) or {}).items())
    closed = [_content(one) for one in getattr(function, "__closure__", None) or ()]
    return [itself, *closed, *defaults, *(value for _, value in named)]


def _content(cell: Any) -> Any:
    """What a closure's cell holds; None where its name has no value yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _code(function: Callable[..., Any]) -> bytes:
    """What tells a function from another: its source, else its instructions and constants, else its type's source."""
    try:
        return inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        if code is None:
            return inspect.getsource(type(function)).encode()
        return (
            bytes(code.co_code)
            + repr((code.co_names, [c for c in code.co_consts if not hasattr(c, "co_code")])).encode()
        )


def told(metric: str, shape: tuple[int, ...] | None) -> str:
    """The task of candidates that are evaluated elsewhere, networks at an input shape or sentences of a language.

    Its name says all there is to it, so that any process can read such a run.
    """
    return f"{__name__}:{TOLD}{metric}{'_at_' + 'x'.join(map(str, shape)) if shape else ''}"


def _told(metric: str, shape: str | None) -> Callable[..., Any]:
    def elsewhere(text: str, derivation: object, seed: int) -> float:  # noqa: ARG001 - what a fitness function takes
        raise TaskError("candidates of this run are evaluated elsewhere: Study.ask gives them, Study.tell scores them")

    vars(elsewhere).update(metric=metric, input_shape=tuple(map(int, shape.split("x"))) if shape else None)
    return elsewhere


def elsewhere(task: str) -> bool:
    """Whether candidates of this task are evaluated by whoever asks for them: `told` made its name."""
    return task.startswith(f"{__name__}:{TOLD}")


def here_alone(task: str) -> bool:
    """Whether `spec` kept a function for this task that no other process can find: it is called in this one."""
    return task.partition(":")[0] == __name__ and task.partition(":")[2] in _functions


def __getattr__(name: str) -> Callable[..., Any]:
    """The kept function of this name, as tasks.load asks for it."""
    if name in _functions:
        return _functions[name]
    if found := re.fullmatch(rf"{TOLD}(\w+?)(?:_at_(\d+(?:x\d+)*))?", name):
        return _told(found[1], found[2])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["elsewhere", "here_alone", "spec", "told"]
