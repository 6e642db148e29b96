"""What a person's own code executes: its file, and the files of their project that it imports.

A score is known only for the code that gave it, so that of an own function, layer or operator is every file of the
project behind it: what its imports name, wherever they stand in the file, and what loading it added to the interpreter
in other ways. Libraries, the standard one and evosearch itself are no part of it; a run's environment.json has their
versions.
"""

from __future__ import annotations

import ast
import hashlib
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from evosearch import paths
from evosearch.text import escaped

_ADDED: dict[str, set[str]] = {}  # by the module that was loaded first: those that came with it


@contextmanager
def noting(name: str) -> Iterator[None]:
    """While a module of this name is loaded: keeps which others come with it, however it imports them."""
    before = set(sys.modules)
    yield
    _ADDED.setdefault(name, set()).update(set(sys.modules) - before - {name})


def executed(module: ModuleType) -> dict[str, str]:
    """The files of the person's project that the code of a loaded module is made of, its own too: 32 hex digits each.

    By the path from the project's folder, so that a project that was moved has the same. Nothing is imported to find
    them.
    """
    own = _file(module)
    roots = () if own is None else _roots(own)
    return {_shown(path, roots): _digest(path) for path in sorted(modules(module).values())}


def modules(module: ModuleType) -> dict[str, Path]:
    """The files of `executed` by the dotted names that imports know them by, the loaded module's own too."""
    own = _file(module)
    if own is None:
        return {}
    roots = _roots(own)
    parts = module.__name__.split(".")
    packages = {".".join(parts[:depth]) for depth in range(1, len(parts))}  # which importing it ran as well
    found: dict[str, Path] = {}
    waiting = [(module.__name__, own), *_files(packages | _ADDED.get(module.__name__, set()), roots)]
    while waiting:
        name, path = waiting.pop()
        if name not in found:
            found[name] = path
            waiting += _files(_named(name, path), roots)
    return found


def helpers(module: ModuleType) -> dict[str, str]:
    """As `executed`, without the module's own file."""
    own = _file(module)
    return {} if own is None else {n: d for n, d in executed(module).items() if n != _shown(own, _roots(own))}


def _digest(path: Path) -> str:
    """32 hex digits of a file's bytes."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _files(names: Iterable[str], roots: tuple[Path, ...]) -> list[tuple[str, Path]]:
    """Those of the modules that are files of the person's project."""
    found = []
    for name in names:
        path = _file(sys.modules[name]) if name in sys.modules else _looked_for(name)
        if path is not None and path.suffix == ".py" and _is_own(path, roots):
            found.append((name, path))
    return found


def _named(name: str, path: Path) -> set[str]:
    """The modules that the imports of a file name: `from a.b import c` may mean a, a.b and a.b.c."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return set()
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}".strip(".") if above else base
            wanted = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for dotted in wanted:
            parts = dotted.split(".")
            found |= {".".join(parts[: depth + 1]) for depth in range(len(parts)) if dotted}
    return found


def _looked_for(name: str) -> Path | None:
    """The file of a module that is not loaded (an import inside a function): as the import would find it."""
    above, _, last = name.rpartition(".")
    search = None
    if above:
        package = sys.modules.get(above)
        if package is not None:
            search = list(getattr(package, "__path__", ()))
        else:
            at = _looked_for(above)
            search = [str(at.parent)] if at is not None and at.stem == "__init__" else []
    spec = PathFinder.find_spec(last if above else name, search)
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _shown(path: Path, roots: tuple[Path, ...]) -> str:
    at = path.resolve()
    root = next((root for root in roots if at.is_relative_to(root)), at.parent)
    return escaped(str(at.relative_to(root)))


def _file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if isinstance(file, str) else None


def _roots(own: Path) -> tuple[Path, ...]:
    """Folders whose files are the person's: their project, where they are, and where the code lies."""
    project = paths.project()
    return tuple(root.resolve() for root in (project, Path.cwd(), own.parent) if root is not None)


def _is_own(path: Path, roots: tuple[Path, ...]) -> bool:
    at = path.resolve()
    return any(at.is_relative_to(root) for root in roots) and not any(at.is_relative_to(one) for one in _libraries())


@cache
def _libraries() -> tuple[Path, ...]:
    named = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    named += [*site.getsitepackages(), site.getusersitepackages()]
    return (*(Path(folder).resolve() for folder in named if folder), paths.PACKAGE)


__all__ = ["executed", "helpers", "modules", "noting"]
