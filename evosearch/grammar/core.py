"""The types of a grammar: symbols, alternatives, terminals, and the derivations they generate.

Everything here is frozen. Repetitions, options and groups are gone by the time a Grammar exists: they are expanded
to plain alternatives (and, for `*` and `+`, to helper rules whose names start with `__`), as Lark itself does.
"""

from __future__ import annotations

import enum
import math
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class SymbolKind(enum.Enum):
    """What a symbol of an alternative is."""

    RULE = "rule"  # a nonterminal: expanded by one of its alternatives
    TERMINAL = "terminal"  # a named terminal whose text is drawn, and is an argument of the layer
    LITERAL = "literal"  # fixed text ("seq", "("): the same in every sentence, no argument of anything


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol on the right-hand side. `name` is a rule's or terminal's name, or a literal's text."""

    kind: SymbolKind
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """One way to expand `rule`. Compared by identity.

    layer: the name of the layer it stands for (its alias, else the rule's name), or None where it only chooses
        or repeats: an alternative without a layer has its parts spliced into the node above.
    weight: its probability among the alternatives of its rule; they sum to 1. 0 is read but never drawn.
    line: where it stands in its source file, counted from 1. file: that file's name in `Grammar.source`; empty where it
        came with Lark.
    open: whether something else could stand there with the same parts: another text of a terminal, or another
        alternative of the rule.
    """

    rule: str
    index: int
    symbols: tuple[Symbol, ...]
    layer: str | None
    weight: float
    line: int
    column: int = 1
    file: str = ""
    open: bool = False
    terminals: tuple[str, ...] = field(init=False)  # names of the TERMINAL symbols, in order
    rules: tuple[str, ...] = field(init=False)  # names of the RULE symbols, in order

    def __post_init__(self) -> None:
        object.__setattr__(self, "terminals", tuple(s.name for s in self.symbols if s.kind is SymbolKind.TERMINAL))
        object.__setattr__(self, "rules", tuple(s.name for s in self.symbols if s.kind is SymbolKind.RULE))

    def __repr__(self) -> str:
        return f"Alternative({self.rule}[{self.index}])"


@dataclass(frozen=True, slots=True)
class NumericRange:
    """`// range=1e-4..1e-1 log`, `// range=1..9 int`: what a numeric terminal is drawn from, bounds included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def draw(self, rng: np.random.Generator) -> str:
        """A number of the range as text, with at most four significant digits and never outside the bounds."""
        if self.integer and not self.log:
            return str(int(rng.integers(int(self.low), int(self.high), endpoint=True)))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = low + (high - low) * rng.random()
        return self.text(math.exp(value) if self.log else value)

    def text(self, value: float) -> str:
        value = min(max(value, self.low), self.high)
        if self.integer:
            return str(min(max(round(value), math.ceil(self.low)), math.floor(self.high)))
        rounded = f"{value:.4g}"
        return rounded if self.contains(rounded) else repr(self.low if float(rounded) < self.low else self.high)

    def contains(self, text: str) -> bool:
        try:
            value = int(text) if self.integer else float(text)
        except ValueError:
            return False
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """How texts are put together of which there are endlessly many, or too many to list.

    A count is drawn (from `low` to `high` uniformly; without `high`, `low` and one more with probability `more` each
    time), and for each of them one of the `ways`: its pieces, written one behind the other. A piece that is a range of
    code points stands for one of its characters.
    """

    ways: tuple[tuple[tuple[str | range | Composition, ...], float], ...]
    low: int = 1
    high: int | None = 1
    more: float = 0.0

    def draw(self, rng: np.random.Generator) -> str:
        if self.high is None:
            count = self.low
            while rng.random() < self.more:
                count += 1
        else:
            count = self.low if self.low == self.high else int(rng.integers(self.low, self.high, endpoint=True))
        written: list[str] = []
        for _ in range(count):
            for piece in self._way(rng):
                if isinstance(piece, str):
                    written.append(piece)
                elif isinstance(piece, range):
                    written.append(chr(int(rng.integers(piece.start, piece.stop))))
                else:
                    written.append(piece.draw(rng))
        return "".join(written)

    def _way(self, rng: np.random.Generator) -> tuple[str | range | Composition, ...]:
        point = rng.random()
        for pieces, weight in self.ways:
            point -= weight
            if point < 0:
                return pieces
        return next(pieces for pieces, weight in reversed(self.ways) if weight > 0)


@dataclass(frozen=True, slots=True, eq=False)
class Terminal:
    """A named terminal that occurs in sentences. It has one of `choices`, `range` and `composition`.

    choices: its texts with their probabilities, where they are at most a thousand; else None.
    range: where it is a number from a range; else None.
    composition: where its texts are endlessly many ("0".."9" once or more); else None.
    """

    name: str
    choices: tuple[tuple[str, float], ...] | None
    range: NumericRange | None
    line: int = 0
    composition: Composition | None = None

    def draw(self, rng: np.random.Generator) -> str:
        if self.range is not None:
            return self.range.draw(rng)
        if self.composition is not None:
            return self.composition.draw(rng)
        assert self.choices is not None
        point = rng.random()
        for text, weight in self.choices:
            point -= weight
            if point < 0:
                return text
        return next(text for text, weight in reversed(self.choices) if weight > 0)

    def representatives(self) -> tuple[tuple[str, float], ...]:
        """(text, probability) pairs that stand for all its texts: the choices themselves, or five points of the range.

        Of a composition, up to five texts drawn from it, the same at every call.
        """
        if self.composition is not None:
            rng = np.random.default_rng(0)
            drawn = dict.fromkeys(self.composition.draw(rng) for _ in range(20))
            few = list(drawn)[:5]
            return tuple((text, 1 / len(few)) for text in few)
        if self.range is None:
            assert self.choices is not None
            return self.choices
        low, high = self.range.low, self.range.high
        points = np.geomspace(low, high, 5) if self.range.log else np.linspace(low, high, 5)
        texts = dict.fromkeys(self.range.text(float(point)) for point in points)
        return tuple((text, 1 / len(texts)) for text in texts)


_interned: weakref.WeakValueDictionary[tuple[Any, ...], Derivation] = weakref.WeakValueDictionary()


class Derivation:
    """The tree of alternatives chosen, from a rule to the terminals: the genotype. Immutable.

    Interned: equal derivations are the same object, so == and hash are by identity and cost nothing however deep the
    tree is. Copies are the object itself; it crosses processes and disks as text (`render`), never as a pickle.

    tokens: the texts of the alternative's TERMINAL symbols, in order.
    parts: the derivations of its RULE symbols, in order.
    size: nodes in the tree, and choices: those that are open. depth: nodes on its longest path.
    text: of a small one its sentence, once `sentences.render` has written it; else None.
    """

    __slots__ = ("__weakref__", "alternative", "choices", "depth", "parts", "size", "text", "tokens")

    alternative: Alternative
    tokens: tuple[str, ...]
    parts: tuple[Derivation, ...]
    size: int
    depth: int
    choices: int
    text: str | None

    def __new__(
        cls, alternative: Alternative, tokens: tuple[str, ...] = (), parts: tuple[Derivation, ...] = ()
    ) -> Derivation:
        key = (alternative, tokens, parts)
        self = _interned.get(key)
        if self is None:
            self = object.__new__(cls)
            size, choices, depth = 1, int(alternative.open), 0
            for part in parts:
                size += part.size
                choices += part.choices
                if part.depth > depth:
                    depth = part.depth
            _put_alternative(self, alternative)
            _put_tokens(self, tokens)
            _put_parts(self, parts)
            _put_size(self, size)
            _put_depth(self, depth + 1)
            _put_choices(self, choices)
            _put_text(self, None)
            _interned[key] = self
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Derivation is immutable; cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Derivation is immutable; cannot delete {name!r}")

    def __copy__(self) -> Derivation:
        return self

    def __deepcopy__(self, memo: object) -> Derivation:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Derivation crosses processes as text: render it and parse it there")

    def __repr__(self) -> str:
        return f"<Derivation of {self.alternative.rule}, {self.size} nodes, depth {self.depth}>"

    @property
    def rule(self) -> str:
        return self.alternative.rule

    def walk(self) -> Iterator[Derivation]:
        """Every node of the tree in preorder, without recursion."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.parts))

    def keep(self, text: str) -> None:
        """Keep its sentence, which follows from what it is."""
        _put_text(self, text)

    def replace(self, path: tuple[int, ...], new: Derivation) -> Derivation:
        """The derivation in which the node at `path` (indices of `parts` from the root) is `new`."""
        chain = [self]
        for index in path:
            chain.append(chain[-1].parts[index])
        for node, index in zip(reversed(chain[:-1]), reversed(path), strict=True):
            parts = list(node.parts)
            parts[index] = new
            new = Derivation(node.alternative, node.tokens, tuple(parts))
        return new


# Through the slots themselves: by name takes longer, and each offspring of a large tree is a path of new nodes.
_put_alternative, _put_tokens, _put_parts, _put_size, _put_depth, _put_text, _put_choices = (
    getattr(Derivation, name).__set__ for name in ("alternative", "tokens", "parts", "size", "depth", "text", "choices")
)


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """A search space's language, ready to sample and to parse. Made by `evosearch.grammar.load`.

    input: the mode its `// input:` line names ("image", "column", "vector" or "none").
    source: the text of each file it was read from, by name, the main one first.
    digest: blake2b-128 (hex) over the language: rules, weights, layers, terminals; comments and layout do not count.
    spaced: True where sentences need one space between some tokens to keep their meaning.
    remarks: what is worth knowing about the file though nothing is wrong; `evolve check` prints it.
    """

    name: str
    start: str
    rules: Mapping[str, tuple[Alternative, ...]]
    terminals: Mapping[str, Terminal]
    source: Mapping[str, str]
    digest: str
    input: str
    spaced: bool
    parser: Any  # the strict LALR(1) parser made from the expanded rules; see evosearch.grammar.sentences
    remarks: tuple[str, ...] = ()
