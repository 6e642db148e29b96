"""A person's own fitness function: `--task package.module:fitness`. Any language a grammar describes can be evolved.

    def fitness(text: str, derivation: Derivation, seed: int) -> float | Mapping[str, float]:
        ...

A number is the objective "fitness", larger is better; a mapping names its objectives, and `search.objectives` says
which count. What is better of an objective that evosearch does not know is said by a sign, in the configuration
(`-tokens`) or in the function's attribute `metric`; a mapping's names may have signs too, which then must agree.
"""

from __future__ import annotations

import dis
import hashlib
import importlib
import inspect
import math
import numbers
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from evosearch import paths
from evosearch.errors import TaskError
from evosearch.executed import executed, noting
from evosearch.score import Score
from evosearch.text import blamed, said

if TYPE_CHECKING:
    from evosearch.grammar.core import Derivation
    from evosearch.layers.base import Shape
    from evosearch.tasks.base import TaskSettings


SIGNS: Mapping[str, int] = {"+": 1, "-": -1}


@dataclass(frozen=True, eq=False)
class FunctionTask:
    """A task that calls a function; see the module's docstring.

    name: the spec it was loaded by. digest: 32 hex digits of the module's source file and the function's name.
    code: the files of the person's project that it executes, with their digests (`executed.executed`).
    metric: "fitness", or what the function's own attribute `metric` says. sign: 1 or -1 where that begins with + or -,
        else 0.
    input_shape: the function's attribute of that name, for grammars of networks; else None.
    """

    name: str
    digest: str
    metric: str
    function: Callable[..., Any]
    input_shape: Shape | None
    sign: int = 0
    code: Mapping[str, str] = field(default_factory=dict)
    own_code: ClassVar[bool] = True

    @property
    def signs(self) -> Mapping[str, int]:
        return {self.metric: self.sign}

    @cached_property
    def uses_derivation(self) -> bool:
        return reads_second(self.function)

    @property
    def fidelities(self) -> Sequence[float]:
        """None: a function is called, or it is not."""
        return ()

    def at(self, fidelity: float) -> FunctionTask:
        """Itself: each of its evaluations is a whole one."""
        del fidelity
        return self

    def evaluate(self, text: str, derivation: Derivation | None, key: str, seed: int) -> Score:
        """Call the function. What it raises is a crashed score with the error in a line; NaN or infinity a nan one."""
        started = time.perf_counter()
        try:
            result = self.function(text, derivation, seed)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a person's function may raise anything; the search goes on
            traceback.print_exc()  # into the candidate's log
            return self._failed(
                key, seed, "oom" if isinstance(error, MemoryError) else "crashed", blamed(error), started
            )
        named = isinstance(result, Mapping)
        given = [(str(name), value) for name, value in result.items()] if named else [(self.metric, result)]
        if not given:
            raise self._wrong(_shown(result))
        values: dict[str, float] = {}
        plain: set[str] = set()
        for name, value in given:
            try:
                number = _number(value)
            except OverflowError:
                beyond = f"{name}: {_shown(value)} is beyond what a floating-point number holds"
                return self._failed(key, seed, "crashed", beyond, started)
            if number is None or not name:
                raise self._wrong(f"{_shown(value)}{f' for {name!r}' if named else ''}")
            if name.lstrip("+-") in plain:
                raise self._wrong(f"two values for {name.lstrip('+-')!r}")
            values[name] = number
            plain.add(name.lstrip("+-"))
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            return self._failed(key, seed, "nan", f"{bad[0]} is {values[bad[0]]}", started)
        return Score(key, "ok", values, seconds=time.perf_counter() - started, seed=seed)

    def _wrong(self, what: str) -> TaskError:
        return TaskError(f"{self._where}: it returned {what}; return a number, or a mapping of names to numbers")

    @property
    def _where(self) -> str:
        """File, line and name of the function, as far as Python knows them."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}, {code.co_name}" if code is not None else self.name

    def _failed(self, key: str, seed: int, status: Any, error: str, started: float) -> Score:
        return Score(key, status, seconds=time.perf_counter() - started, seed=seed, error=error)


def load(spec: str, settings: TaskSettings) -> FunctionTask:
    """The function that `package.module:function` names, looked for in the user's project too. Runs the module.

    A module in a run's folder is refused before anything of it runs: a run's configuration may name it, and whoever
    made the run decides what lies there. Raises TaskError where it lies there, is not there at all, or cannot be
    called with three arguments.
    """
    module, function = imported(spec)
    try:
        inspect.signature(function).bind("", None, 0)
    except TypeError as error:
        name = spec.partition(":")[2]
        raise TaskError(f"{spec}: {error}; it is called as {name}(text, derivation, seed)") from error
    named = settings.metric or str(getattr(function, "metric", "fitness"))
    metric = named[1:] if named[:1] in SIGNS else named
    shape = getattr(function, "input_shape", None)
    return FunctionTask(
        spec,
        _digest(module, spec.partition(":")[2]),
        metric,
        function,
        None if shape is None else tuple(map(int, shape)),
        SIGNS.get(named[:1], 0),
        executed(module),
    )


def imported(spec: str) -> tuple[ModuleType, Callable[..., Any]]:
    """The module and the function that `package.module:function` names, as `load` looks for them; errors likewise."""
    module_name, _, function_name = spec.partition(":")
    # A run's folder on the path would lend its files to every later import, not to this module alone.
    own = [folder for folder in (Path.cwd(), paths.project()) if folder and paths.run_around(folder) is None]
    for folder in own:
        if str(folder) not in sys.path:
            sys.path.insert(_behind_library(), str(folder))
    if (file := _behind_python(module_name, own)) is not None:
        python = module_name.partition(".")[0]
        raise TaskError(f"{spec}: {python} is a module of Python's, which stands before {file}; give that another name")
    for file in _files(module_name, spec):
        if (around := paths.run_around(file)) is not None:
            raise TaskError(f"{spec}: {file} lies in a run's folder, {around}, where no code is run; move it elsewhere")
    try:
        with noting(module_name):
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise TaskError(f"no module {error.name!r} for task {spec!r}, here or installed") from error
        raise TaskError(f"{spec}: the module does not load: {error}") from error
    except (Exception, SystemExit) as error:  # a person's module may raise anything while it loads
        raise TaskError(f"{spec}: the module does not load: {said(error)}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        there = tuple(name for name, value in vars(module).items() if inspect.isfunction(value))
        raise TaskError(f"{module_name} has no function {function_name!r}; {paths.offer(function_name, there)}")
    return module, function


def _behind_library() -> int:
    """The place on the import path behind the standard library: a person's queue.py must not stand in for Python's."""
    return max((at for at, path in enumerate(sys.path, 1) if _is_library(path)), default=0)


def _is_library(folder: str) -> bool:
    """Whether a folder of the import path holds the standard library."""
    return folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")} or (
        Path(folder).name == "lib-dynload"
    )


def _behind_python(name: str, folders: Sequence[Path]) -> Path | None:
    """The file of a module in a person's folders that an import would not reach, for one of Python's own; else None."""
    top = name.partition(".")[0]
    found = getattr(sys.modules.get(top), "__spec__", None) or _spec(top, None)
    if found is None or found.origin is None:
        return None
    at = Path(found.origin)
    around = at.parent.parent if found.submodule_search_locations else at.parent
    if found.has_location and not _is_library(str(around)):
        return None
    inside = name.replace(".", "/")
    files = (folder / one for folder in folders for one in (f"{inside}.py", f"{inside}/__init__.py"))
    return next((file for file in files if file.is_file()), None)


def _files(name: str, spec: str) -> list[Path]:
    """The files that importing a module would run, its packages' first; nothing is imported to find them.

    What is imported already is left out. Raises TaskError where there is no such module.
    """
    found: list[Path] = []
    parts = name.split(".")
    search: Sequence[str] | None = None  # None: the import path
    for depth in range(1, len(parts) + 1):
        at = ".".join(parts[:depth])
        if at in sys.modules:
            search = list(getattr(sys.modules[at], "__path__", ()))
            continue
        module = _spec(at, search)
        if module is None:
            raise TaskError(f"no module {at!r} for task {spec!r}, here or installed")
        if module.has_location and module.origin is not None:
            found.append(Path(module.origin))
        search = list(module.submodule_search_locations or ())
    return found


def _spec(name: str, search: Sequence[str] | None) -> ModuleSpec | None:
    """What an import of `name` would find in the folders of its package; importlib's own imports the package first."""
    for finder in sys.meta_path:
        # The finder of files asks for the package of a folder without __init__.py, which is not imported yet. It looks
        # for the last part of a name alone.
        asked = name.rpartition(".")[2] if finder is PathFinder and search is not None else name
        if hasattr(finder, "find_spec") and (found := finder.find_spec(asked, search)) is not None:
            return found
    return None


def _digest(module: Any, function_name: str) -> str:
    source = Path(module.__file__).read_bytes() if getattr(module, "__file__", None) else module.__name__.encode()
    return hashlib.blake2b(source + b"\0" + function_name.encode(), digest_size=16).hexdigest()


def reads_second(function: Callable[..., Any]) -> bool:
    """Whether a function may look at its second argument; False only where its code surely does not."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_argcount < 2 or inspect.ismethod(function) or hasattr(function, "__wrapped__"):
        return True
    name = code.co_varnames[1]
    if name in code.co_cellvars or {"locals", "vars", "eval", "exec", "sys"} & {*code.co_names}:
        return True
    read = (i.argval for i in dis.get_instructions(code) if i.opname.startswith("LOAD_FAST"))
    return any(name == one or (isinstance(one, tuple) and name in one) for one in read)


def _number(value: Any) -> float | None:
    """The number that a function gave; None where it gave another thing. Raises OverflowError beyond the doubles."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    imaginary = isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real)
    if isinstance(value, str | bytes) or imaginary or kind in ("U", "S", "c"):
        return None  # a text that reads as a number is a mistake all the same, and half of a complex one no value
    try:
        return float(value)
    except OverflowError:
        raise
    except Exception:  # noqa: BLE001 - what it gave is an object of a person's, or of a library that they use
        return None


def _shown(value: object) -> str:
    """What a function gave, in a few words."""
    try:
        return " ".join(repr(value)[:80].split())
    except Exception:  # noqa: BLE001 - its own __repr__ is a person's code too
        return f"a {type(value).__name__}"
