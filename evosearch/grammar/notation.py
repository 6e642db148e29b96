"""Reading one grammar file: Lark's notation with its places, and the settings in its comments.

The meta-grammar is modelled on `lark.lark` and on the one inside Lark's loader, which it follows where the two differ
(`?!rule`, `\\` at the end of a line, `%extend`). Lark's own compiled rules have no lines and no comments, hence this
second reading; whether a file is a Lark grammar at all stays stock Lark's verdict (see `evosearch.grammar.reading`).
"""

from __future__ import annotations

import ast
import difflib
import functools
import math
import re
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from evosearch.grammar.core import NumericRange
from evosearch.grammar.mistakes import Place, Source, mistake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lark import Token, Tree
    from lark.exceptions import UnexpectedInput

    from evosearch.errors import GrammarError

MAX_NESTING: Final = 50  # groups within groups; whatever walks an expression may recurse this deep
MAX_TEXT: Final = 1000  # characters of one string
MAX_BLANK: Final = 2000  # characters of white space in a row
MAX_COUNT: Final = 1000  # of a repetition ~n..m
INPUTS: Final = ("image", "column", "vector", "none")


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, as in "seq" or "relu"i. raw: as it stands in the file."""

    text: str
    ignore_case: bool
    raw: str
    place: Place


@dataclass(frozen=True, slots=True)
class Regexp:
    """A regular expression, raw as it stands in the file."""

    raw: str
    place: Place


@dataclass(frozen=True, slots=True)
class CharRange:
    """A range of characters, as in "a".."f"."""

    low: str
    high: str
    raw: str
    place: Place


@dataclass(frozen=True, slots=True)
class Name:
    """A rule, terminal or template parameter by its name."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Usage:
    """A template with its arguments, as in list{block, ","}."""

    name: str
    arguments: tuple[Value, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Group:
    """(a | b), or with `optional` [a | b]."""

    branches: tuple[Branch, ...]
    optional: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Repeat:
    """An item with `?`, `*`, `+`, or with `~` and its counts."""

    item: Node
    operator: str
    low: int
    high: int
    place: Place


@dataclass(frozen=True, slots=True)
class Settings:
    """What a comment says of an alternative; None where it says nothing of it."""

    weight: float | None = None
    more: float | None = None
    range: NumericRange | None = None
    place: Place | None = None
    range_place: Place | None = None


NO_SETTINGS: Final = Settings()


@dataclass(frozen=True, slots=True)
class Branch:
    """One alternative as it is written, before groups and repetitions are expanded."""

    items: tuple[Node, ...]
    alias: str | None
    place: Place
    settings: Settings = NO_SETTINGS
    alias_place: Place | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A rule, template or terminal.

    name: as it is called here (imports change names). own_name: as its own file calls it.
    """

    name: str
    own_name: str
    parameters: tuple[str, ...]
    modifiers: str
    priority: int | None
    branches: tuple[Branch, ...]
    place: Place

    @property
    def is_terminal(self) -> bool:
        return is_terminal(self.name)


@dataclass(frozen=True, slots=True)
class Import:
    """%import: `names` maps the names in the other file to those here."""

    path: tuple[str, ...]
    relative: bool
    names: tuple[tuple[str, str], ...]
    place: Place

    @property
    def written(self) -> str:
        return ("." if self.relative else "") + ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Ignore:
    branches: tuple[Branch, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Declare:
    places: tuple[tuple[str, Place], ...]


@dataclass(frozen=True, slots=True)
class Override:
    """%override or %extend."""

    statement: str
    definition: Definition


@dataclass(frozen=True, slots=True)
class GrammarFile:
    """All that one file says. declared: terminals that %declare leaves to a lexer of the user's own."""

    source: Source
    imports: tuple[Import, ...]
    definitions: tuple[Definition | Override, ...]
    ignores: tuple[Ignore, ...]
    input: str | None
    declared: Mapping[str, Place]


Value: TypeAlias = Literal | Regexp | CharRange | Name | Usage
Node: TypeAlias = Value | Group | Repeat


def is_terminal(name: str) -> bool:
    """Whether a name is a terminal's: its own last letter is upper case (imports put folders' names before it)."""
    return next((character for character in reversed(name) if character.isalpha()), "a").isupper()


def read(source: Source) -> GrammarFile:
    """What a grammar file says, with places. Raises GrammarError on anything that is not Lark's notation."""
    statements, ends, comments = _reader().read(source)
    input_mode, settings = _settings(source, comments, ends)

    def with_settings(definition: Definition) -> Definition:
        branches = tuple(
            replace(branch, settings=settings[branch.place]) if branch.place in settings else branch
            for branch in definition.branches
        )
        return replace(definition, branches=branches)

    definitions: list[Definition | Override] = []
    for statement in statements:
        if isinstance(statement, Definition):
            definitions.append(with_settings(statement))
        elif isinstance(statement, Override):
            definitions.append(replace(statement, definition=with_settings(statement.definition)))
    return GrammarFile(
        source,
        tuple(s for s in statements if isinstance(s, Import)),
        tuple(definitions),
        tuple(s for s in statements if isinstance(s, Ignore)),
        input_mode,
        dict(pair for s in statements if isinstance(s, Declare) for pair in s.places),
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Where one outermost alternative stands in a file's text: offsets of the `:` or `|` before it, and of its end."""

    start: int
    end: int


def spans(source: Source) -> dict[str, tuple[Span, ...]]:
    """The outermost alternatives of each rule and terminal that a file defines, in order. Raises GrammarError."""
    read(source)
    found: dict[str, tuple[Span, ...]] = {}
    for name, stretch in _definitions(_reader().tokens(source)):
        alternatives: list[Span] = []
        start, end, depth = stretch[0].start_pos or 0, stretch[0].end_pos or 0, 0
        for token in stretch[1:]:
            if depth == 0 and token.type in ("_OR", "_NL_OR"):
                alternatives.append(Span(start, end))
                start = (token.end_pos or 1) - 1
            depth += (token.type in ("_LPAR", "_LBRA", "_LBRACE")) - (token.type in ("_RPAR", "_RBRA", "_RBRACE"))
            end = token.end_pos or 0
        found[name] = (*alternatives, Span(start, end))
    return found


def _definitions(tokens: Sequence[Token]) -> Iterator[tuple[str, list[Token]]]:
    """Each definition's name, and its tokens from the colon on."""
    statement: list[Token] = []
    for token in tokens:
        if token.type != "_NL":
            statement.append(token)
            continue
        at = next((at for at, one in enumerate(statement) if one.type == "COLON"), None)
        if at is not None:
            yield str(next(one for one in statement if one.type in ("RULE", "TERMINAL"))), statement[at:]
        statement = []


# The terminals are those of lark.load_grammar, in the order in which its lexer tries them, so that both readings split
# a file into the same tokens. The order is written as priorities, and fixed terminals as strings, since Lark compares
# all regular expressions of one priority with each other, which took most of the time of loading a grammar.
META_GRAMMAR: Final = r"""
start: (_item | _NL)*
_item: rule | terminal | ignore | import_ | declare | override

rule: [RULE_MODIFIERS] RULE [parameters] [priority] COLON _alternatives _NL
terminal: TERMINAL [priority] COLON _alternatives _NL
parameters: _LBRACE RULE (_COMMA RULE)* _RBRACE
priority: _DOT NUMBER

ignore: IGNORE _alternatives _NL
import_: IMPORT path [names | renamed] _NL
path: [_DOT] _name (_DOT _name)*
names: _LPAR _name (_COMMA _name)* _RPAR
renamed: _TO _name
declare: _DECLARE _name+ _NL
override: (OVERRIDE | EXTEND) (rule | terminal)

_alternatives: alternative (_bar alternative)*
_bar: _OR | _NL_OR
alternative: _element* [_TO RULE]

_element: _atom | repeat
repeat: _atom OP
      | _atom TILDE NUMBER
      | _atom TILDE NUMBER _DOTDOT NUMBER
_atom: group | maybe | _value
group: _LPAR _alternatives _RPAR
maybe: _LBRA _alternatives _RBRA
_value: name | literal | regexp | char_range | usage
name: RULE | TERMINAL
literal: STRING
regexp: REGEXP
char_range: STRING _DOTDOT STRING
usage: RULE _LBRACE _value (_COMMA _value)* _RBRACE
_name: RULE | TERMINAL

_LPAR: "("
_RPAR: ")"
_LBRA: "["
_RBRA: "]"
_LBRACE: "{"
_RBRACE: "}"
OP.2: /[+*]|[?](?![a-z_])/
COLON: ":"
_COMMA: ","
_OR: "|"
_DOT.1: /\.(?!\.)/
_DOTDOT: ".."
TILDE: "~"
RULE_MODIFIERS.3: /(!|![?]?|[?]!?)(?=[_a-z])/
RULE.10: /_?[a-z][_a-z0-9]*/
TERMINAL.9: /_?[A-Z][_A-Z0-9]*/
STRING.12: /"([\\]["]|\\\\|[^"\n])*?"i?/
REGEXP.13: /\/(?!\/)(\\\/|\\\\|[^\/])*?\/[imslux]*/
_NL.7: /(\r?\n)+\s*/
_NL_OR.8: /(\r?\n)+\s*\|/
WS.4: /[ \t]+/
COMMENT.11: /\s*\/\/[^\n]*|\s*#[^\n]*/
BACKSLASH.5: /\\[ ]*\n/
_TO: "->"
IGNORE: "%ignore"
OVERRIDE: "%override"
_DECLARE: "%declare"
EXTEND: "%extend"
IMPORT: "%import"
NUMBER.6: /[+-]?\d+/
%ignore WS
%ignore COMMENT
%ignore BACKSLASH
"""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Something built from a stretch of the file, the line on which the stretch ends, and the groups within groups."""

    what: Any
    end: int
    depth: int = 0


@dataclass(frozen=True, slots=True)
class _End:
    """An outermost alternative, its definition, and the line on which it ends."""

    branch: Branch
    name: str
    line: int


class _Builder:
    """Called by Lark at each reduction of the meta-grammar; all tokens are among the children."""

    def __init__(self) -> None:
        self.source = Source("", "")
        self.ends: list[_End] = []

    def _place(self, token: Token) -> Place:
        # a bar's or newline's token may start on the line before
        line, column = token.line or 1, token.column or 1
        if token.type == "_NL_OR":
            line, column = token.end_line or 1, (token.end_column or 2) - 1
        return Place(self.source, line, column)

    def start(self, children: list[Any]) -> list[Any]:
        return [piece.what for piece in children if isinstance(piece, _Piece)]

    def _branches(self, children: Sequence[Any]) -> list[_Piece]:
        """The alternatives among the children; one that is empty stands where its bar or colon does."""
        branches, before = [], None
        for child in children:
            if isinstance(child, _Piece) and isinstance(child.what, Branch):
                if not child.end and before is not None:
                    child = _Piece(replace(child.what, place=self._place(before)), before.end_line or 1)
                branches.append(child)
            elif not isinstance(child, _Piece):
                before = child
        return branches

    def _definition(self, children: list[Any], modifiers: str = "") -> _Piece:
        name = next(child for child in children if getattr(child, "type", "") in ("RULE", "TERMINAL"))
        parameters: tuple[str, ...] = ()
        priority = None
        for child in children:
            if isinstance(child, _Piece) and isinstance(child.what, tuple):
                parameters = child.what
            elif isinstance(child, _Piece) and isinstance(child.what, int):
                priority = child.what
        pieces = self._branches(children)
        self.ends += [_End(piece.what, str(name), piece.end) for piece in pieces]
        branches = tuple(piece.what for piece in pieces)
        place = self._place(name)
        what = Definition(str(name), str(name), parameters, modifiers, priority, branches, place)
        return _Piece(what, pieces[-1].end)

    def rule(self, children: list[Any]) -> _Piece:
        modifiers = str(children[0]) if children[0].type == "RULE_MODIFIERS" else ""
        return self._definition(children, modifiers)

    def terminal(self, children: list[Any]) -> _Piece:
        return self._definition(children)

    def parameters(self, children: list[Any]) -> _Piece:
        return _Piece(tuple(str(token) for token in children if token.type == "RULE"), 0)

    def priority(self, children: list[Any]) -> _Piece:
        return _Piece(_integer(children[-1], self._place(children[-1])), 0)

    def ignore(self, children: list[Any]) -> _Piece:
        pieces = self._branches(children)
        return _Piece(Ignore(tuple(piece.what for piece in pieces), self._place(children[0])), pieces[-1].end)

    def path(self, children: list[Any]) -> _Piece:
        words = tuple(str(token) for token in children if token.type != "_DOT")
        return _Piece((children[0].type == "_DOT", words), 0)

    def names(self, children: list[Any]) -> _Piece:
        return _Piece([str(token) for token in children if token.type in ("RULE", "TERMINAL")], 0)

    def renamed(self, children: list[Any]) -> _Piece:
        return _Piece(str(children[-1]), 0)

    def import_(self, children: list[Any]) -> _Piece:
        place = self._place(children[0])
        relative, words = children[1].what
        names = children[2].what if isinstance(children[2], _Piece) else None
        if isinstance(names, list):
            what = Import(words, relative, tuple((name, name) for name in names), place)
        elif len(words) == 1:
            raise mistake("import-nothing", place, path=("." if relative else "") + words[0])
        else:
            what = Import(words[:-1], relative, ((words[-1], names or words[-1]),), place)
        return _Piece(what, place.line)

    def declare(self, children: list[Any]) -> _Piece:
        names = [token for token in children[1:] if token.type in ("RULE", "TERMINAL")]
        return _Piece(Declare(tuple((str(token), self._place(token)) for token in names)), names[-1].line or 1)

    def override(self, children: list[Any]) -> _Piece:
        return _Piece(Override(str(children[0]), children[1].what), children[1].end)

    def alternative(self, children: list[Any]) -> _Piece:
        if not children:
            return _Piece(Branch((), None, Place(self.source)), 0)
        alias, alias_place = None, None
        items = [child for child in children if isinstance(child, _Piece)]
        last = children[-1]
        if not isinstance(last, _Piece):
            alias, alias_place = str(last), self._place(last)
        end = last.end if isinstance(last, _Piece) else last.end_line
        place = items[0].what.place if items else self._place(children[0])
        what = Branch(tuple(item.what for item in items), alias, place, NO_SETTINGS, alias_place)
        return _Piece(what, end, max((item.depth for item in items), default=0))

    def repeat(self, children: list[Any]) -> _Piece:
        item, operator = children[0].what, children[1]
        place = self._place(operator)
        if operator.type == "OP":
            low, high = {"?": (0, 1), "*": (0, -1), "+": (1, -1)}[str(operator)]
        else:
            low = _integer(children[2], self._place(children[2]))
            high = _integer(children[-1], self._place(children[-1]))
            if not 0 <= low <= high <= MAX_COUNT:
                raise mistake("bad-count", place, low=low, high=high, limit=f"{MAX_COUNT:,}")
        return _Piece(Repeat(item, str(operator), low, high, place), children[-1].end_line, children[0].depth)

    def group(self, children: list[Any]) -> _Piece:
        pieces = self._branches(children)
        branches = tuple(piece.what for piece in pieces)
        place = self._place(children[0])
        for branch in branches:
            if branch.alias is not None:
                raise mistake("group-alias", branch.alias_place or place, alias=branch.alias)
        what = Group(branches, children[0].type == "_LBRA", place)
        return self._nested(what, pieces, children[-1])

    maybe = group

    def name(self, children: list[Any]) -> _Piece:
        return _Piece(Name(str(children[0]), self._place(children[0])), children[0].end_line)

    def literal(self, children: list[Any]) -> _Piece:
        token = children[0]
        place = self._place(token)
        body, _, flag = str(token).rpartition('"')
        return _Piece(Literal(string(body[1:], place), flag == "i", str(token), place), token.end_line)

    def regexp(self, children: list[Any]) -> _Piece:
        return _Piece(Regexp(str(children[0]), self._place(children[0])), children[0].end_line)

    def char_range(self, children: list[Any]) -> _Piece:
        low, _, high = children
        place = self._place(low)
        raw = f"{low}..{high}"
        ends = [string(str(token)[1:-1], place) if str(token).endswith('"') else "" for token in (low, high)]
        # Lark pastes both ends into [low-high]; these four mean something else there
        if any(len(end) != 1 or end in "^]\\-" for end in ends) or ends[0] > ends[1]:
            raise mistake("bad-char-range", place, text=raw)
        return _Piece(CharRange(ends[0], ends[1], raw, place), high.end_line)

    def usage(self, children: list[Any]) -> _Piece:
        pieces = [child for child in children if isinstance(child, _Piece)]
        what = Usage(str(children[0]), tuple(piece.what for piece in pieces), self._place(children[0]))
        return self._nested(what, pieces, children[-1])

    def _nested(self, what: Group | Usage, pieces: list[_Piece], last: Token) -> _Piece:
        depth = 1 + max(piece.depth for piece in pieces)
        if depth > MAX_NESTING:  # nothing has recursed so far: the parser reduces from the inside out
            raise mistake("too-deep", what.place, limit=MAX_NESTING)
        return _Piece(what, last.end_line or 1, depth)


def _integer(token: Token, place: Place) -> int:
    if len(token) > 9:  # Python refuses to read numbers of thousands of digits
        raise mistake("bad-count", place, low=token[:9] + "…", high="", limit=f"{MAX_COUNT:,}")
    return int(token)


def string(body: str, place: Place) -> str:
    """The text that the inside of a string stands for, escapes resolved as Lark does it."""
    if len(body) > MAX_TEXT:
        raise mistake("bad-text", place, text=f'"{body[:20]}…"', reason=f"it is over {MAX_TEXT:,} characters long")
    try:
        text = evaluate(body)
        text.encode()
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise mistake("bad-text", place, text=f'"{body}"', reason=reason) from None
    if not text:
        raise mistake("bad-text", place, text='""', reason="it is empty")
    return text.replace("\\\\", "\\")


def evaluate(body: str) -> str:
    """`lark.load_grammar.eval_escaping`: \\n, \\t, \\x41, \\u00e9 and the like mean characters, all else stays."""
    written = ""
    characters = iter(body)
    for character in characters:
        written += character
        if character == "\\":
            following = next(characters, None)
            if following is None:
                raise ValueError("it ends in a backslash")
            if following == "\\":
                written += "\\\\"
            elif following not in "Uuxnftr":
                written += "\\"
            written += following
    written = written.replace('\\"', '"').replace("'", "\\'")
    value = ast.literal_eval(f"u'''{written}'''")
    assert isinstance(value, str)
    return value


# What stands wrong -> what to write instead; matched by the parser's state, as Lark's own loader does.
_SYNTAX_ADVICE: Final = {
    "close the parenthesis": ["a: (\n", "a: (b\n", "a: [\n", "a: [b\n", "a: (b|\n", "a: b{c\n"],
    "no parenthesis is open here": ["a: )\n", "a: b )\n", "a: [)\n", "a: (]\n", "a: [b)\n", "a: ]\n", "a: b ]\n"],
    "a definition is written name: alternatives": ["a\n", "A\n", "a->\n", "A->\n", "a A\n", "a = b\n", "a b\n"],
    "an alias is a name in lower case, as in -> conv": ['a: -> "a"\n', "a: b -> A\n", "a: b ->\n", 'a: b -> "b"\n'],
    "one colon is enough; a new definition starts on a line of its own": ["a::\n", "a: b:\n", "a: B:\n", 'a: "a":\n'],
    "a ?, *, + or ~ follows the one thing that it repeats; put what is repeated twice in parentheses": [
        "a: b??\n", "a: b+*\n", "a: (?)\n", "a:+\n", "a:?\n", "a:*\n", "a:|*\n", "a: ~1\n", "a: b~\n", "a: b~1..\n",
    ],
    "after an alias comes | or a new line": ["a: b -> c d\n", 'a: b -> c "d"\n', "a: b -> c (\n"],
    "start the line with a rule, a terminal, |, or a % statement": ["a:a\n()\n", '"a"\n', "a: b\n]\n", "a: b\n*\n"],
    "a terminal's name has no dots": ["A.B\n", "A.B: c\n"],
    "write %import path.NAME or %import .file (name, NAME)": ['%import "a"\n', "%import\n", "%import a.(\n"],
    "%ignore takes a terminal": ["%ignore %import\n", "%ignore :\n"],
}  # fmt: skip


# by the token, or the character, that stands wrong, where no example matches
_TOKEN_ADVICE: Final = {
    "%": "the statements are %import, %ignore, %override and %extend",
    '"': 'close it with another " on the same line',
    "/": "close it with another / on the same line, or write // before a comment",
    "COLON": "one colon is enough; a new definition starts on a line of its own",
    "OP": "it follows the one thing that it repeats",
    "TILDE": "it follows the one thing that it repeats",
    "_RPAR": "no parenthesis is open here",
    "_RBRA": "no bracket is open here",
    "_TO": "an alias stands at the end of an alternative",
    "_NL": "finish the alternative first",
}


class _Reader:
    """The meta-grammar's parser with what one reading collects. One for the process; a lock keeps readings apart."""

    def __init__(self) -> None:
        from lark import Lark

        self.lock = threading.RLock()
        self.builder = _Builder()
        self.comments: list[Token] = []
        self.lark = Lark(
            META_GRAMMAR,
            parser="lalr",
            lexer="basic",
            transformer=self.builder,
            keep_all_tokens=True,
            maybe_placeholders=False,
            lexer_callbacks={"COMMENT": self._comment},
        )

    def _comment(self, token: Token) -> Token:
        self.comments.append(token)
        return token

    def read(self, source: Source) -> tuple[list[Any], list[_End], list[Token]]:
        from lark.exceptions import UnexpectedInput

        for blank in re.finditer(r"\s+", source.text):
            # Lark's terminals for newlines take time in proportion to the square of their number
            if blank.end() - blank.start() > MAX_BLANK:
                line = source.text.count("\n", 0, blank.start()) + 1
                column = blank.start() - source.text.rfind("\n", 0, blank.start())
                raise mistake("blank", Place(source, line, column), limit=MAX_BLANK)
        with self.lock:
            self._reset(source)
            try:
                statements: Any = self.lark.parse(source.text + "\n")
            except UnexpectedInput as error:
                raise self._syntax(source, error) from None
            found = statements, self.builder.ends, self.comments
            self._reset(Source("", ""))
            return found

    def tokens(self, source: Source) -> list[Token]:
        """The file's tokens without comments and blanks, newlines among them."""
        with self.lock:
            found = list(self.lark.lex(source.text + "\n"))
            self._reset(Source("", ""))
            return found

    def _reset(self, source: Source) -> None:
        self.builder.source, self.builder.ends, self.comments = source, [], []

    def _syntax(self, source: Source, error: UnexpectedInput) -> GrammarError:
        from lark.exceptions import UnexpectedToken

        line, column = error.line, error.column
        text = source.lines[line - 1] if line <= len(source.lines) else ""
        before, after = text[: column - 1], text[column - 1 :]
        word = re.match(r"\w*", after)
        found = repr(after[:1])
        advice = None
        if isinstance(error, UnexpectedToken):
            token = error.token
            inside = re.search(r"\w+$", before)
            if token.type in ("RULE", "TERMINAL") and inside:
                name = inside[0] + (word[0] if word else "")
                return mistake("bad-name", Place(source, line, column - len(inside[0])), found=name)
            if token.type in ("_NL", "$END"):
                found = "the end of the line"
            elif token.type == "_NL_OR":
                line, column, found = token.end_line or line, (token.end_column or 2) - 1, "'|'"
            else:
                found = repr(str(token).strip())
            self._reset(Source("", ""))
            # the parser's stack is one deeper from the second definition on
            examples = {
                advice: [*texts, *("z: z\n" + text for text in texts)] for advice, texts in _SYNTAX_ADVICE.items()
            }
            advice = error.match_examples(self._parse_example, examples, use_accepts=True)
            advice = advice or _TOKEN_ADVICE.get(token.type)
        elif after.startswith("__") and word:
            return mistake("reserved-name", Place(source, line, column), name=word[0])
        advice = advice or _TOKEN_ADVICE.get(after[:1]) or "remove it, or quote it"
        return mistake("syntax", Place(source, line, column), found=found, advice=advice)

    def _parse_example(self, text: str) -> Tree[Any]:
        return self.lark.parse(text)


@functools.cache
def _reader() -> _Reader:
    return _Reader()


def _settings(
    source: Source, comments: Sequence[Token], ends: Sequence[_End]
) -> tuple[str | None, dict[Place, Settings]]:
    """The input that the comments name, and the settings of each outermost alternative by its place."""
    ending: dict[int, list[_End]] = {}
    for end in ends:
        ending.setdefault(end.line, []).append(end)
    input_mode: tuple[str, int] | None = None
    settings: dict[Place, Settings] = {}
    for comment in comments:
        text = str(comment).lstrip()
        skipped = str(comment)[: len(str(comment)) - len(text)]
        line = (comment.line or 1) + skipped.count("\n")
        marker = len(skipped) - (skipped.rfind("\n") + 1)  # characters on the comment's own line before the // or #
        column = marker + 1 if "\n" in skipped else (comment.column or 1) + marker
        body = text[2:] if text.startswith("//") else text[1:]
        column += len(text) - len(body) + len(body) - len(body.lstrip())
        body, place = body.strip(), Place(source, line, column)
        mode = _input(body, place)
        if mode is not None:
            if input_mode is not None:
                raise mistake("input-twice", place, line=input_mode[1])
            input_mode = (mode, line)
            continue
        if not _STARTS_SETTING.match(body):
            advice = _mistyped(body) if line in ending else None
            if advice:
                raise mistake("mistyped-setting", place, advice=advice)
            continue
        found = ending.get(line, [])
        if not found:
            raise mistake("setting-homeless", place)
        if len(found) > 1:
            raise mistake("setting-shared", place, count=len(found))
        settings[found[0].branch.place] = _parse_settings(body, place)
    return input_mode and input_mode[0], settings


_STARTS_SETTING: Final = re.compile(r"(p|more|range)=")
_INPUT_LIKE: Final = re.compile(r"(\w+)\s*[:=]?\s*(image|column|vector|none)\b", re.IGNORECASE)


def _input(body: str, place: Place) -> str | None:
    """The mode of an `// input: image` comment; None where the comment is about something else."""
    if body.startswith("input:"):
        words = body.removeprefix("input:").split()
        if words and words[0] in INPUTS and (len(words) == 1 or words[1].startswith(("//", "#", "("))):
            return words[0]
        raise mistake("bad-input", place, text=body)
    like = _INPUT_LIKE.match(body)
    if like and difflib.SequenceMatcher(None, like[1].lower(), "input").ratio() >= 0.75:
        raise mistake("bad-input", place, text=body)
    return None


_LIKE_NUMBER: Final = re.compile(r"[=:]?\s*([-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)\s*%?)\s*$")
_LIKE_SETTING: Final = re.compile(r"([A-Za-z]+)\s*(?:[:=＝]+|(?=[-+.\d]))\s*([-+.,\d]\S*)(.*)$")
_WEIGHT_WORDS: Final = ("p", "pp", "pr", "o", "q", "w", "wt", "prob", "probability", "weight", "weights", "chance")


def _mistyped(body: str) -> str | None:
    """What to write where a comment looks like a setting that lost its form; None where it is plain prose."""
    number = _LIKE_NUMBER.match(body)
    if number:
        return f"p={_tidy(number[1])}"
    like = _LIKE_SETTING.match(body)
    if not like:
        return None
    word, value = like[1].lower(), like[2]
    if word in _WEIGHT_WORDS:
        return f"p={_tidy(value)}" if word != "p" or value else None
    for name in ("more", "range"):
        if difflib.SequenceMatcher(None, word, name).ratio() >= 0.75:
            return f"{name}={value}{like[3]}".rstrip()
    return None


def _tidy(number: str) -> str:
    """0,25 and 25 % as 0.25."""
    number = number.replace(",", ".").replace(" ", "")
    if number.endswith("%"):
        return f"{float(number[:-1]) / 100:g}"
    return number


def _parse_settings(body: str, place: Place) -> Settings:
    """The settings of a comment that starts with one; a further // or # ends them."""
    settings = Settings(place=place)
    words = re.split(r"//|#", body)[0].split()
    while words:
        word = words.pop(0)
        name, equals, text = word.partition("=")
        if not equals or name not in ("p", "more", "range"):
            raise mistake(
                "mistyped-setting", place, advice=f"{body[: body.index(word)].strip()} // {body[body.index(word) :]}"
            )
        field = {"p": "weight"}.get(name, name)
        if getattr(settings, field) is not None:
            raise mistake("setting-twice", place, name=name)
        if name == "range":
            options = []
            while words and words[0] in ("int", "log"):
                options.append(words.pop(0))
            settings = replace(settings, range=_range(text, options, place), range_place=place)
        elif name == "more":
            value = _number(text)
            if value is None or not 0 <= value < 1:
                raise mistake("bad-more", place, text=text)
            settings = replace(settings, more=value)
        else:
            value = _number(text)
            if value is None or not 0 <= value <= 1:
                raise mistake("bad-weight", place, text=text)
            settings = replace(settings, weight=value)
    return settings


_NUMBER: Final = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$", re.ASCII)


def _number(text: str) -> float | None:
    """A finite number written plainly; float() alone would take nan, inf and 1_000."""
    if not _NUMBER.match(text) or len(text) > 40:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _range(text: str, options: list[str], place: Place) -> NumericRange:
    low_text, dots, high_text = text.partition("..")
    low, high = _number(low_text), _number(high_text)
    whole, log = "int" in options, "log" in options
    written = " ".join(["range=" + text, *options])
    reason = None
    if not dots or low is None or high is None:
        reason = "it needs two numbers with two dots between them"
    elif low > high:
        reason = "the first number is the larger one"
    elif log and low <= 0:
        reason = "a logarithmic range starts above 0"
    elif whole and not (low.is_integer() and high.is_integer() and abs(low) < 2**53 and abs(high) < 2**53):
        reason = "with int both ends are whole numbers"
    if reason is not None:
        raise mistake("bad-range", place, text=written, reason=reason)
    assert low is not None
    assert high is not None
    return NumericRange(low, high, log, whole)
