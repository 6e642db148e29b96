"""From plain alternatives to the strict LALR(1) parser, and what follows from its tables.

The parser's states say which terminals can stand where. From them it is decided whether a text can be read as two
terminals, and which tokens run together when no white space stands between them.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from evosearch.grammar.core import Alternative, Symbol, SymbolKind, Terminal
from evosearch.grammar.files import Definitions, named
from evosearch.grammar.lexing import WHITE_SPACE, Misread, Tokens, glued, misread, neighbours, overlap
from evosearch.grammar.mistakes import Place, mistake
from evosearch.grammar.notation import Branch, CharRange, Definition, Group, Literal, Name, Node, Regexp, Repeat
from evosearch.grammar.sentences import Parser, reductions
from evosearch.grammar.terminals import drawn_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lark import Lark

    from evosearch.errors import GrammarError
    from evosearch.grammar.expansion import Expansion


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
    lark = _compile(written, places)
    ranged = {
        written.lark_names[Symbol(SymbolKind.TERMINAL, name)]: terminal
        for name, terminal in expansion.terminals.items()
        if terminal.range is not None
    }
    for lark_name, terminal in ranged.items():
        _refuse_unmatched(written, lark, lark_name, terminal)
    tokens = Tokens(lark, written.texts(), ranged)
    _refuse_two_readings(written, tokens)
    white, more_ignored = _ignored(lark, tokens)
    joins = _joins(written, tokens, rules, white)
    inner_space = any(c in text for texts in tokens.texts.values() for text in texts for c in white) or any(
        set(white) & tokens.automaton(name).characters() for name in _endless(tokens)
    )
    return Parser(lark, written.shown, white, joins, inner_space, reparsed=inner_space or more_ignored)


def _refuse_unmatched(written: _Written, lark: Lark, lark_name: str, terminal: Terminal) -> None:
    pattern = re.compile(lark.get_terminal(lark_name).pattern.to_regexp())
    assert terminal.range is not None
    for text in drawn_texts(terminal.range):
        if not pattern.fullmatch(text):
            raise mistake("range-mismatch", written.places[lark_name], name=terminal.name, text=text)


def _endless(tokens: Tokens) -> list[str]:
    """The terminals of sentences that have no list of texts."""
    lark = tokens.lark
    return [t.name for t in lark.terminals if t.name not in tokens.texts and t.name not in lark.ignore_tokens]


def _refuse_two_readings(written: _Written, tokens: Tokens) -> None:
    texts = dict(tokens.texts)
    for name in [n for n in written.lark_names.values() if n not in texts]:
        terminal = written.expansion.terminals[written.shown[name]]
        texts[name] = [text for text, _ in terminal.representatives()]
    unread = next((name for name in written.lark_names.values() if name in tokens.lark.ignore_tokens), None)
    wrong = Misread(unread, texts[unread][0], None) if unread else misread(tokens.lark, texts) or overlap(tokens)
    if wrong is not None:
        first, second = written.shown[wrong.terminal], written.shown[wrong.other or wrong.terminal]
        if wrong.other is None:
            second = "nothing, since it is ignored,"
        raise mistake("same-text", written.places[wrong.terminal], text=wrong.text, first=first, second=second)


def _ignored(lark: Lark, tokens: Tokens) -> tuple[str, bool]:
    """The ASCII white space that is ignored, and whether anything else is."""
    automata = [tokens.automaton(name) for name in lark.ignore_tokens]
    white = "".join(c for c in WHITE_SPACE if any(automaton.accepts(c) for automaton in automata))
    return white, not all(automaton.only(WHITE_SPACE) for automaton in automata)


def _joins(
    written: _Written, tokens: Tokens, rules: Mapping[str, tuple[Alternative, ...]], white: str
) -> frozenset[str]:
    """The pairs of characters between which a space must stay. Raises GrammarError where a space does not help."""
    plain = {
        written.rule_names[name]: [
            [
                (s.kind, written.rule_names[s.name] if s.kind is SymbolKind.RULE else written.lark_names[s])
                for s in a.symbols
            ]
            for a in alternatives
        ]
        for name, alternatives in rules.items()
    }
    following = neighbours(plain)
    found = list(glued(tokens, following, ""))
    joins = frozenset(pair.first[-1] + pair.second[0] for pair in found)
    if not joins:
        return joins
    place = Place(written.definitions.source)
    if " " not in white:
        advice = "let the grammar ignore spaces: %import common.WS, %ignore WS"
        raise mistake("glued-texts", place, first=found[0].first, second=found[0].second, advice=advice)
    for pair in glued(tokens, following, " "):
        if pair.first[-1] + pair.second[0] in joins:
            advice = "change one of them"
            raise mistake("glued-texts", place, first=pair.first, second=pair.second, advice=advice)
    return joins


class _Written:
    """The grammar in Lark's notation, every rule, terminal and alternative under a name of ours.

    shown: Lark's names of terminals -> how errors show them. places: where each stands. lark_names: Lark's name of
    each symbol that is no rule. aliases: Lark's alias of each alternative.
    """

    def __init__(
        self, definitions: Definitions, expansion: Expansion, rules: Mapping[str, tuple[Alternative, ...]]
    ) -> None:
        self.definitions = definitions
        self.expansion = expansion
        self.shown: dict[str, str] = {}
        self.places: dict[str, Place] = {}
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
        return "\n".join(
            [*self.rules, *self.terminal_lines.values(), *(f"%ignore {name}" for name in self.ignores), ""]
        )

    def texts(self) -> dict[str, tuple[str, ...]]:
        """The texts of each terminal that has a list of them, by Lark's name."""
        texts: dict[str, tuple[str, ...]] = {}
        for symbol, lark_name in self.lark_names.items():
            terminal = self.expansion.terminals.get(symbol.name)
            if symbol.kind is SymbolKind.LITERAL:
                texts[lark_name] = (symbol.name,)
            elif terminal is not None and terminal.choices is not None:
                texts[lark_name] = tuple(text for text, _ in terminal.choices)
        return texts

    def _rule(self, name: str, alternatives: Sequence[Alternative]) -> str:
        lines = []
        for alternative in alternatives:
            alias = f"a{len(self.aliases)}"
            self.aliases[alias] = alternative
            lines.append(" ".join([*map(self._symbol, alternative.symbols), "->", alias]))
        return f"{self.rule_names[name]}: " + "\n | ".join(lines)

    def _symbol(self, symbol: Symbol) -> str:
        if symbol.kind is SymbolKind.RULE:
            return self.rule_names[symbol.name]
        if symbol not in self.lark_names:
            self.lark_names[symbol] = self._terminal(symbol)
        return self.lark_names[symbol]

    def _terminal(self, symbol: Symbol) -> str:
        expansion = self.expansion
        if symbol.kind is SymbolKind.LITERAL:
            if symbol.name in expansion.literals:
                return self._literal(expansion.literals[symbol.name])
            return self._defined(expansion.named[symbol.name])
        pattern = expansion.patterns.get(symbol.name)
        if isinstance(pattern, Literal):
            return self._literal(pattern)
        if pattern is not None:
            return self._new(pattern.raw, pattern.raw, pattern.place)
        return self._defined(symbol.name)

    def _literal(self, node: Literal) -> str:
        key = node.text, node.ignore_case
        if key not in self._by_pattern:
            self._by_pattern[key] = self._new(node.raw, node.raw, node.place)
        return self._by_pattern[key]

    def _new(self, shown: str, text: str, place: Place, priority: int | None = None) -> str:
        name = f"T{len(self.shown)}"
        self.shown[name], self.places[name] = shown, place
        self.terminal_lines[name] = f"{name}{'' if priority is None else f'.{priority}'}: {text}"
        return name

    def _defined(self, name: str) -> str:
        """The Lark name of a terminal with a definition, which is written out with those that it uses."""
        if name not in self._by_definition:
            definition = self.definitions.by_name[name]
            for reference in (r for branch in definition.branches for r in named(branch)):
                self._defined(reference.name)
            text = " | ".join(self._branch(branch) for branch in definition.branches)
            self._by_definition[name] = self._new(name, text, definition.place, definition.priority)
        return self._by_definition[name]

    def _ignored(self, branch: Branch) -> str:
        if len(branch.items) == 1 and isinstance(branch.items[0], Name):
            return self._defined(branch.items[0].name)
        if len(branch.items) == 1 and isinstance(branch.items[0], Literal):
            return self._literal(branch.items[0])  # where a rule has it too it is one terminal, as Lark takes it
        for reference in named(branch):
            self._defined(reference.name)
        text = self._branch(branch)
        return self._new(text, text, branch.place)

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
            while (
                isinstance(item, Group)
                and not item.optional
                and len(item.branches) == 1
                and len(item.branches[0].items) == 1
            ):
                item = item.branches[0].items[0]
            if isinstance(item, Literal):
                return item
            if not isinstance(item, Name):
                return None
            definition = self.definitions.by_name[item.name]
        return None


def _compile(written: _Written, places: Mapping[Alternative, Place]) -> Lark:
    from lark import Lark
    from lark.exceptions import GrammarError as LarkGrammarError
    from lark.exceptions import LarkError

    expansion, source = written.expansion, written.definitions.source
    folded = {}
    for name, terminal in expansion.terminals.items():
        if terminal.choices is not None and _ignores_case(name, expansion, written.definitions):
            folded[name] = {text.lower(): text for text, _ in reversed(terminal.choices)}
    callbacks = reductions(written.aliases.items(), expansion.terminals, folded)
    options: dict[str, Any] = {"start": "r0", "keep_all_tokens": True, "maybe_placeholders": False}
    try:
        return Lark(written.text, parser="lalr", strict=True, transformer=callbacks, **options)
    except LarkGrammarError as error:
        raise _conflict(written, options, places) or refused(source, str(error)) from None
    except LarkError as error:
        raise _collision(written, str(error)) or refused(source, str(error)) from None
    except RecursionError:
        raise refused(source, "its rules or terminals are nested too deep") from None


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


def _conflict(
    written: _Written, options: Mapping[str, Any], places: Mapping[Alternative, Place]
) -> GrammarError | None:
    """The first conflict of the LALR(1) tables, with both alternatives; Lark itself names only one of them."""
    from lark import Lark
    from lark.common import ParserConf
    from lark.exceptions import LarkError
    from lark.parsers.lalr_analysis import LALR_Analyzer

    try:
        rules = list(Lark(written.text, parser=None, lexer="basic", **options).rules)
    except LarkError:  # what Lark refuses without its tables is no conflict of theirs
        return None
    analysis = LALR_Analyzer(ParserConf(rules, {}, ["r0"]))
    with contextlib.suppress(LarkError):  # its last step, which says which lookaheads collide; all are known by then
        analysis.compute_lalr()  # type: ignore[no-untyped-call]  # Lark gives it no types
    conflicts: list[tuple[Alternative, Alternative, str]] = []
    for state in analysis.lr0_itemsets:
        for token, reduced in state.lookaheads.items():
            ways = [written.aliases[str(rule.alias)] for rule in reduced]
            if token in state.transitions:
                shifted = (item.rule for item in state.closure if not item.is_satisfied and item.next == token)
                ways += [written.aliases[str(rule.alias)] for rule in shifted]
            elif len(ways) == 1:
                continue
            order = sorted(ways, key=lambda a: (places[a].line, places[a].column, a.rule, a.index))
            conflicts.append((order[0], order[1], token.name))
    if not conflicts:
        return None
    first, second, name = min(
        conflicts,
        key=lambda c: (places[c[1]].line, places[c[1]].column, places[c[0]].line, c[0].index, c[1].index, c[2]),
    )
    shown = "the end" if name == "$END" else written.shown.get(name, name)
    if places[first] == places[second]:
        return mistake("conflict-self", places[second], first=_written(first), token=shown)
    return mistake(
        "conflict", places[second], first=_written(first), second=_written(second),
        first_line=places[first].line, second_line=places[second].line, token=shown,
    )  # fmt: skip


def _written(alternative: Alternative) -> str:
    """An alternative as errors show it: `rule: symbols`, not all of a long one."""
    words = [f'"{s.name}"' if s.kind is SymbolKind.LITERAL else s.name.removeprefix("__") for s in alternative.symbols]
    text = f"{alternative.rule.removeprefix('__')}: {' '.join(words)}"
    return f"`{text if len(text) <= 70 else text[:69] + '…'}`"


def _collision(written: _Written, reason: str) -> GrammarError | None:
    """Two terminals that match the same text in the same place, as strict Lark reports it."""
    names = re.search(r"Collision between Terminals (\w+) and (\w+)", reason)
    if not names or names[1] not in written.shown or names[2] not in written.shown:
        return None
    texts = written.texts()
    common = sorted(set(texts.get(names[1], ())) & set(texts.get(names[2], ())))
    first, second = sorted(names.groups(), key=lambda name: (written.places[name].line, name))
    example = common[0] if common else "the same text"
    return mistake(
        "same-text", written.places[second], text=example, first=written.shown[first], second=written.shown[second]
    )
