"""Imports point one way, and what is heavy is imported when it is called for."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "evosearch"

# The house, top to bottom: a module may import those of its own line and of lines below (docs/design.md, section 1).
LINES: tuple[tuple[str, ...], ...] = (
    ("cli", "__main__", "__init__"),
    ("serving",),
    ("study", "sklearn", "inference"),
    ("engine", "bench", "final", "check", "learned", "ablation"),
    ("config", "report", "logs", "formats"),
    ("results", "given", "auto"),
    ("search",),
    ("store", "workers", "operators", "variation", "features"),
    ("evaluation",),
    ("space",),
    ("network", "inherit", "tasks", "taps"),
    ("architecture", "sampler"),
    ("identity",),
    ("grammar", "layers", "score", "individual"),
    ("plugins",),
    ("executed",),
    ("ensemble",),
    ("paths", "cost", "text", "moments", "watch", "ranges", "recent"),
    ("errors",),
)
LEVEL: Mapping[str, int] = {name: level for level, line in enumerate(LINES) for name in line}
HEAVY = ("torch", "numba", "sklearn", "scipy", "onnx", "pandas")


def imports(source: str, *, at_run_time: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of the imports in a module; at_run_time leaves out those under `if TYPE_CHECKING`."""
    tree = ast.parse(source)
    skipped: set[ast.AST] = set()
    if at_run_time:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped.update(inner for child in node.body for inner in ast.walk(child))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "evosearch":
                modules = (alias.name for alias in node.names if alias.name != "__version__")
                yield from ((node.lineno, f"evosearch.{name}") for name in modules)
            else:
                yield node.lineno, node.module


def home(module: str) -> str:
    """The line's name of a module: `evosearch.grammar.core` -> grammar."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def against_the_arrows(name: str, source: str) -> list[str]:
    """The imports of a module that point up the house."""
    own = LEVEL[home(name)]
    return [
        f"{name}:{line} imports {module}"
        for line, module in imports(source, at_run_time=True)
        if module.split(".")[0] == "evosearch" and LEVEL.get(home(module), 0) < own
    ]


def modules() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path.read_text(encoding="utf-8")


def test_every_module_has_its_line() -> None:
    """A new module must be given its place, or the direction of its imports goes unchecked."""
    assert sorted({home(name) for name, _ in modules()} - set(LEVEL)) == []


def test_imports_point_one_way() -> None:
    """No module imports from a line above its own."""
    assert [wrong for name, source in modules() for wrong in against_the_arrows(name, source)] == []


def test_an_import_upwards_is_seen() -> None:
    """The check above can fail: also inside a function, but not for annotations."""
    assert against_the_arrows("evosearch.grammar.core", "def f():\n    from evosearch.search import Search\n")
    assert against_the_arrows("evosearch.layers", "from evosearch import engine\n")
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from evosearch.search import Search\n"
    assert not against_the_arrows("evosearch.grammar.core", typed)


def loaded_by(code: str, cwd: Path) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys\nprint('loaded:', *(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rsplit("loaded:", 1)[1].split())


def evolve(*arguments: str) -> str:
    return f"from evosearch.cli import main\nassert main({list(arguments)!r}) == 0"


@pytest.mark.parametrize(
    "code",
    [
        evolve("--help"),
        evolve("run", "--help"),
        evolve("check", str(ROOT / "grammars/einspace.lark")),
        "import evosearch",
        "import evosearch.config",
        "import evosearch.search",
    ],
    ids=["help", "run-help", "check", "package", "config", "search"],
)
def test_nothing_heavy_is_imported_early(code: str) -> None:
    """Commands that need no network start without torch, numba and scikit-learn."""
    assert loaded_by(code, ROOT) == set()


def test_a_heavy_import_is_seen() -> None:
    """The check above can fail."""
    assert "numba" in loaded_by("import numba", ROOT)


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, or nothing."""
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> list[str]:
        if module in above:
            return [*above[above.index(module) :], module]
        if module in done:
            return []
        for other in sorted(edges.get(module, ())):
            if found := visit(other, (*above, module)):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(edges) if (found := visit(module, ()))), [])


def test_no_circle_among_layers() -> None:
    """Not even for annotations: what a layer states, what it writes into, and one use of it are three floors."""
    known = dict(modules())
    edges = {
        name: {module for _, module in imports(source, at_run_time=False) if module in known}
        for name, source in known.items()
        if name.startswith("evosearch.layers.")
    }
    assert circle(edges) == []


def loading(source: str, known: set[str]) -> set[str]:
    """The modules that loading a module loads: not those imported inside functions or for annotations alone."""
    found: set[str] = set()
    stack: list[ast.AST] = [ast.parse(source)]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & known) or {node.module}
        stack += ast.iter_child_nodes(node)
    return found & known


def test_no_circle_in_the_house() -> None:
    """No module needs itself to be loaded, by however many others."""
    sources = dict(modules())
    edges = {name: loading(source, set(sources)) - {name} for name, source in sources.items()}
    assert sum(map(len, edges.values())) > len(edges)
    assert circle(edges) == []


def test_a_circle_is_seen() -> None:
    """The check above can fail."""
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    later = "def f():\n    from evosearch import b\n"
    known = {"evosearch.a", "evosearch.b"}
    assert (loading("from evosearch import a\n" + later, known), loading(later, known)) == ({"evosearch.a"}, set())


def test_words_are_imported_when_a_grammar_uses_them() -> None:
    """Reading a grammar of a few words imports no file of the others."""
    code = (
        "import sys; from pathlib import Path; from evosearch import grammar; from evosearch.layers import vocabulary;"
        f"vocabulary(grammar.load(Path({str(ROOT / 'grammars/mlp.lark')!r})));"
        "print(*sorted(n.rsplit('.')[-1] for n in sys.modules if n.startswith('evosearch.layers.library.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "linear" in done.stdout
    assert "nasbench201" not in done.stdout
