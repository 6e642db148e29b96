"""Plug-ins: finding their files, loading those that a run uses.

A plug-in is one file `operators/<kind>/<name>.py` with one function of the file's name:

    initialise  (space, seeds, rng) -> iterator of Derivation     candidates for one place in the first population
    mutate      (parent, space, rng) -> Derivation | None         None: cannot apply here
    crossover   (a, b, space, rng) -> Derivation | None
    select      (population, k, rng) -> list of Individual        may take `size=` too, the tournament's size

or one file `estimators/<kind>/<name>.py`, likewise with a function:

    surrogate   (x, y, rng) -> predict                            what is expected of a candidate by those before
    proxy       (probe) -> float                                  how well an untrained network may train

or one file `operators/<kind>/<name>.py` with one class of the file's name in CamelCase (`strategy/my_way.py`: `MyWay`):

    strategy    evosearch.search.Strategy                         which candidate comes next
    evaluator   evosearch.evaluation.job.Evaluator                how a candidate is scored
    stop        evosearch.evaluation.stopping.StopRule            when a training ends before its last epoch
    measure     evosearch.evaluation.measures.Measure             what a search may optimise
    kind        evosearch.tasks.Kind                              what a task's targets are
    head        evosearch.layers.base.Leaf                        what stands behind every network
    log         evosearch.logs.Log                                what is written of a run as it goes on

Files are loaded by path, never as top-level import names, and only when one is asked for. Where two folders of the
search path hold the same kind and name, the first one counts: a user's `redraw.py` takes the place of the bundled one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Generator, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from evosearch import paths
from evosearch.errors import (
    ConfigError,
    EvosearchError,
    LayerError,
    OperatorError,
    ShapeError,
    SpaceExhausted,
    StorageError,
    TaskError,
)
from evosearch.executed import helpers, noting
from evosearch.text import blamed, clean, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation

KINDS: Mapping[str, tuple[str, ...]] = {
    "initialise": ("space", "seeds", "rng"),
    "mutate": ("parent", "space", "rng"),
    "crossover": ("a", "b", "space", "rng"),
    "select": ("population", "k", "rng"),
}
# Kinds of the folder estimators/.
ESTIMATORS: Mapping[str, tuple[str, ...]] = {
    "surrogate": ("x", "y", "rng"),
    "proxy": ("probe",),
}
FUNCTIONS: Mapping[str, tuple[str, ...]] = {**KINDS, **ESTIMATORS}
# Kinds whose files define a class, with what it must have.
CLASSES: Mapping[str, tuple[str, ...]] = {
    "strategy": ("Settings", "needs_history", "candidates", "fold", "pack", "unpack"),
    "evaluator": ("digest", "measures", "prepare", "__call__"),
    "stop": ("relative", "brief", "stop"),
    "measure": ("name", "sign", "unit", "timed", "value"),
    "kind": ("name", "classes", "metrics", "head", "loss", "predict"),
    "head": ("shape", "params", "flops", "emit"),
    "log": ("add", "close"),
}
FOLDERS = ("operators", "estimators")
MODULES = "_evosearch_operator_"  # what the names of plug-ins' modules begin with
# What a person's own function may raise that is told as it is: whose it is stands in it, or it is nobody's mistake.
TOLD: tuple[type[Exception], ...] = (OperatorError, LayerError, SpaceExhausted)
# Of a class these, too: that settings, data or a disk will not do is for it to say.
TOLD_BY_CLASS: tuple[type[Exception], ...] = (*TOLD, ConfigError, TaskError, StorageError, MemoryError)
# Methods that are asked of one candidate: what they raise is that candidate's result, with its traceback.
OF_CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "evaluator": ("__call__",),
    "stop": ("stop",),
    "measure": ("value", "beside"),
    "kind": ("loss",),
}
BEHAVIOUR = "BEHAVIOUR"  # a bundled file's constant: raised where it comes to do something else; 1 where it has none


@dataclass(frozen=True, eq=False)
class Operator:
    """One plug-in: its function or class, its file, and the digest (32 hex digits) of that file's bytes.

    version: what a run that uses it must find again: a bundled one's version of behaviour, the digest of any other.
    """

    kind: str
    name: str
    function: Callable[..., Any]
    path: Path
    digest: str
    version: str = ""

    @property
    def on_request(self) -> bool:
        """Whether it declares to be used only where it is named (`evosearch.variation.on_request`)."""
        return bool(getattr(self.function, "on_request", False))

    @property
    def preserves(self) -> bool:
        """Whether it declares to preserve its parents' function (`evosearch.variation.preserving`)."""
        return bool(getattr(self.function, "preserves", False))

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function. Raises OperatorError where it raises, or gives what no operator of its kind may give."""
        try:
            made = self.function(*arguments, **keywords)
        except Exception as error:
            if self._tells(error):
                raise
            raise self._raised(error) from error
        if self.kind == "initialise":
            return self._drawn(made, arguments[0])
        self._check(made, arguments)
        return made

    def _drawn(self, made: Any, space: Space) -> Iterator[Any]:
        try:
            for one in made:
                self._check(one, (space,))
                yield one
        except Exception as error:
            if self._tells(error):
                raise
            raise self._raised(error) from error

    def _tells(self, error: Exception) -> bool:
        """Whether an error says by itself what is wrong: evosearch's, but not where own code called for it."""
        return isinstance(error, TOLD) or (isinstance(error, EvosearchError) and is_bundled(self.path))

    def _check(self, made: Any, arguments: tuple[Any, ...]) -> None:
        wanted = WANTED.get(self.kind)
        if wanted is not None and (said := wanted(made, arguments)):
            self._refuse(made, said)

    def _raised(self, error: Exception) -> OperatorError:
        return raised(f"{self.kind} operator", self.name, error)

    def _refuse(self, made: Any, wanted: str) -> NoReturn:
        line = self.function.__code__.co_firstlineno if inspect.isfunction(self.function) else 1
        what, article = clean(" ".join(repr(made)[:80].split())), "an" if self.kind == "initialise" else "a"
        raise OperatorError(
            f"{self.path}:{line}, {self.name}: it gave {what}; {article} {self.kind} operator gives {wanted}"
        )


MENDED = "put it right, then start anew or go on from the run's population: evolve resume RUN --fork NAME"


def raised(what: str, name: str, error: Exception) -> OperatorError:
    """The error of a person's own code that raised one: whose, what it said, its file and line."""
    return OperatorError(f"{what} {name!r} raised {blamed(error)}; {MENDED}")


# Of each kind: what one should have given to these arguments where it gave something else; empty where it did not.


def _individuals(made: Any, arguments: tuple[Any, ...]) -> str:
    population, k = arguments[0], arguments[1]
    right = isinstance(made, list) and set(map(type, made)) <= {type(population[0])}
    return "" if right and len(made) >= min(k, len(population)) else f"a list of {k} of the population's individuals"


def _sample(made: Any, arguments: tuple[Any, ...]) -> str:
    return _sentence(made, arguments[0]) if hasattr(made, "alternative") else "a Derivation"


def _offspring(made: Any, arguments: tuple[Any, ...]) -> str:
    if made is None:
        return ""
    return _sentence(made, arguments[-2]) if hasattr(made, "alternative") else "a Derivation, or None"


def _sentence(derivation: Derivation, space: Space) -> str:
    grammar = space.grammar
    if derivation.alternative in grammar.rules.get(grammar.start, ()):
        return ""
    return f"a derivation of {grammar.name}, from its start rule {grammar.start!r}"


def _prediction(made: Any, _: tuple[Any, ...]) -> str:
    return "" if callable(made) else "a function predict(x) that gives (mean, deviation)"


def _figure(made: Any, _: tuple[Any, ...]) -> str:
    return "" if isinstance(made, int | float) else "a number, larger where the network is better"


WANTED: Mapping[str, Callable[[Any, tuple[Any, ...]], str]] = {
    "initialise": _sample,
    "mutate": _offspring,
    "crossover": _offspring,
    "select": _individuals,
    "surrogate": _prediction,
    "proxy": _figure,
}


class Named(Mapping[str, Operator]):
    """The plug-ins of one kind by name, in alphabetical order; a file is run when it is asked for, and once."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = dict(sorted(files.items()))
        self.loaded: dict[str, Operator] = {}

    def __getitem__(self, name: str) -> Operator:
        """Raises OperatorError for a file that does not load or breaks the contract, in one line."""
        found = self.loaded.get(name)
        if found is None:
            found = self.loaded[name] = load(self.files[name])
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.files

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


class Operators:
    """Every plug-in found, by kind and name. What was asked for so far is what a run uses (`used`)."""

    def __init__(self, files: Mapping[str, Mapping[str, Path]]) -> None:
        self._kinds = {kind: Named(files.get(kind, {})) for kind in (*FUNCTIONS, *CLASSES)}

    def of(self, kind: str) -> Mapping[str, Operator]:
        return self._kinds.get(kind) or Named({})

    def get(self, kind: str, name: str) -> Operator:
        """Raises OperatorError with the names that there are."""
        if name not in self.of(kind):
            raise OperatorError(f"no {kind} operator named {name!r}; {paths.offer(name, tuple(self.of(kind)))}")
        return self.of(kind)[name]

    def usual(self, kind: str, *, preserving: bool = False) -> dict[str, Operator]:
        """Those that a run uses that names none. preserving: weights are inherited, so that mutations that preserve the
        function are of use.
        """
        named = self._kinds[kind]
        found = {name: one for name, one in named.items() if not one.on_request or (preserving and one.preserves)}
        for name in [name for name in named.loaded if name not in found]:
            del named.loaded[name]  # it was looked at, and is not used
        return found

    def own(self, kind: str) -> Mapping[str, Any]:
        """The functions or classes of a kind by name, for whoever asks for one by its name."""
        return _Functions(self.of(kind))

    def __iter__(self) -> Iterator[Operator]:
        """All of them, loaded."""
        for named in self._kinds.values():
            yield from named.values()

    def files(self) -> Iterator[tuple[str, str, Path]]:
        """(kind, name, file) of all of them; nothing is run."""
        for kind, named in self._kinds.items():
            yield from ((kind, name, path) for name, path in named.files.items())

    @property
    def used(self) -> dict[str, str]:
        """What was asked for so far: "kind/name" and the version. Logs are left out: no part of what a run finds."""
        return {
            f"{kind}/{name}": named.loaded[name].version
            for kind, named in sorted(self._kinds.items())
            for name in sorted(named.loaded)
            if kind != "log"
        }


class _Functions(Mapping[str, Any]):
    def __init__(self, operators: Mapping[str, Operator]) -> None:
        self._operators = operators

    def __getitem__(self, name: str) -> Any:
        return self._operators[name].function

    def __contains__(self, name: object) -> bool:
        return name in self._operators

    def __iter__(self) -> Iterator[str]:
        return iter(self._operators)

    def __len__(self) -> int:
        return len(self._operators)


def find(named: Iterable[Path | str] = ()) -> Operators:
    """All plug-ins on the search path: the named folders (`DIR/mutate/x.py`), the user's project, the bundled ones."""
    named = tuple(named)
    roots = {folder: paths.folders(folder, named) for folder in FOLDERS}
    files: dict[str, dict[str, Path]] = {kind: {} for kind in (*FUNCTIONS, *CLASSES)}
    for kind, found in files.items():
        for root in roots["estimators" if kind in ESTIMATORS else "operators"]:
            for path in sorted((root / kind).glob("*.py")):
                if not path.name.startswith("_"):
                    found.setdefault(path.stem, path)
    return Operators(files)


def is_bundled(path: Path) -> bool:
    """Whether a plug-in's file came with evosearch."""
    return any(path.resolve().is_relative_to((paths.bundled() / folder).resolve()) for folder in FOLDERS)


def load(path: Path | str) -> Operator:
    """The operator in one file; its kind is the folder's name, its function the file's. Runs the file."""
    path = Path(path)
    kind, name = path.parent.name, path.stem
    if kind not in FUNCTIONS and kind not in CLASSES:
        kinds = ", ".join((*FUNCTIONS, *CLASSES))
        raise OperatorError(f"{path}: the folder of an operator must be named {kinds}; this one is {kind!r}")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise OperatorError(f"{path}: cannot be read: {error.strerror}") from error
    digest = hashlib.blake2b(source, digest_size=16).hexdigest()
    module = _module(path, kind, name, digest)
    function = _class(path, kind, name, module) if kind in CLASSES else _function(path, kind, name, module)
    version = f"version {getattr(module, BEHAVIOUR, 1)}" if is_bundled(path) else _executed(digest, module)
    return Operator(kind, name, function, path, digest, version)


def _executed(digest: str, module: ModuleType) -> str:
    """The file's digest, with those of the files of the person's project that it imports, where it does."""
    found = helpers(module)
    if not found:
        return digest
    return hashlib.blake2b(repr((digest, sorted(found.items()))).encode(), digest_size=16).hexdigest()


def _module(path: Path, kind: str, name: str, digest: str) -> ModuleType:
    module_name = f"{MODULES}{kind}_{name}_{digest}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise OperatorError(f"{path}: not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # before it runs: a dataclass looks its own module up
        try:
            with noting(module_name):
                spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            line = getattr(error, "lineno", None) or _line_in(error, path)
            where = f"{path}:{line}" if line else str(path)
            raise OperatorError(f"{where}: does not load: {said(error)}") from error
    return module


def _function(path: Path, kind: str, name: str, module: ModuleType) -> Callable[..., Any]:
    function = getattr(module, name, None)
    expected = f"{name}({', '.join(FUNCTIONS[kind])})"
    if not inspect.isfunction(function):
        raise OperatorError(f"{path}: no function named {name!r}; a {kind} operator's file defines {expected}")
    line = function.__code__.co_firstlineno
    parameters = list(inspect.signature(function).parameters.values())
    required = [
        p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    keyword = [p for p in parameters if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
    if len(required) != len(FUNCTIONS[kind]) or keyword:
        raise OperatorError(f"{path}:{line}: takes ({', '.join(p.name for p in parameters)}); write {expected}")
    if not (function.__doc__ or "").strip():
        raise OperatorError(f"{path}:{line}: {name} has no docstring; say what it does and what it keeps true")
    return function


def class_name(stem: str) -> str:
    """The class that a plug-in's file defines: `my_way` -> MyWay."""
    return "".join(part.capitalize() for part in stem.split("_"))


def _class(path: Path, kind: str, name: str, module: ModuleType) -> type:
    wanted = class_name(name)
    found = getattr(module, wanted, None)
    if not inspect.isclass(found):
        raise OperatorError(f"{path}: no class named {wanted!r}; a {kind}'s file {path.name} defines one")
    stated = {member for base in found.__mro__ for member in (*vars(base), *inspect.get_annotations(base))}
    if lacking := [member for member in CLASSES[kind] if member not in stated]:
        raise OperatorError(f"{path}: {wanted} has no {', '.join(lacking)}; see docs/operators.md, A {kind}")
    if not (vars(found).get("__doc__") or "").strip():
        raise OperatorError(f"{path}: {wanted} has no docstring; say what it does and where it is from")
    if not is_bundled(path):
        _watch(found, kind, name)
    return found


def _watch(cls: type, kind: str, name: str) -> None:
    """Have what the class's own methods raise told as an operator's is, where evosearch calls them; what they raise
    to each other is theirs to catch.
    """
    for called, method in list(vars(cls).items()):
        if called in OF_CANDIDATES.get(kind, ()) or hasattr(method, "watched"):
            continue
        made = called == "__init__" and not is_dataclass(cls)
        if inspect.isfunction(method) and (made or not called.startswith("_")):
            setattr(cls, called, _watched(method, kind, name))
        elif isinstance(method, property) and method.fget is not None:
            setattr(cls, called, method.getter(_watched(method.fget, kind, name)))


_inside: ContextVar[bool] = ContextVar("inside", default=False)  # whether a watched method is at work


@contextlib.contextmanager
def _telling(kind: str, name: str, told: tuple[type[Exception], ...]) -> Iterator[None]:
    """What own code inside raises, but for what is told as it is, is said to be its own."""
    before = _inside.set(True)
    try:
        yield
    except told:
        raise
    except Exception as error:
        raise raised(kind, name, error) from error
    finally:
        _inside.reset(before)


def _watched(method: Callable[..., Any], kind: str, name: str) -> Callable[..., Any]:
    told: tuple[type[Exception], ...] = (*TOLD_BY_CLASS, ShapeError) if method.__name__ == "shape" else TOLD_BY_CLASS

    @functools.wraps(method)
    def watched(*given: Any, **named: Any) -> Any:
        if _inside.get():
            return method(*given, **named)
        with _telling(kind, name, told):
            found = method(*given, **named)
        return _watched_items(found, kind, name) if isinstance(found, Generator) else found

    watched.watched = True  # type: ignore[attr-defined]
    return watched


def _watched_items(items: Generator[Any, Any, Any], kind: str, name: str) -> Generator[Any, Any, Any]:
    sent = None
    while True:
        with _telling(kind, name, TOLD_BY_CLASS):
            try:
                one = items.send(sent)
            except StopIteration as end:
                return end.value
        sent = yield one


def _line_in(error: BaseException, path: Path) -> int | None:
    """The last line of `path` on the error's traceback."""
    found, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(path):
            found = step.tb_lineno
        step = step.tb_next
    return found
