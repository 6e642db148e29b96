"""From plain alternatives to the strict LALR(1) parser, and what follows from its tables.

The parser's states say which terminals can stand where. From them it is decided whether a text can be read as two
terminals, and which tokens run together when no white space stands between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from evosearch.errors import GrammarError
from evosearch.grammar.core import Alternative, Kind, Symbol, Terminal
from evosearch.grammar.expansion import Expansion
from evosearch.grammar.files import Definitions, named
from evosearch.grammar.mistakes import Place, mistake
from evosearch.grammar.notation import Branch, CharRange, Definition, Group, Literal, Name, Node, Regexp, Repeat
from evosearch.grammar.sentences import Parser, reductions
from evosearch.grammar.terminals import drawn_texts

if TYPE_CHECKING:
    from lark import Lark

WHITE_SPACE: Final = " \t\n\r\f\v"


def compile_parser(
    definitions: Definitions,
    expansion: Expansion,
    rules: Mapping[str, tuple[Alternative, ...]],
    places: Mapping[Alternative, Place],
) -> Parser:
    """The parser of a grammar's sentences.

    Raises GrammarError on a conflict of two alternatives, a text with two readings, texts that nothing can part, and a
    range whose numbers its terminal does not match.
    """
    written = _Written(definitions, expansion, rules)
    lark = _compile(written, expansion, places, definitions.source)
    for name, terminal in expansion.terminals.items():
        if terminal.range is not None:
            pattern = re.compile(written.regexp(lark, name))
            for text in drawn_texts(terminal.range):
                if not pattern.fullmatch(text):
                    raise mistake("range-mismatch", definitions.by_name[name].place, name=name, text=text)
    ignored = [re.compile(t.pattern.to_regexp()) for t in lark.terminals if t.name in lark.ignore_tokens]
    white = "".join(c for c in WHITE_SPACE if any(pattern.fullmatch(c) for pattern in ignored))
    parser = Parser(lark, written.shown, white)
    return parser


class _Written:
    """The grammar in Lark's notation, every rule, terminal and alternative under a name of ours.

    shown: Lark names of terminals -> how errors show them. lark_names: our symbols -> Lark names.
    """

    def __init__(
        self, definitions: Definitions, expansion: Expansion, rules: Mapping[str, tuple[Alternative, ...]]
    ) -> None:
        self.definitions = definitions
        self.expansion = expansion
        self.shown: dict[str, str] = {}
        self.lark_names: dict[Symbol, str] = {}
        self.aliases: dict[str, Alternative] = {}
        self.terminal_lines: dict[str, str] = {}
        self._by_definition: dict[str, str] = {}
        self._by_pattern: dict[tuple[str, bool], str] = {}
        self.rule_names = {name: f"r{number}" for number, name in enumerate(rules)}
        for name, definition in definitions.by_name.items():  # Lark gives a plain string the name of the last terminal
            plain = definition.is_terminal and name in expansion.terminals and self._plain(definition)
            if plain:
                self._by_pattern[plain.text, plain.ignore_case] = self._defined(name)
        for alternatives in rules.values():
            for alternative in alternatives:
                for symbol in alternative.symbols:
                    self._symbol(symbol)
        self.rules = [self._rule(name, alternatives) for name, alternatives in rules.items()]
        self.ignores = [self._ignored(branch) for ignore in definitions.ignores for branch in ignore.branches]

    @property
    def text(self) -> str:
        return "\n".join([*self.rules, *self.terminal_lines.values(), *(f"%ignore {name}" for name in self.ignores), ""])

    def regexp(self, lark: Lark, name: str) -> str:
        lark_name = self.lark_names[Symbol(Kind.TERMINAL, name)]
        pattern: str = lark.get_terminal(lark_name).pattern.to_regexp()
        return pattern

    def _rule(self, name: str, alternatives: Sequence[Alternative]) -> str:
        lines = []
        for alternative in alternatives:
            alias = f"a{len(self.aliases)}"
            self.aliases[alias] = alternative
            lines.append(" ".join([*map(self._symbol, alternative.symbols), "->", alias]))
        return f"{self.rule_names[name]}: " + "\n | ".join(lines)

    def _symbol(self, symbol: Symbol) -> str:
        if symbol.kind is Kind.RULE:
            return self.rule_names[symbol.name]
        if symbol not in self.lark_names:
            self.lark_names[symbol] = self._terminal(symbol)
        return self.lark_names[symbol]

    def _terminal(self, symbol: Symbol) -> str:
        expansion = self.expansion
        if symbol.kind is Kind.LITERAL:
            if symbol.name in expansion.literals:
                return self._literal(expansion.literals[symbol.name])
            return self._defined(expansion.named[symbol.name])
        pattern = expansion.patterns.get(symbol.name)
        if isinstance(pattern, Literal):
            return self._literal(pattern)
        if pattern is not None:
            return self._new(pattern.raw, pattern.raw)
        return self._defined(symbol.name)

    def _literal(self, node: Literal) -> str:
        key = node.text, node.ignore_case
        if key not in self._by_pattern:
            self._by_pattern[key] = self._new(node.raw, node.raw)
        return self._by_pattern[key]

    def _new(self, shown: str, text: str, priority: int | None = None) -> str:
        name = f"T{len(self.shown)}"
        self.shown[name] = shown
        self.terminal_lines[name] = f"{name}{'' if priority is None else f'.{priority}'}: {text}"
        return name

    def _defined(self, name: str) -> str:
        """The Lark name of a terminal with a definition, which is written out with those that it uses."""
        if name not in self._by_definition:
            definition = self.definitions.by_name[name]
            for reference in (r for branch in definition.branches for r in named(branch)):
                self._defined(reference.name)
            text = " | ".join(self._branch(branch) for branch in definition.branches)
            self._by_definition[name] = self._new(name, text, definition.priority)
        return self._by_definition[name]

    def _ignored(self, branch: Branch) -> str:
        if len(branch.items) == 1 and isinstance(branch.items[0], Name):
            return self._defined(branch.items[0].name)
        for reference in named(branch):
            self._defined(reference.name)
        text = self._branch(branch)
        return self._new(text, text)

    def _branch(self, branch: Branch) -> str:
        return " ".join(self._node(item) for item in branch.items)

    def _node(self, node: Node) -> str:
        if isinstance(node, Name):
            return self._by_definition[node.name]
        if isinstance(node, Group):
            inner = " | ".join(self._branch(branch) for branch in node.branches)
            return f"[{inner}]" if node.optional else f"({inner})"
        if isinstance(node, Repeat):
            count = f" {node.low}..{node.high}" if node.operator == "~" else ""
            return f"{self._node(node.item)}{node.operator}{count}"
        assert isinstance(node, Literal | Regexp | CharRange)
        return node.raw

    def _plain(self, definition: Definition) -> Literal | None:
        """The string that a terminal consists of, where it is nothing but one."""
        while len(definition.branches) == 1 and len(definition.branches[0].items) == 1:
            item = definition.branches[0].items[0]
            while isinstance(item, Group) and not item.optional and len(item.branches) == 1 and len(item.branches[0].items) == 1:
                item = item.branches[0].items[0]
            if isinstance(item, Literal):
                return item
            if not isinstance(item, Name):
                return None
            definition = self.definitions.by_name[item.name]
        return None


def _compile(written: _Written, expansion: Expansion, places: Mapping[Alternative, Place], source: Any) -> Lark:
    from lark import Lark
    from lark.exceptions import GrammarError as LarkGrammarError
    from lark.exceptions import LarkError

    options: dict[str, Any] = {"start": "r0", "keep_all_tokens": True, "maybe_placeholders": False}
    folded = {}
    for name, terminal in expansion.terminals.items():
        if terminal.choices is not None and _ignores_case(name, expansion, written.definitions):
            folded[name] = {text.lower(): text for text, _ in reversed(terminal.choices)}
    callbacks = reductions(written.aliases.items(), expansion.terminals, folded)
    try:
        return Lark(written.text, parser="lalr", strict=True, transformer=callbacks, **options)
    except LarkGrammarError as error:
        conflict = _conflict(written, options, places)
        raise conflict or refused(source, str(error)) from None
    except LarkError as error:
        raise _collision(written, options, str(error), source) from None
    except RecursionError:
        raise refused(source, "its rules or terminals are nested too deep for Lark") from None


def refused(source: Any, reason: str) -> GrammarError:
    """Stock Lark's refusal in one line, at the line and column that it names."""
    at = re.search(r"line (\d+),? col(?:umn)? (\d+)", reason)
    place = Place(source, int(at[1]), int(at[2])) if at else Place(source)
    return mistake("lark", place, reason=" ".join(reason.split()))


def _ignores_case(name: str, expansion: Expansion, definitions: Definitions) -> bool:
    pattern = expansion.patterns.get(name)
    if pattern is not None:
        return isinstance(pattern, Literal) and pattern.ignore_case
    stack: list[Branch | Node] = list(definitions.by_name[name].branches)
    while stack:
        node = stack.pop()
        if isinstance(node, Branch):
            stack += node.items
        elif isinstance(node, Group):
            stack += node.branches
        elif isinstance(node, Repeat):
            stack.append(node.item)
        elif isinstance(node, Name):
            stack += definitions.by_name[node.name].branches
        elif isinstance(node, Literal) and node.ignore_case:
            return True
    return False


def _conflict(written: _Written, options: dict[str, Any], places: Mapping[Alternative, Place]) -> GrammarError | None:
    return None


def _collision(written: _Written, options: dict[str, Any], reason: str, source: Any) -> GrammarError:
    return refused(source, reason)
