"""Loading a grammar: both readings of the file, put together into a Grammar."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from evosearch.errors import UsageError
from evosearch.grammar.compilation import compile_parser, refused
from evosearch.grammar.core import Alternative, Grammar, Symbol, SymbolKind, Terminal
from evosearch.grammar.expansion import Expansion, Raw, expand
from evosearch.grammar.files import Definitions, decode, definitions, read_text
from evosearch.grammar.mistakes import Place, Source, mistake
from evosearch.grammar.wellformed import refuse_endless
from evosearch.paths import find, names, offer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

START = "start"


def load(path_or_name: Path | str, search_path: Iterable[Path | str] = ()) -> Grammar:
    """The grammar in a .lark file, given by its path or by its name on the search path ("einspace").

    search_path: folders that are searched before the user's project and the bundled grammars.
    Runs no code. Raises GrammarError, with file, line, column and caret, on any mistake in the file.
    """
    try:
        path = find("grammars", str(path_or_name), ".lark", search_path)
    except UsageError:
        offered = offer(str(path_or_name), names("grammars", ".lark", search_path))
        raise mistake("missing-file", Place(Source(str(path_or_name), "")), offer=offered) from None
    text, byte_order_mark = read_text(path, str(path))
    return _grammar(_Read(definitions(Source(str(path), text), path, byte_order_mark), path))


def loads(text: str, name: str = "<text>") -> Grammar:
    """The grammar that a text holds. It can import from Lark's library only, since it lies in no folder."""
    text, _ = decode(text.encode(errors="surrogatepass"), name)
    return _grammar(_Read(definitions(Source(name, text), None), None))


class _Read:
    """A grammar's definitions: equal where the files that they were read from are, by place and text."""

    def __init__(self, definitions: Definitions, path: Path | None) -> None:
        self.definitions, self.path = definitions, path
        self._files = path, definitions.source, *definitions.sources.items(), definitions.byte_order_mark

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Read) and self._files == other._files

    def __hash__(self) -> int:
        return hash(self._files)


@functools.lru_cache(maxsize=32)
def _grammar(one: _Read) -> Grammar:
    """A process that reads the same files once more, as a run does, has the same grammar at once."""
    read, path = one.definitions, one.path
    expansion = expand(read, START)
    refuse_endless(expansion)
    rules, places = _alternatives(expansion, read.sources)
    parser = compile_parser(read, expansion, rules, places)
    _ask_lark(read, path)
    return Grammar(
        name=path.stem if path else read.source.name,
        start=START,
        rules=rules,
        terminals=expansion.terminals,
        source=read.sources,
        digest=_digest(rules, expansion.terminals, parser, read.input or "none"),
        input=read.input or "none",
        spaced=bool(parser.joins) or parser.inner_space,
        parser=parser,
        remarks=tuple(_remarks(read, expansion)),
    )


def _remarks(read: Definitions, expansion: Expansion) -> Iterator[str]:
    name = read.source.name
    if read.byte_order_mark:
        yield f"{name}: starts with a byte-order mark, which stock Lark refuses; save it as UTF-8 without one"
    if read.input is None:
        yield f"{name}: no `// input:` line, so its sentences are a plain language, without layers and shapes"
    for first, second in expansion.joined:
        yield (
            f"{second.place.source.name}:{second.place.line}:{second.place.column}: written like the alternative at "
            f"line {first.place.line}; their weights are added"
        )


def _ask_lark(read: Definitions, path: Path | None) -> None:
    """Stock Lark's verdict on the unchanged file. What evosearch refuses it has refused by now, in clearer words."""
    from lark import Lark

    try:
        Lark(read.source.text, parser="lalr", start=START, strict=True, source_path=str(path) if path else None)
    except RecursionError:
        raise refused(read.source, "its rules or terminals are nested too deep") from None
    except Exception as error:  # noqa: BLE001  # Lark also fails its own assertions; whatever it raises is its refusal
        raise refused(read.source, str(error) or type(error).__name__) from None


def _alternatives(
    expansion: Expansion, sources: Mapping[str, str]
) -> tuple[dict[str, tuple[Alternative, ...]], dict[Alternative, Place]]:
    """Plain alternatives with their layers, and where each stands."""
    counts = _kept_counts(expansion)
    files = {text: name for name, text in sources.items()}
    rules: dict[str, tuple[Alternative, ...]] = {}
    places: dict[Alternative, Place] = {}
    for name, raws in expansion.rules.items():
        made = []
        likely = Counter(_rules(raw) for raw in raws if raw.weight > 0)
        for index, raw in enumerate(raws):
            layer = _layer(name, raw, expansion, counts)
            place = raw.place
            file = files.get(place.source.text, "")
            varied = any(symbol.kind is SymbolKind.TERMINAL for symbol in raw.symbols)
            varied |= likely[_rules(raw)] > (raw.weight > 0)  # another alternative of the same parts
            alternative = Alternative(
                name, index, raw.symbols, layer, raw.weight, place.line, place.column, file, varied
            )
            places[alternative] = place
            made.append(alternative)
        rules[name] = tuple(made)
    return rules, places


def _rules(raw: Raw) -> tuple[str, ...]:
    return tuple(symbol.name for symbol in raw.symbols if symbol.kind is SymbolKind.RULE)


def _layer(name: str, raw: Raw, expansion: Expansion, counts: Mapping[str, set[int]]) -> str | None:
    """An alternative's layer: its alias, else its rule's name; None where it only chooses or repeats."""
    if name.startswith("_"):  # inlined, or a helper rule
        return None
    if raw.alias is not None:
        return raw.alias
    kept = [symbol for symbol in raw.symbols if _keeps(symbol)]
    if "?" in expansion.modifiers[name] and _count(raw, counts) == {1}:
        return None
    if name == START and _count(raw, counts) == {1} and all(symbol.kind is SymbolKind.RULE for symbol in kept):
        return None
    return expansion.own_names[name]


def _keeps(symbol: Symbol) -> bool:
    return symbol.kind is SymbolKind.RULE or (symbol.kind is SymbolKind.TERMINAL and not symbol.name.startswith("_"))


MANY = 2  # children counted no further


def _kept_counts(expansion: Expansion) -> dict[str, set[int]]:
    """How many children each inlined rule can leave in the rule above: some of 0, 1 and MANY."""
    counts: dict[str, set[int]] = {name: set() for name in expansion.rules if name.startswith("_")}
    changed = True
    while changed:
        changed = False
        for name, known in counts.items():
            for raw in expansion.rules[name]:
                found = _count(raw, counts)
                if not found <= known:
                    known |= found
                    changed = True
    return counts


def _count(raw: Raw, counts: Mapping[str, set[int]]) -> set[int]:
    """How many kept children an alternative can have: some of 0, 1 and MANY."""
    totals = {0}
    for symbol in raw.symbols:
        if symbol.kind is SymbolKind.RULE and symbol.name in counts:
            totals = {min(total + more, MANY) for total in totals for more in counts[symbol.name]}
        elif _keeps(symbol):
            totals = {min(total + 1, MANY) for total in totals}
    return totals


def _digest(
    rules: Mapping[str, tuple[Alternative, ...]], terminals: Mapping[str, Terminal], parser: Any, input_mode: str
) -> str:
    """blake2b-128 over the language: what the rules derive and how likely, layers, terminals, what is ignored."""
    lark = parser.lark
    patterns = {parser.names[t.name]: [t.pattern.to_regexp(), t.priority] for t in lark.terminals}
    language = {
        "input": input_mode,
        "rules": {
            name: [[[[s.kind.value, s.name] for s in a.symbols], a.layer, repr(a.weight)] for a in alternatives]
            for name, alternatives in rules.items()
        },
        "terminals": {
            name: [
                t.choices and [[text, repr(weight)] for text, weight in t.choices],
                t.range and [repr(t.range.low), repr(t.range.high), t.range.log, t.range.integer],
                repr(t.composition),
            ]
            for name, t in terminals.items()
        },
        "patterns": patterns,
        "ignored": sorted(parser.names[name] for name in lark.ignore_tokens),
    }
    written = json.dumps(language, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(written.encode(), digest_size=16).hexdigest()
