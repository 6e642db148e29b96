"""From a grammar file to the definitions it stands for: bytes to text, %import, %override, %extend, %ignore.

Names follow Lark: what an imported rule needs comes along under the name `file__rule`, and only the imported names keep
theirs. Reading runs no code and touches no file but those that are named.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evosearch.grammar.mistakes import Place, Source, mistake, near
from evosearch.grammar.notation import (
    Branch,
    Definition,
    GrammarFile,
    Group,
    Ignore,
    Import,
    Name,
    Node,
    Override,
    Repeat,
    Usage,
    Value,
    is_terminal,
    read,
)

if TYPE_CHECKING:
    from evosearch.errors import GrammarError

MAX_BYTES: Final = 1_000_000
MAX_IMPORTS: Final = 100
LIBRARY: Final = "grammars"  # the folder of Lark's own grammars inside its package


@dataclass(frozen=True)
class Definitions:
    """All definitions of a grammar by name, its own before the imported ones.

    own: names that the main file itself defines. byte_order_mark: the main file starts with one.
    """

    source: Source
    by_name: Mapping[str, Definition]
    own: frozenset[str]
    ignores: tuple[Ignore, ...]
    input: str | None
    sources: Mapping[str, str]
    byte_order_mark: bool


def read_text(path: Path, shown: str) -> tuple[str, bool]:
    """A grammar file's text with plain newlines, and whether a byte-order mark was taken off."""
    place = Place(Source(shown, ""))
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise mistake("too-large", place, size=size, limit=MAX_BYTES)
        data = path.read_bytes()
    except OSError as error:
        raise mistake("unreadable-file", place, reason=error.strerror or type(error).__name__) from None
    return decode(data, shown)


def decode(data: bytes, shown: str) -> tuple[str, bool]:
    place = Place(Source(shown, ""))
    marked = data.startswith(b"\xef\xbb\xbf")
    if marked:
        data = data[3:]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise mistake("not-text", place, reason=f"line {line} is not UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise mistake("not-text", place, reason=f"line {line} holds a zero byte")
    return text.replace("\r\n", "\n").replace("\r", "\n"), marked


def definitions(source: Source, path: Path | None, byte_order_mark: bool = False) -> Definitions:
    """Read a grammar's text with all it imports. Without a `path`, only Lark's library can be imported from.

    Raises GrammarError on any mistake of notation, imports or names defined twice.
    """
    importer = _Importer(path)
    file = read(source)
    _refuse_declared(file, file.declared)
    by_name = importer.collect(file, path, (path.resolve(),) if path else (), lambda name: name)
    own = frozenset(d.name for d in file.definitions if isinstance(d, Definition))
    main = path.name if path else source.name
    sources = {main: source.text, **importer.sources}
    return Definitions(source, by_name, own, file.ignores, file.input, sources, byte_order_mark)


Mangle = Callable[[str], str]


class _Importer:
    def __init__(self, main: Path | None) -> None:
        self.folder = main.resolve().parent if main else None
        self.sources: dict[str, str] = {}
        self.count = 0

    def collect(
        self, file: GrammarFile, path: Path | None, chain: tuple[Path, ...], mangle: Mangle
    ) -> dict[str, Definition]:
        """The definitions of a file and of what it imports, under their names in the grammar that asked for it."""
        collected: dict[str, Definition] = {}
        statements: dict[Path | str, tuple[Import, dict[str, str]]] = {}
        for statement in file.imports:
            target = self._target(statement, path)
            names = statements.setdefault(target, (statement, {}))[1]
            names.update(statement.names)
        for target, (statement, names) in statements.items():
            for name, definition in self._import(target, statement, names, chain, mangle).items():
                if name in collected:
                    raise self._twice(statement, definition)
                collected[name] = definition
        imported = dict(collected)
        for item in file.definitions:
            definition = _renamed(item.definition if isinstance(item, Override) else item, mangle)
            name = definition.name
            if isinstance(item, Override):
                if name not in collected:
                    hint = near(definition.own_name, (d.own_name for d in collected.values()))
                    raise mistake(
                        "override-unknown",
                        definition.place,
                        statement=item.statement,
                        name=definition.own_name,
                        near=hint,
                    )
                if item.statement == "%extend":  # Lark puts what is added first
                    base = collected[name]
                    if base.parameters != definition.parameters:
                        raise mistake(
                            "template-arguments", definition.place, name=name, expected=len(base.parameters),
                            s="" if len(base.parameters) == 1 else "s", count=len(definition.parameters),
                            params=", ".join(name.rpartition("__")[2] for name in base.parameters),
                        )  # fmt: skip
                    definition = replace(base, branches=definition.branches + base.branches)
            elif name in imported:
                raise self._twice(next(s for s in file.imports), definition)
            elif name in collected:
                raise mistake(
                    "defined-twice", definition.place, name=definition.own_name, line=collected[name].place.line
                )
            collected[name] = definition
        for item in file.definitions:
            definition = item.definition if isinstance(item, Override) else item
            _refuse_unknown(definition, {*collected, *map(mangle, file.declared)}, collected, mangle)
        return collected

    def _twice(self, statement: Import, definition: Definition) -> GrammarError:
        return mistake(
            "import-twice", definition.place, name=definition.name, path=statement.written + "." + definition.own_name,
            other=("other_" if not definition.is_terminal else "OTHER_") + definition.own_name.lstrip("_"),
        )  # fmt: skip

    def _target(self, statement: Import, path: Path | None) -> Path | str:
        """The file that an import means: a path beside the importing file, or a name in Lark's library."""
        relative = "/".join(statement.path) + ".lark"
        beside = path.parent / relative if path else None
        if statement.relative:
            if beside is None:
                hint = ": a grammar that is no file has no folder; put it in one"
                raise mistake("import-missing", statement.place, path=relative, hint=hint)
            if not beside.is_file():
                raise mistake("import-missing", statement.place, path=relative, hint=f": there is no {beside}")
            return beside.resolve()
        if _library(relative) is None:
            hint = " in Lark's library"
            if beside is not None and beside.is_file():
                hint += f"; to import the file beside this one, write %import .{'.'.join(statement.path)} with a dot"
            raise mistake("import-missing", statement.place, path=relative, hint=hint)
        return relative

    def _import(
        self, target: Path | str, statement: Import, names: Mapping[str, str], chain: tuple[Path, ...], mangle: Mangle
    ) -> dict[str, Definition]:
        self.count += 1
        if self.count > MAX_IMPORTS:
            raise mistake("too-many-imports", statement.place, limit=MAX_IMPORTS)
        if isinstance(target, Path):
            if target in chain:
                circle = " -> ".join(p.name for p in (*chain[chain.index(target) :], target))
                raise mistake("import-loop", statement.place, circle=circle)
            shown = str(Path(statement.place.source.name).parent / ("/".join(statement.path) + ".lark"))
            text, _ = read_text(target, shown)
            assert self.folder is not None
            self.sources[
                target.relative_to(self.folder).as_posix() if target.is_relative_to(self.folder) else target.name
            ] = text
            file, path, chain = read(Source(shown, text)), target, (*chain, target)
            _refuse_declared(file, file.declared)
        else:
            file, path = read(Source(f"<lark>/{target}", _library(target) or "")), None
        inner = _mangle("__".join(statement.path), names, mangle)
        collected = self.collect(file, path, chain, inner)
        for name in names:
            if inner(name) not in collected:
                known = [d.own_name for d in file.definitions if isinstance(d, Definition)]
                raise mistake(
                    "import-unknown", statement.place, path=statement.written, name=name, near=near(name, known)
                )
        # a renamed symbol goes by its new name, also as a layer
        for name, here in names.items():
            if here != name:
                collected[inner(name)] = replace(collected[inner(name)], own_name=here)
        used = _used(collected, [inner(name) for name in names])
        asked = {name for definition in used.values() for branch in definition.branches for name in symbols(branch)}
        _refuse_declared(file, [name for name in file.declared if inner(name) in asked])  # of Lark's own library
        return used


def _refuse_declared(file: GrammarFile, names: Iterable[str]) -> None:
    """Refuse the first of the terminals that nothing defines, where the file declares it."""
    for name in names:
        raise mistake("declare", file.declared[name], name=name)


def _refuse_unknown(
    definition: Definition, known_here: Set[str], collected: Mapping[str, Definition], mangle: Mangle
) -> None:
    """Refuse names without a definition here, where they still are as the file writes them."""
    for branch in definition.branches:
        for reference in named(branch):
            name = reference.name
            if mangle(name) in known_here or name in definition.parameters:
                continue
            kind = "terminal" if is_terminal(name) else "template" if isinstance(reference, Usage) else "rule"
            known = [d.own_name for d in collected.values() if d.is_terminal == is_terminal(name)]
            hint = near(name, [*known, *definition.parameters])
            raise mistake("unknown-symbol", reference.place, kind=kind, name=name, near=hint)


def _library(relative: str) -> str | None:
    """The text of a grammar in Lark's own library."""
    try:
        data = pkgutil.get_data("lark", f"{LIBRARY}/{relative}")
    except OSError:
        return None
    return None if data is None else decode(data, relative)[0]


def _mangle(prefix: str, names: Mapping[str, str], outer: Mangle) -> Mangle:
    """Names as Lark gives them to what an import brings along."""

    def mangle(name: str) -> str:
        if name in names:
            return outer(names[name])
        return outer(f"_{prefix}__{name[1:]}" if name.startswith("_") else f"{prefix}__{name}")

    return mangle


def _used(definitions: Mapping[str, Definition], names: list[str]) -> dict[str, Definition]:
    """The definitions that the named ones need, themselves among them."""
    used: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name in used or name not in definitions:
            continue
        used.add(name)
        for branch in definitions[name].branches:
            stack += symbols(branch)
    return {name: definition for name, definition in definitions.items() if name in used}


def symbols(node: Branch | Node) -> list[str]:
    """All names that stand in an expression, in order."""
    return [name.name for name in named(node)]


def named(node: Branch | Node) -> list[Name | Usage]:
    """All references in an expression, in order."""
    if isinstance(node, Name):
        return [node]
    if isinstance(node, Usage):
        return [node, *(inner for argument in node.arguments for inner in named(argument))]
    if isinstance(node, Group):
        return [inner for branch in node.branches for inner in named(branch)]
    if isinstance(node, Repeat):
        return named(node.item)
    if isinstance(node, Branch):
        return [inner for item in node.items for inner in named(item)]
    return []


def _renamed(definition: Definition, mangle: Mangle) -> Definition:
    branches = tuple(rename(branch, mangle) for branch in definition.branches)
    parameters = tuple(mangle(parameter) for parameter in definition.parameters)
    return replace(definition, name=mangle(definition.name), parameters=parameters, branches=branches)


def rename(branch: Branch, mangle: Mangle) -> Branch:
    return replace(branch, items=tuple(_rename(item, mangle) for item in branch.items))


def _rename(node: Node, mangle: Mangle) -> Node:
    if isinstance(node, Group):
        return replace(node, branches=tuple(rename(branch, mangle) for branch in node.branches))
    if isinstance(node, Repeat):
        return replace(node, item=_rename(node.item, mangle))
    return _rename_value(node, mangle)


def _rename_value(value: Value, mangle: Mangle) -> Value:
    if isinstance(value, Name):
        return replace(value, name=mangle(value.name))
    if isinstance(value, Usage):
        arguments = tuple(_rename_value(argument, mangle) for argument in value.arguments)
        return replace(value, name=mangle(value.name), arguments=arguments)
    return value


__all__ = ["Definitions", "decode", "definitions", "is_terminal", "named", "read_text", "rename", "symbols"]
