"""Architecture texts: the strict LALR(1) parser made from plain alternatives, rendering, and the text key.

Every alternative is written out as a Lark alternative with an alias of its own, so that each reduction of Lark's parser
makes exactly one derivation node. Nothing here recurses: sentences may be nested thousands deep.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from evosearch.errors import ArchitectureError
from evosearch.grammar.core import Alternative, Derivation, Grammar, SymbolKind, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from lark import Lark, Token
    from lark.exceptions import UnexpectedInput

SHOWN_EXPECTED: Final = 8  # words listed in an error
SMALL: Final = 256  # nodes up to which a sub-tree keeps its text: what holds it, and what it becomes part of, is larger
WINDOW: Final = 60  # characters of a long line shown on either side of the caret


@dataclass(eq=False)
class Parser:
    """What a grammar needs to read and write its sentences.

    lark: the compiled parser; its parse returns the derivation.
    names: Lark's names of the terminals -> how they are shown ('"seq"', 'WIDTH').
    ignored: ASCII white space that the grammar ignores.
    joins: pairs of characters between which a space is kept, since the tokens around it would run together.
    inner_space: some terminal holds white space that is ignored elsewhere.
    reparsed: a text's key is that of its derivation written anew, since taking white space out could change its meaning
        (inner_space, or comments are ignored as well).
    """

    lark: Lark
    names: Mapping[str, str]
    ignored: str
    joins: frozenset[str] = frozenset()
    inner_space: bool = False
    reparsed: bool = False
    plans: dict[Alternative, tuple[str | int, ...]] = field(default_factory=dict)


def parse(grammar: Grammar, text: str) -> Derivation:
    """The derivation of a sentence; where the text is none, of the sentence that it holds as a file does (`_unframed`).

    Raises ArchitectureError with line, column, caret and what was expected, where the text is not in the language.
    """
    try:
        return _parsed(grammar, text)
    except ArchitectureError as error:
        wrong = error
    for sentence in _unframed(text):
        try:
            return _parsed(grammar, sentence)
        except ArchitectureError as error:
            if not sentence[-1:].isspace() and sentence[:1] == text.removeprefix("\ufeff")[:1]:
                wrong = error  # lines and columns are the text's, and the newline at its end is not blamed
    raise wrong


def _parsed(grammar: Grammar, text: str) -> Derivation:
    from lark.exceptions import UnexpectedInput

    parser: Parser = grammar.parser
    try:
        derivation = parser.lark.parse(text)
    except UnexpectedInput as error:
        raise _not_in_language(grammar, text, error) from None
    except _OutOfRange as error:
        raise _at(text, error.token.start_pos or 0, str(error)) from None
    assert isinstance(derivation, Derivation)
    return derivation


def _unframed(text: str) -> Iterator[str]:
    """What may be the sentence in a text as an editor, a shell or a pipe hands it on; the grammar decides.

    A byte-order mark stands before it, its lines end as Windows writes them, a newline stands behind it or was taken.
    """
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    seen = {text}
    for one in (plain, plain.removesuffix("\n"), plain.rstrip() + "\n", plain.rstrip(), plain.strip()):
        if one not in seen:
            seen.add(one)
            yield one


def render(grammar: Grammar, derivation: Derivation) -> str:
    """The sentence of a derivation, without white space (with one space where tokens would run together)."""
    parser: Parser = grammar.parser
    if derivation.size <= SMALL:
        return derivation.text or _text(derivation, parser)
    written: list[str] = []
    stack: list[str | Derivation] = [derivation]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            written.append(item)
        elif item.size <= SMALL:
            written.append(item.text or _text(item, parser))
        else:
            for step in reversed(_steps(item.alternative, parser)):
                if isinstance(step, str):
                    stack.append(step)
                elif step < 0:
                    stack.append(item.tokens[~step])
                else:
                    stack.append(item.parts[step])
    return _joined(written, parser)


def _text(derivation: Derivation, parser: Parser) -> str:
    """The text of a small derivation, from those of its parts, which are kept with them."""
    written: list[str] = []
    for step in _steps(derivation.alternative, parser):
        if isinstance(step, str):
            written.append(step)
        elif step < 0:
            written.append(derivation.tokens[~step])
        else:
            part = derivation.parts[step]
            written.append(part.text or _text(part, parser))
    found = written[0] if len(written) == 1 else _joined(written, parser)
    derivation.keep(found)
    return found


def _joined(texts: list[str], parser: Parser) -> str:
    """Texts behind one another, with a space where two would run together."""
    if not parser.joins:
        return "".join(texts)
    spaced: list[str] = []
    last = ""
    for text in texts:
        if not text:
            continue
        if last and last + text[0] in parser.joins:
            spaced.append(" ")
        spaced.append(text)
        last = text[-1]
    return "".join(spaced)


def _steps(alternative: Alternative, parser: Parser) -> tuple[str | int, ...]:
    plan = parser.plans.get(alternative)
    if plan is None:
        plan = parser.plans[alternative] = _plan(alternative, bool(parser.joins))
    return plan


def _plan(alternative: Alternative, separate: bool) -> tuple[str | int, ...]:
    """What to write for an alternative: texts, parts by index, tokens by ~index. Neighbouring texts are joined."""
    plan: list[str | int] = []
    tokens = parts = 0
    for symbol in alternative.symbols:
        if symbol.kind is SymbolKind.RULE:
            plan.append(parts)
            parts += 1
        elif symbol.kind is SymbolKind.TERMINAL:
            plan.append(~tokens)
            tokens += 1
        elif plan and isinstance(plan[-1], str) and not separate:
            plan[-1] += symbol.name
        else:
            plan.append(symbol.name)
    return tuple(plan)


def text_key(grammar: Grammar, text: str) -> str:
    """32 hex digits: blake2b-128 of the grammar's digest and the text without the ASCII white space that it ignores.

    Whitespace-Normalized Hash Validation (NNGPT/LEMUR, arXiv 2512.24120), with a stronger hash and the language in it.
    Equal keys mean equal derivations. Raises ArchitectureError only where white space has a meaning, so that the text
    must be parsed to tell.
    """
    parser: Parser = grammar.parser
    if parser.reparsed:
        text = render(grammar, parse(grammar, text))
    else:
        text = _without_white_space(text, parser)
    digest = hashlib.blake2b(grammar.digest.encode(), digest_size=16)
    digest.update(b"\0")
    digest.update(text.encode(errors="surrogatepass"))
    return digest.hexdigest()


def _without_white_space(text: str, parser: Parser) -> str:
    if not parser.ignored:
        return text
    if not parser.joins:
        return text.translate(dict.fromkeys(map(ord, parser.ignored)))
    words = re.split(f"[{re.escape(parser.ignored)}]+", text)
    written = ""
    last = ""
    for word in words:
        if not word:
            continue
        written += (" " if last + word[0] in parser.joins else "") + word
        last = word[-1]
    return written


# -- making the parser


def reductions(
    alternatives: Iterable[tuple[str, Alternative]],
    terminals: Mapping[str, Terminal],
    folded: Mapping[str, Mapping[str, str]],
) -> SimpleNamespace:
    """The object that Lark calls at each reduction, by the alternative's alias."""
    return SimpleNamespace(**{alias: _reduction(a, terminals, folded) for alias, a in alternatives})


def _reduction(
    alternative: Alternative, terminals: Mapping[str, Terminal], folded: Mapping[str, Mapping[str, str]]
) -> Callable[[list[Any]], Derivation]:
    parts = [i for i, symbol in enumerate(alternative.symbols) if symbol.kind is SymbolKind.RULE]
    tokens = [(i, symbol.name) for i, symbol in enumerate(alternative.symbols) if symbol.kind is SymbolKind.TERMINAL]
    if not tokens and not parts:
        return lambda _: Derivation(alternative)
    if not tokens:
        return lambda children: Derivation(alternative, (), tuple([children[i] for i in parts]))

    def reduce(children: list[Any]) -> Derivation:
        texts = tuple([_token_text(children[i], terminals[name], folded.get(name)) for i, name in tokens])
        return Derivation(alternative, texts, tuple([children[i] for i in parts]))

    return reduce


def _token_text(token: Token, terminal: Terminal, folded: Mapping[str, str] | None) -> str:
    """A token's text as derivations hold it: as the grammar writes it where case does not count, within its range."""
    text = str(token)
    if folded is not None:
        text = folded.get(text.lower(), text)
    if terminal.range is not None and not terminal.range.contains(text):
        low, high = terminal.range.text(terminal.range.low), terminal.range.text(terminal.range.high)
        kind = "a whole number" if terminal.range.integer else "a number"
        raise _OutOfRange(f"{terminal.name} is {kind} from {low} to {high}, not {text}", token)
    return text


class _OutOfRange(Exception):
    def __init__(self, message: str, token: Token) -> None:
        self.token = token
        super().__init__(message)


# -- errors


def _not_in_language(grammar: Grammar, text: str, error: UnexpectedInput) -> ArchitectureError:
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    parser: Parser = grammar.parser
    if isinstance(error, UnexpectedToken):
        expected = error.accepts or error.expected
        position = len(text) if error.token.type == "$END" else error.token.start_pos or 0
    else:
        assert isinstance(error, UnexpectedCharacters)
        expected, position = error.allowed, error.pos_in_stream
    found = re.match(r"\w+|.", text[position : position + WINDOW])
    words = [_shown(grammar, parser.names[name]) for name in expected if name in parser.names]
    if "$END" in expected:
        words.append("the end")
    return _at(text, position, _expected(words, found[0] if found else None))


def _expected(words: list[str], found: str | None) -> str:
    words = sorted(set(words))
    shown = "the end of the text" if found is None else repr(found)
    literals = {word[1:-1]: word for word in words if word.startswith('"')}
    near = difflib.get_close_matches(found or "", literals, n=2, cutoff=0.7)
    if near:
        return f"{shown} is not known here; did you mean {' or '.join(literals[word] for word in near)}?"
    if len(words) > SHOWN_EXPECTED:
        words = [*words[:SHOWN_EXPECTED], f"{len(words) - SHOWN_EXPECTED} more"]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}" if words else "nothing more"
    return f"expected {listed}, not {shown}"


def _shown(grammar: Grammar, name: str) -> str:
    terminal = grammar.terminals.get(name)
    if terminal is None or terminal.choices is None:
        return name
    texts = [text for text, _ in terminal.choices]
    return f"{name} ({', '.join(texts[:3])}{', …' if len(texts) > 3 else ''})"


def _at(text: str, position: int, message: str) -> ArchitectureError:
    line = text.count("\n", 0, position) + 1
    start = text.rfind("\n", 0, position) + 1
    column = position - start + 1
    source = text[start:].split("\n")[0]
    first = max(0, column - 1 - WINDOW)
    window = source[first : column - 1 + WINDOW]
    window = ("…" if first else "") + window + ("…" if first + len(window) < len(source) else "")
    error = ArchitectureError(f"line {line}, column {column}: {message}")
    error.line, error.column = line, column
    error.caret = f"{window}\n{' ' * (column - 1 - first + bool(first))}^"
    return error
