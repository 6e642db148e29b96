"""Which texts the parser's lexer can tell apart, and between which tokens a space must stay.

Lark's contextual lexer tries, in each state of the parser, only the terminals that can stand there, and takes the first
that matches. Whether a text is read as the terminal that was drawn depends on the others of that state and on what
follows it; both are decided here, for all sentences at once. Where an answer is not exact it errs towards a space.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from evosearch.grammar.core import SymbolKind, Terminal

if TYPE_CHECKING:
    from lark import Lark

WHITE_SPACE: Final = " \t\n\r\f\v"
NUMBER_FIRST: Final = frozenset("0123456789.+-")  # of texts that float() reads, nan and infinity apart
NUMBER_LAST: Final = frozenset("0123456789.")
MAX_PRODUCT: Final = 50_000  # pairs of states that are searched before all characters count as possible


@dataclass(frozen=True)
class Misread:
    """A text that is read as another terminal, or only in part, where `terminal` was meant (Lark's names)."""

    terminal: str
    text: str
    other: str | None


@dataclass
class Tokens:
    """The terminals of a compiled parser by Lark's names: their texts, or their automaton where these are endless."""

    lark: Lark
    texts: Mapping[str, Sequence[str]]
    ranged: Mapping[str, Terminal]
    automata: dict[str, Automaton] = field(default_factory=dict)

    def automaton(self, name: str) -> Automaton:
        if name not in self.automata:
            self.automata[name] = Automaton.of(self.lark.get_terminal(name).pattern.to_regexp())
        return self.automata[name]

    def firsts(self, name: str) -> frozenset[str]:
        if name in self.texts:
            return frozenset(text[0] for text in self.texts[name])
        return NUMBER_FIRST if name in self.ranged else self.automaton(name).firsts()

    def lasts(self, name: str) -> frozenset[str]:
        if name in self.texts:
            return frozenset(text[-1] for text in self.texts[name])
        return NUMBER_LAST if name in self.ranged else self.automaton(name).lasts()

    def has(self, name: str, text: str) -> bool:
        if name in self.ranged:
            terminal = self.ranged[name]
            return terminal.range is not None and terminal.range.contains(text) and self.automaton(name).accepts(text)
        return self.automaton(name).accepts(text)


class Automaton:
    """A regular expression as a finite automaton, reduced to what is asked of it here. Dead ends are left out."""

    def __init__(self, fsm: Any) -> None:
        self.fsm = fsm
        self.initial: int = fsm.initial
        self.finals = frozenset(fsm.finals)
        self._steps: dict[int, dict[Any, int]] = {
            state: {key: after for key, after in steps.items() if fsm.islive(after)} for state, steps in fsm.map.items()
        }

    @classmethod
    def of(cls, pattern: str) -> Automaton:
        from interegular import parse_pattern

        return cls(parse_pattern(pattern).to_fsm())

    def step(self, state: int, character: str) -> int | None:
        return self._steps.get(state, {}).get(self.fsm.alphabet[character])

    def walk(self, text: str) -> int | None:
        """The state after a text, or None where no word begins with it."""
        state: int | None = self.initial
        for character in text:
            if state is None:
                return None
            state = self.step(state, character)
        return state

    def accepts(self, text: str) -> bool:
        return self.walk(text) in self.finals

    def _characters(self, keys: Iterable[Any]) -> frozenset[str]:
        wanted = set(keys)
        return frozenset(
            character
            for key, characters in self.fsm.alphabet.by_transition.items()
            if key in wanted
            for character in characters
            if isinstance(character, str)
        )

    def firsts(self) -> frozenset[str]:
        return self._characters(self._steps.get(self.initial, {}))

    def lasts(self) -> frozenset[str]:
        return self._characters(
            key for steps in self._steps.values() for key, after in steps.items() if after in self.finals
        )

    def characters(self) -> frozenset[str]:
        """All characters that are named in the expression and stand in some word."""
        return self._characters(key for steps in self._steps.values() for key in steps)

    def only(self, characters: str) -> bool:
        """Whether every word consists of these characters."""
        keys = {key for steps in self._steps.values() for key in steps}
        # what is in no expression is one more key, whose character is no string
        return all(isinstance(c, str) and c in characters for key in keys for c in self.fsm.alphabet.by_transition[key])

    def goes_on(self, state: int | None, text: str) -> bool:
        """Whether a word may end inside `text` or go on through all of it, from the state before it."""
        for character in text:
            state = None if state is None else self.step(state, character)
            if state is None:
                return False
            if state in self.finals:
                return True
        return True

    def after_words_of(self, first: Automaton, characters: frozenset[str]) -> frozenset[str]:
        """Those of the characters with which a word of this one may go on behind a word of the first."""
        if len(first._steps) * len(self._steps) > MAX_PRODUCT:
            return characters
        common = first.characters() | self.characters()
        found: set[str] = set()
        seen = {(first.initial, self.initial)}
        stack = list(seen)
        while stack:
            left, right = stack.pop()
            if left in first.finals:
                found |= {c for c in characters if self.step(right, c) is not None}
            for character in common:
                after = first.step(left, character), self.step(right, character)
                if after[0] is not None and after[1] is not None and after not in seen:
                    seen.add((after[0], after[1]))
                    stack.append((after[0], after[1]))
        return frozenset(found)


def lexers(lark: Lark) -> list[Any]:
    """The distinct lexers of a contextual parser, one for each set of terminals that can stand somewhere."""
    return list({id(lexer): lexer for lexer in lark.parser.lexer.lexers.values()}.values())


def misread(lark: Lark, texts: Mapping[str, Sequence[str]]) -> Misread | None:
    """A text that, standing alone where it may, is not read as the terminal that it was drawn from."""
    from lark.exceptions import UnexpectedCharacters
    from lark.lexer import LexerThread

    for lexer in lexers(lark):
        for terminal in sorted(t.name for t in lexer.terminals):
            if terminal in lexer.ignore_types:
                continue
            for text in texts.get(terminal, ()):
                thread = LexerThread.from_text(lexer, text)
                try:
                    token = lexer.next_token(thread.state, None)
                except (EOFError, UnexpectedCharacters):  # all of it, or its beginning, is ignored
                    return Misread(terminal, text, None)
                if token.type != terminal or str(token) != text:
                    return Misread(terminal, text, token.type)
    return None


def overlap(tokens: Tokens) -> Misread | None:
    """A text of a listed terminal that an endless one of the same state has too; None if there is none."""
    for lexer in lexers(tokens.lark):
        names = sorted(t.name for t in lexer.terminals if t.name not in lexer.ignore_types)
        endless = [name for name in names if name not in tokens.texts]
        for name in names if endless else ():
            for text in tokens.texts.get(name, ()):
                for other in endless:
                    if tokens.has(other, text):
                        return Misread(other, text, name)
    return None


@dataclass(frozen=True)
class Glued:
    """Two neighbouring texts that are not read as these two when nothing, or only a space, stands between them."""

    first: str
    second: str


def glued(tokens: Tokens, neighbours: Mapping[str, frozenset[str]], between: str) -> Iterator[Glued]:
    """All pairs of neighbours that run together with `between` (nothing, or a space) between them.

    neighbours: by Lark's name of a terminal, those that can follow it. Of an endless terminal only the character at the
    seam is told.
    """
    for lexer in lexers(tokens.lark):
        names = sorted(t.name for t in lexer.terminals)
        finite = [text for name in names for text in tokens.texts.get(name, ())]
        longer: dict[str, list[str]] = {}
        for text in finite:
            for cut in range(1, len(text)):
                longer.setdefault(text[:cut], []).append(text[cut:])
        endless = [name for name in names if name not in tokens.texts]
        for name in names:
            following = neighbours.get(name, frozenset())
            if not following:
                continue
            if name in tokens.texts:
                for text in tokens.texts[name]:
                    rests = longer.get(text, [])
                    automata = [tokens.automaton(other) for other in endless]
                    walked = [(automaton, automaton.walk(text)) for automaton in automata]
                    states = [(automaton, state) for automaton, state in walked if state is not None]
                    if rests or states:
                        yield from _glued_behind(tokens, text, rests, states, following, between)
            else:
                yield from _glued_behind_endless(tokens, name, longer, endless, following, between)


def _glued_behind(
    tokens: Tokens,
    text: str,
    rests: Sequence[str],
    states: Sequence[tuple[Automaton, int | None]],
    following: Iterable[str],
    between: str,
) -> Iterator[Glued]:
    for other in sorted(following):
        for second in tokens.texts.get(other) or sorted(tokens.firsts(other)):
            written = between + second
            if any(rest.startswith(written) or written.startswith(rest) for rest in rests) or any(
                automaton.goes_on(state, written) for automaton, state in states
            ):
                yield Glued(text, second)


def _glued_behind_endless(
    tokens: Tokens,
    name: str,
    longer: Mapping[str, Sequence[str]],
    endless: Sequence[str],
    following: Iterable[str],
    between: str,
) -> Iterator[Glued]:
    rests = [rest for head, found in longer.items() if tokens.has(name, head) for rest in found]
    own = tokens.automaton(name)
    for other in sorted(following):
        for second in tokens.texts.get(other) or sorted(tokens.firsts(other)):
            written = between + second
            seam = frozenset(written[0])
            if any(rest.startswith(written) or written.startswith(rest) for rest in rests) or any(
                tokens.automaton(extended).after_words_of(own, seam) for extended in endless
            ):
                for last in sorted(tokens.lasts(name)):
                    yield Glued(last, second)


Rules = Mapping[str, Sequence[Sequence[tuple[SymbolKind, str]]]]


def neighbours(rules: Rules) -> dict[str, frozenset[str]]:
    """Which terminals can stand directly behind which, over all sentences.

    rules: for each rule its alternatives as (kind, name); everything that is no rule is a terminal.
    """
    empty = _empty(rules)
    first = _ends(rules, empty, lambda symbols: symbols)
    last = _ends(rules, empty, lambda symbols: symbols[::-1])
    found: dict[str, set[str]] = {}
    seen: set[tuple[tuple[SymbolKind, str], tuple[SymbolKind, str]]] = set()
    for alternatives in rules.values():
        for symbols in alternatives:
            for position, left in enumerate(symbols):
                for right in symbols[position + 1 :]:
                    if (left, right) not in seen:
                        seen.add((left, right))
                        for terminal in last[left[1]] if left[0] is SymbolKind.RULE else {left[1]}:
                            found.setdefault(terminal, set()).update(
                                first[right[1]] if right[0] is SymbolKind.RULE else {right[1]}
                            )
                    if right[0] is not SymbolKind.RULE or right[1] not in empty:
                        break
    return {name: frozenset(names) for name, names in found.items()}


def _empty(rules: Rules) -> set[str]:
    empty: set[str] = set()
    grown = True
    while grown:
        before = len(empty)
        empty |= {
            name
            for name, alternatives in rules.items()
            if any(
                all(kind is SymbolKind.RULE and other in empty for kind, other in symbols) for symbols in alternatives
            )
        }
        grown = len(empty) > before
    return empty


def _ends(rules: Rules, empty: set[str], ordered: Any) -> dict[str, set[str]]:
    """The terminals with which each rule can begin (or, in reversed order, end)."""
    found: dict[str, set[str]] = {name: set() for name in rules}
    above: dict[str, set[str]] = {name: set() for name in rules}  # rules that begin with this one
    for name, alternatives in rules.items():
        for symbols in alternatives:
            for kind, other in ordered(symbols):
                if kind is not SymbolKind.RULE:
                    found[name].add(other)
                    break
                above[other].add(name)
                if other not in empty:
                    break
    waiting = list(rules)
    while waiting:
        name = waiting.pop()
        for user in above[name]:
            if not found[name] <= found[user]:
                found[user] |= found[name]
                waiting.append(user)
    return found
