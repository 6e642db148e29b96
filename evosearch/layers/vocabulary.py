"""The layers that a grammar's words stand for: looked up by name, and checked against the grammar.

An alternative's layer is its alias, else its rule's name. Numbers at the end of a name that is not itself registered
are arguments: `-> cat1` is the layer `cat` with axis 1, `-> im2col3_2_1` is `im2col` with kernel 3, stride 2 and
padding 1.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from hashlib import blake2b
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from itertools import islice, product
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from evosearch.errors import ArchitectureError, LayerError
from evosearch.executed import helpers, noting
from evosearch.grammar.core import Alternative, Grammar, SymbolKind, Terminal
from evosearch.layers.base import Combinator, Leaf, Word, registered
from evosearch.layers.columns import Columns, ReadsColumns
from evosearch.layers.guards import guard
from evosearch.layers.library import NAMES
from evosearch.layers.names import DIGEST
from evosearch.text import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_TRIED = 1000  # fillings of an alternative's terminals that are tried before it is taken
CONVERSIONS: Mapping[type, Callable[[str], Any]] = MappingProxyType({int: int, float: float, str: str})


@dataclass(frozen=True, eq=False)
class LayerSpec:
    """How an alternative makes its layer.

    cls: the class. constants: arguments told by the layer's name. arguments: (field name, type) of those told by the
    alternative's terminals and words, in the sentence's order. rest: how many of them, at the end, are one tuple.
    """

    cls: type
    constants: tuple[Any, ...]
    arguments: tuple[tuple[str, type], ...]
    rest: int | None = None


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A grammar's layers.

    classes: class by the name that the grammar uses, words included. digest: blake2b-128 over the files of own layers
    in use, "" where there are none. code: the digests of the files of the person's project that these import, by path.
    columns: what the table holds that layers read, where it is one.
    """

    classes: Mapping[str, type]
    specs: Mapping[Alternative, LayerSpec]
    digest: str
    columns: Columns | None = None
    code: Mapping[str, str] = field(default_factory=dict)
    _made: dict[tuple[Alternative, tuple[Any, ...]], Any] = field(default_factory=dict)

    def spec(self, alternative: Alternative) -> LayerSpec:
        return self.specs[alternative]

    @property
    def columns_read(self) -> Columns | None:
        """The columns, where there are layers here that read them."""
        return self.columns if any(issubclass(cls, ReadsColumns) for cls in self.classes.values()) else None

    def layer(self, alternative: Alternative, arguments: tuple[Any, ...]) -> Any:
        """The layer, or word, of an alternative.

        arguments: texts of terminals and instances of words, in the sentence's order. Equal arguments give the same
        instance. Raises ArchitectureError where a text is not a value of its field.
        """
        key = (alternative, arguments)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(self.specs[alternative], arguments)
        return made

    def _make(self, spec: LayerSpec, arguments: tuple[Any, ...]) -> Any:
        try:
            made = _instance(spec, arguments)
        except ValueError as error:
            raise ArchitectureError(f"{spec.cls.__name__}: {error}") from None
        return made.of(self.columns) if self.columns is not None and isinstance(made, ReadsColumns) else made


def vocabulary(grammar: Grammar, extra: Mapping[str, type] | None = None, columns: Columns | None = None) -> Vocabulary:
    """The layers that the grammar's alternatives stand for; `extra` (see `load_layers`) goes before the bundled ones.

    columns: what the table holds that the networks are for; without it layers that read it take numbers for granted.
    Raises LayerError, with file, line and column, for a name without a layer and for arguments that do not fit.
    """
    classes: dict[str, type] = {}
    constants: dict[str, tuple[str, ...]] = {}
    alternatives = [a for group in grammar.rules.values() for a in group if a.layer is not None]
    for alternative in alternatives:
        assert alternative.layer is not None
        classes[alternative.layer], constants[alternative.layer] = _resolve(grammar, alternative, extra or {})
    words = word_rules(grammar, classes)
    specs = {a: _spec(grammar, a, classes, constants, words) for a in alternatives}
    digests = sorted({getattr(cls, "source_digest", "") for cls in classes.values()} - {""})
    digest = blake2b("\n".join(digests).encode(), digest_size=16).hexdigest() if digests else ""
    code = {name: one for cls in classes.values() for name, one in getattr(cls, "source_code", {}).items()}
    return Vocabulary(MappingProxyType(classes), MappingProxyType(specs), digest, columns, MappingProxyType(code))


def module_name(path: str | Path) -> str:
    """What the module of a layer file is called: each file's has a name of its own, for classes look theirs up."""
    path = Path(path)
    place = blake2b(str(path.resolve()).encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return f"evosearch_layers_{path.stem}_{place}"


def load_layers(path: str | Path) -> dict[str, type]:
    """The layers that a Python file registers, by name. This runs the file.

    Raises LayerError where the file cannot be read or run, or registers nothing.
    """
    path = Path(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise LayerError(f"cannot read it: {error.strerror}", file=str(path)) from error
    name, digest = module_name(path), blake2b(source, digest_size=16).hexdigest()
    loader = SourceFileLoader(name, str(path))  # whatever the file's suffix
    try:
        module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
        module.__file__ = str(path)
        setattr(module, DIGEST, digest)
        sys.modules[module.__name__] = module  # dataclasses look their own module up
        with noting(name):
            exec(loader.source_to_code(source, str(path)), module.__dict__)  # noqa: S102 - the file that was asked for
        found = registered(module)
    except LayerError:
        raise
    except SyntaxError as error:
        raise LayerError(f"not Python: {error.msg}", file=str(path), line=error.lineno or 0) from error
    except (Exception, SystemExit) as error:  # whatever a person's file raises is told as a mistake in that file
        line = next((f.tb_lineno for f in reversed(list(_frames(error))) if _file(f) == str(path)), 0)
        raise LayerError(said(error), file=str(path), line=line) from error
    if not found:
        raise LayerError('it registers no layer; write @register("name") above the class', file=str(path))
    code = helpers(module)
    for cls in found.values():
        if not issubclass(cls, Word) and getattr(cls, "shape", Leaf.shape) is Leaf.shape:
            raise LayerError(f"{cls.__name__} has no `shape`; state what shape it gives for which", file=str(path))
        cls.source_digest = digest  # type: ignore[attr-defined]
        cls.source_code = code  # type: ignore[attr-defined]
        guard(cls)
    return found


def word_rules(grammar: Grammar, classes: Mapping[str, type]) -> set[str]:
    """The rules below which no layer stands, only words."""
    layered = {
        rule
        for rule, group in grammar.rules.items()
        if any(a.layer is not None and not issubclass(classes[a.layer], Word) for a in group)
    }
    while True:
        more = {
            rule
            for rule, group in grammar.rules.items()
            if rule not in layered and any(a.layer is None and layered.intersection(a.rules) for a in group)
        }
        if not more:
            return set(grammar.rules) - layered
        layered |= more


def _resolve(grammar: Grammar, alternative: Alternative, own: Mapping[str, type]) -> tuple[type, tuple[str, ...]]:
    name = alternative.layer
    assert name is not None
    if (found := own.get(name) or NAMES.get(name)) is not None:
        return found, ()
    numbers = re.search(r"\d+(_\d+)*$", name)
    stem = name[: numbers.start()] if numbers else ""
    if numbers and (found := own.get(stem) or NAMES.get(stem)) is not None:
        return found, tuple(numbers.group().split("_"))
    if name == alternative.rule.rpartition("__")[2] and (message := _without_alias(grammar, alternative)):
        raise _mistake(grammar, alternative, message)
    near = get_close_matches(name, [*own, *NAMES], n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`--layers FILE` adds layers of your own"
    raise _mistake(grammar, alternative, f"no layer is called {name!r}; {hint}")


def _without_alias(grammar: Grammar, alternative: Alternative) -> str:
    """Of an alternative whose rule's name is no layer's: what to write behind it. Empty where it has an alias."""
    line = _source_line(grammar, alternative)[alternative.column - 1 :]
    if re.search(rf"->\s*{alternative.layer}\b", line):
        return ""
    layer = "chain" if alternative.rules else "identity"
    written = re.match(r'(?:"[^"]*"|[^|"/])*', line)
    text = written[0].strip() if written and written[0].count("(") == written[0].count(")") else "..."
    return (
        f"this alternative has no alias, and no layer is called {alternative.layer!r}, its rule's name; "
        f"add `-> {layer}`, or another layer's name: {text} -> {layer}"
    )


def _spec(
    grammar: Grammar,
    alternative: Alternative,
    classes: Mapping[str, type],
    constants: Mapping[str, tuple[str, ...]],
    words: set[str],
) -> LayerSpec:
    name = alternative.layer
    assert name is not None
    cls, given = classes[name], constants[name]
    mistake = partial(_mistake, grammar, alternative)
    if not is_dataclass(cls):
        raise mistake(f"{cls.__name__} is not a dataclass; write @dataclass(frozen=True) above it")
    hints = field_types(cls)
    wanted = [(f.name, hints[f.name]) for f in fields(cls) if f.init]
    needed = sum(f.init and f.default is MISSING and f.default_factory is MISSING for f in fields(cls))
    fixed = [(argument, kind) for argument, (_, kind) in zip(given, wanted, strict=False)]
    if len(given) > len(wanted) or any(kind not in CONVERSIONS for _, kind in fixed):
        raise mistake(f"{name!r}: {cls.__name__} does not take {len(given)} numbers: {_signature(wanted)}")
    open_fields = wanted[len(given) :]
    arguments = list(_arguments(grammar, alternative, words))
    rest = None
    if open_fields and get_origin(open_fields[-1][1]) is tuple:  # the last field takes however many there are left
        last, kind = open_fields.pop()
        rest = max(len(arguments) - len(open_fields), 0)
        open_fields += [(last, get_args(kind)[0])] * rest
        wanted = [*wanted[: len(given)], *open_fields]
    if not needed <= len(given) + len(arguments) <= len(wanted):
        raise mistake(f"{name!r} takes {_signature(open_fields)}; here are {len(arguments)} arguments")
    for (what, source), (field_name, kind) in zip(arguments, open_fields, strict=False):
        if isinstance(source, Terminal):
            if kind not in CONVERSIONS:
                raise mistake(f"{name!r}: {field_name} must be {called(kind)}; the terminal {what} is text")
            for text, _ in source.representatives():
                if not _converts(kind, text):
                    raise mistake(f"{name!r}: {field_name} must be {called(kind)}; {what} can be {text!r}")
        else:
            for other in _word_classes(grammar, source, classes):
                if not (isinstance(kind, type) and issubclass(other, kind)):
                    raise mistake(f"{name!r}: {field_name} must be {called(kind)}; {what} can be {other.__name__}")
    least, most = part_counts(cls)
    found = sum(rule not in words for rule in alternative.rules)
    spliced = any(rule not in words and _splices(grammar, rule) for rule in alternative.rules)
    if not spliced and not least <= found <= most:
        expected = f"{least}" if least == most else f"at least {least}"
        raise mistake(f"{name!r} takes {expected} parts; here are {found}")
    constants_given = tuple(CONVERSIONS[kind](text) for text, kind in fixed)
    spec = LayerSpec(cls, constants_given, tuple(open_fields[: len(arguments)]), rest)
    texts = [[text for text, _ in source.representatives()] for _, source in arguments if isinstance(source, Terminal)]
    if len(texts) == len(arguments):
        for chosen in islice(product(*texts), MAX_TRIED):
            try:
                _instance(spec, chosen)
            except ValueError as error:
                raise mistake(f"{name!r}: {error}") from None
    return spec


def _instance(spec: LayerSpec, arguments: tuple[Any, ...]) -> Any:
    """The layer or word; raises ValueError where a text is no value of its field, or not one that the layer takes."""
    values = []
    for (name, kind), argument in zip(spec.arguments, arguments, strict=True):
        try:
            values.append(CONVERSIONS[kind](argument) if isinstance(argument, str) else argument)
        except ValueError:
            raise ValueError(f"{name} must be {called(kind)}, not {argument!r}") from None
    if spec.rest is not None:
        values[len(values) - spec.rest :] = [tuple(values[len(values) - spec.rest :])]
    return spec.cls(*spec.constants, *values)


def _arguments(grammar: Grammar, alternative: Alternative, words: set[str]) -> Iterator[tuple[str, Terminal | str]]:
    """(name, terminal or word rule) of the alternative's arguments, in the sentence's order."""
    for symbol in alternative.symbols:
        if symbol.kind is SymbolKind.TERMINAL:
            yield symbol.name, grammar.terminals[symbol.name]
        elif symbol.kind is SymbolKind.RULE and symbol.name in words:
            below = grammar.rules[symbol.name]
            if len(below) == 1 and below[0].layer is None:
                yield from _arguments(grammar, below[0], words)
            elif all(a.layer is None and not a.rules and len(a.terminals) == 1 for a in below):
                yield below[0].terminals[0], grammar.terminals[below[0].terminals[0]]
            else:
                yield symbol.name, symbol.name


def _word_classes(
    grammar: Grammar, rule: str, classes: Mapping[str, type], seen: frozenset[str] = frozenset()
) -> Iterator[type]:
    for alternative in grammar.rules[rule]:
        if alternative.layer is not None:
            yield classes[alternative.layer]
        else:
            for below in alternative.rules:
                if below not in seen:
                    yield from _word_classes(grammar, below, classes, seen | {rule})


def _splices(grammar: Grammar, rule: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether the rule can stand for none or for several parts."""
    for alternative in grammar.rules[rule]:
        if alternative.layer is None:
            if len(alternative.rules) != 1:
                return True
            below = alternative.rules[0]
            if below not in seen and _splices(grammar, below, seen | {rule}):
                return True
    return False


@lru_cache(maxsize=1024)
def field_types(cls: type) -> Mapping[str, Any]:
    """The types of a class's fields by name. To read them from their texts is half of what opening a space takes."""
    return get_type_hints(cls)


def part_counts(cls: type) -> tuple[int, float]:
    """How many parts `shape` takes after x: (at least, at most)."""
    if issubclass(cls, Word):
        return 0, 0
    kinds = inspect.Parameter
    parameters = list(inspect.signature(cls.shape).parameters.values())[2:]  # type: ignore[attr-defined]
    parts = [
        p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD) and p.name != "want"
    ]
    least = sum(p.default is kinds.empty for p in parts)
    return least, float("inf") if any(p.kind is kinds.VAR_POSITIONAL for p in parameters) else len(parts)


def _converts(kind: type, text: str) -> bool:
    try:
        CONVERSIONS[kind](text)
    except ValueError:
        return False
    return True


def called(kind: Any) -> str:
    return {int: "a whole number", float: "a number", str: "text"}.get(kind, f"a {getattr(kind, '__name__', kind)}")


def _signature(wanted: list[tuple[str, type]]) -> str:
    return ", ".join(f"{name} ({called(kind)})" for name, kind in wanted) or "no arguments"


def _frames(error: BaseException) -> Iterator[Any]:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _file(trace: Any) -> str:
    return str(trace.tb_frame.f_code.co_filename)


def _mistake(grammar: Grammar, alternative: Alternative, message: str) -> LayerError:
    """The error that points at the alternative's place in the grammar file."""
    file, line = alternative.file or next(iter(grammar.source), grammar.name), _source_line(grammar, alternative)
    return LayerError(message, file=file, line=alternative.line, column=alternative.column, source_line=line)


def _source_line(grammar: Grammar, alternative: Alternative) -> str:
    """The line on which the alternative stands; empty where its file is not at hand."""
    text = grammar.source.get(alternative.file or next(iter(grammar.source), grammar.name), "")
    lines = text.split("\n")
    return lines[alternative.line - 1] if 0 < alternative.line <= len(lines) else ""


__all__ = ["Combinator", "LayerSpec", "Leaf", "Vocabulary", "load_layers", "module_name", "vocabulary", "word_rules"]
