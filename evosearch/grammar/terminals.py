"""What a terminal's texts are, and how likely each is.

A terminal with at most a thousand texts is listed (`choices`); one with a stated range is a number from it; one with
endlessly many texts, or more than a thousand, is put together when drawn (`Composition`). A regular expression without
a range cannot be drawn from.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from evosearch.grammar.core import Composition, NumericRange, Terminal
from evosearch.grammar.files import named
from evosearch.grammar.mistakes import Place, mistake
from evosearch.grammar.notation import (
    Branch,
    CharRange,
    Definition,
    Group,
    Literal,
    Name,
    Node,
    Regexp,
    Repeat,
    Usage,
    evaluate,
    is_terminal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_CHOICES: Final = 1000
MAX_LENGTH: Final = 2000  # characters, roughly, of the regular expression that a terminal becomes
MAX_DEPTH: Final = 50  # terminals within terminals
GO_ON: Final = 0.5  # chance of one more round of * and +, and of what is marked ? or stands in []

Texts = dict[str, float]


def shares(name: str, branches: Sequence[Branch], place: Place) -> list[float]:
    """The probability of each alternative: as written, and equal shares of the rest for those without a weight.

    Raises GrammarError where the weights leave nothing to an alternative without one, or do not sum to 1.
    """
    written = [branch.settings.weight for branch in branches]
    total = math.fsum(weight for weight in written if weight is not None)
    open_places = [branch.place for branch, weight in zip(branches, written, strict=True) if weight is None]
    weights = ", ".join(f"{weight:g}" for weight in written if weight is not None)
    at = next((b.settings.place for b in reversed(branches) if b.settings.weight is not None), None) or place
    if total > 1 + 1e-6:
        advice = f"lower one of {weights}" + (", or leave one out" if len(branches) > 1 and not open_places else "")
        raise mistake("weight-sum", at, name=name, total=f"{total:.6g}", advice=advice)
    if open_places:
        left = 1 - total
        if left < 1e-9:
            raise mistake("weight-left", open_places[0], name=name, total=f"{total:.6g}")
        return [left / len(open_places) if weight is None else weight for weight in written]
    if abs(total - 1) > 1e-6:
        if len(branches) == 1:
            advice = "the only alternative needs none"
        else:
            advice = f"raise one of {weights}, or leave one out: it gets the rest"
        raise mistake("weight-sum", at, name=name, total=f"{total:.6g}", advice=advice)
    return [(weight or 0.0) / total for weight in written]


def repetitions(node: Branch | Node) -> list[Repeat]:
    """Every `*` and `+` in an expression."""
    if isinstance(node, Branch):
        return [found for item in node.items for found in repetitions(item)]
    if isinstance(node, Group):
        return [found for branch in node.branches for found in repetitions(branch)]
    if isinstance(node, Repeat):
        return ([node] if node.operator in "*+" else []) + repetitions(node.item)
    return []


def going_on(branch: Branch) -> float:
    """The chance that the repetition of an alternative goes on for one more round."""
    if branch.settings.more is None:
        return GO_ON
    count = len(repetitions(branch))
    if count != 1:
        raise mistake("more-misplaced", branch.settings.place or branch.place, count=count or "none")
    return branch.settings.more


class Terminals:
    """Works out terminals by name. `definitions` holds all that the grammar defines."""

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self.definitions = definitions
        self._texts: dict[str, Texts | None] = {}
        self._compositions: dict[str, Composition] = {}

    def check(self, name: str) -> None:
        """Refuse a terminal that Lark could not compile, or only with pain: unknown parts, recursion, size.

        Raises GrammarError; must come before anything else is asked about the terminal.
        """
        sizes: dict[str, int] = {}
        stack: list[tuple[str, bool]] = [(name, False)]
        path: list[str] = []
        while stack:
            current, leaving = stack.pop()
            definition = self.definitions[current]
            if leaving:
                path.pop()
                sizes[current] = sum(self._size(branch, sizes) for branch in definition.branches)
                if sizes[current] > MAX_LENGTH * 5:
                    raise mistake(
                        "terminal-too-large",
                        definition.place,
                        name=current,
                        reason=f"{sizes[current]:,} characters or more",
                    )
                continue
            if current in sizes:
                continue
            path.append(current)
            if len(path) > MAX_DEPTH:
                reason = f"terminals are nested over {MAX_DEPTH} deep"
                raise mistake("terminal-too-large", definition.place, name=name, reason=reason)
            stack.append((current, True))
            for branch in definition.branches:
                if branch.alias is not None:
                    raise mistake("terminal-alias", branch.alias_place or branch.place, alias=branch.alias)
                for reference in named(branch):
                    if isinstance(reference, Usage) or not is_terminal(reference.name):
                        raise mistake("rule-in-terminal", reference.place, terminal=current, name=reference.name)
                    if reference.name in path:
                        raise mistake("terminal-recursion", reference.place, name=reference.name)
                    stack.append((reference.name, False))

    def _size(self, node: Branch | Node, sizes: Mapping[str, int]) -> int:
        if isinstance(node, Branch):
            if not node.items:
                raise mistake("empty-alternative", node.place, name="the terminal")
            return sum(self._size(item, sizes) for item in node.items)
        if isinstance(node, Group):
            return sum(self._size(branch, sizes) for branch in node.branches)
        if isinstance(node, Repeat):
            return self._size(node.item, sizes) * max(node.high, 1)
        if isinstance(node, Literal):
            return len(node.text)
        if isinstance(node, Regexp):
            return check_regexp(node)
        if isinstance(node, Name):
            return sizes[node.name]
        return 1

    def terminal(self, name: str) -> Terminal:
        """A terminal that occurs in sentences. Raises GrammarError where its texts cannot be drawn."""
        definition = self.definitions[name]
        place = definition.place
        stated = [branch for branch in definition.branches if branch.settings.range is not None]
        if stated:
            numbers, at = stated[0].settings.range, stated[0].settings.range_place or place
            if len(definition.branches) > 1:
                why = f"has {len(definition.branches)} alternatives"
                raise mistake("range-misplaced", at, name=name, why=why)
            if stated[0].settings.weight is not None or stated[0].settings.more is not None:
                raise mistake("range-misplaced", at, name=name, why="has another setting beside it")
            assert numbers is not None
            if self._can_be_empty(name):
                raise mistake("empty-terminal", place, name=name)
            return Terminal(name, None, numbers, place.line)
        texts = self.texts(name)
        if texts is not None:
            if "" in texts:
                raise mistake("empty-terminal", place, name=name)
            return Terminal(name, tuple(texts.items()), None, place.line)
        if self._can_be_empty(name):
            raise mistake("empty-terminal", place, name=name)
        return Terminal(name, None, None, place.line, self.composition(name))

    def texts(self, name: str) -> Texts | None:
        """The texts of a terminal with their probabilities, or None where there are more than a thousand."""
        if name not in self._texts:
            definition = self.definitions[name]
            weights = shares(name, definition.branches, definition.place)
            joined: Texts | None = {}
            for branch, weight in zip(definition.branches, weights, strict=True):
                going_on(branch)
                joined = _join(joined, self._sequence(branch.items), weight)
            self._texts[name] = joined
        return self._texts[name]

    def _sequence(self, items: Sequence[Node]) -> Texts | None:
        texts: Texts | None = {"": 1.0}
        for item in items:
            texts = _product(texts, self._item(item))
        return texts

    def _item(self, node: Node) -> Texts | None:
        if isinstance(node, Literal):
            return {node.text: 1.0}
        if isinstance(node, CharRange):
            count = ord(node.high) - ord(node.low) + 1
            if count > MAX_CHOICES:
                return None
            return {chr(code): 1 / count for code in range(ord(node.low), ord(node.high) + 1)}
        if isinstance(node, Name):
            return self.texts(node.name)
        if isinstance(node, Group):
            joined: Texts | None = {}
            weight = (1 - GO_ON if node.optional else 1.0) / len(node.branches)
            for branch in node.branches:
                joined = _join(joined, self._sequence(branch.items), weight)
            return _join(joined, {"": 1.0}, GO_ON) if node.optional else joined
        if isinstance(node, Repeat):
            once = self._item(node.item)
            if node.operator == "?":
                return _join(_join({}, once, 1 - GO_ON), {"": 1.0}, GO_ON)
            if node.high < 0:
                return None
            return self._counted(once, node.low, node.high)
        if isinstance(node, Regexp):
            raise mistake("unsampled-regex", node.place, text=node.raw)
        raise AssertionError(node)

    def _counted(self, once: Texts | None, low: int, high: int) -> Texts | None:
        if once is None:
            return None
        joined: Texts | None = {}
        power: Texts | None = {"": 1.0}
        for count in range(high + 1):
            if count >= low:
                joined = _join(joined, power, 1 / (high - low + 1))
            if joined is None or power is None:
                return None
            power = _product(power, once)
        return joined

    def composition(self, name: str) -> Composition:
        """How to put together a text of a terminal that has too many to list."""
        if name not in self._compositions:
            definition = self.definitions[name]
            weights = shares(name, definition.branches, definition.place)
            ways = tuple(
                (tuple(self._piece(item, going_on(branch)) for item in branch.items), weight)
                for branch, weight in zip(definition.branches, weights, strict=True)
            )
            self._compositions[name] = Composition(ways)
        return self._compositions[name]

    def _piece(self, node: Node, more: float) -> str | range | Composition:
        if isinstance(node, Literal):
            return node.text
        if isinstance(node, CharRange):
            return range(ord(node.low), ord(node.high) + 1)
        if isinstance(node, Name):
            return self.composition(node.name)
        if isinstance(node, Group):
            ways = self._ways(node.branches, more)
            return Composition(ways, 0, 1) if node.optional else Composition(ways)
        if isinstance(node, Repeat):
            inner = node.item
            if isinstance(inner, Group) and not inner.optional:
                ways = self._ways(inner.branches, more)
            else:
                ways = (((self._piece(inner, more),), 1.0),)
            high = None if node.high < 0 else node.high
            return Composition(ways, node.low, high, more)
        raise AssertionError(node)

    def _ways(
        self, branches: Sequence[Branch], more: float
    ) -> tuple[tuple[tuple[str | range | Composition, ...], float], ...]:
        return tuple(
            (tuple(self._piece(item, more) for item in branch.items), 1 / len(branches)) for branch in branches
        )

    def _can_be_empty(self, name: str) -> bool:
        return any(all(self._empty(item) for item in branch.items) for branch in self.definitions[name].branches)

    def _empty(self, node: Node) -> bool:
        if isinstance(node, Name):
            return self._can_be_empty(node.name)
        if isinstance(node, Group):
            return node.optional or any(all(map(self._empty, branch.items)) for branch in node.branches)
        if isinstance(node, Repeat):
            return node.low == 0 or self._empty(node.item)
        if isinstance(node, Regexp):
            pattern, flags = regexp_parts(node)
            return re.fullmatch(f"(?{flags}:{pattern})" if flags else pattern, "") is not None
        return False


def _join(texts: Texts | None, more: Texts | None, weight: float) -> Texts | None:
    if texts is None or more is None:
        return None
    for text, probability in more.items():
        texts[text] = texts.get(text, 0.0) + weight * probability
    return texts if len(texts) <= MAX_CHOICES else None


def _product(first: Texts | None, second: Texts | None) -> Texts | None:
    if first is None or second is None or len(first) * len(second) > 4 * MAX_CHOICES:
        return None
    texts: Texts = {}
    for head, weight in first.items():
        for tail, other in second.items():
            texts[head + tail] = texts.get(head + tail, 0.0) + weight * other
    return texts if len(texts) <= MAX_CHOICES else None


def check_regexp(node: Regexp) -> int:
    """Refuse a regular expression that Python cannot compile, or that no automaton stands for; returns its size.

    Lark's strict mode and the analysis of what runs together work on automata. Their size can be exponential in counts
    behind a repetition; those are refused.
    """
    pattern, flags = regexp_parts(node)
    reason = None
    counts = [max(int(n or 0) for n in found) for found in _COUNTS.findall(pattern)]
    special = _SPECIAL.search(re.sub(r"\[\^?\]?(?:\\.|[^\]\\])*\]", "[]", pattern))
    if len(pattern) > MAX_REGEXP:
        reason = f"{len(pattern):,} characters"
    elif math.prod(counts) > MAX_COUNTS or (counts and max(counts) > 10 and re.search(r"(?<!\\)[*+]", pattern)):
        reason = f"it counts up to {max(counts)}"
    elif special:
        reason = f"it uses {special[0]}"
    if reason is not None:
        raise mistake("hard-regex", node.place, text=shortened(node.raw), reason=reason)
    try:
        re.compile(f"(?{flags}:{pattern})" if flags else pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise mistake("bad-regex", node.place, text=shortened(node.raw), reason=str(error)) from None
    return len(pattern)


MAX_REGEXP: Final = 300  # characters
MAX_COUNTS: Final = 200  # product of all {n} in a regular expression
_COUNTS: Final = re.compile(r"\{(\d{0,9}),?(\d{0,9})\}")
_SPECIAL: Final = re.compile(r"\(\?(?!:|[imsux]+:)<?[=!P#>(a-zA-Z]?|\\[bBAZ1-9]|(?<!\\)[\^$]|[*+?}]\+")


def shortened(raw: str) -> str:
    """An expression as errors show it: on one line, and not all of a long one."""
    raw = raw.replace("\n", "\\n")
    return raw if len(raw) <= 60 else raw[:59] + "…"


def regexp_parts(node: Regexp) -> tuple[str, str]:
    """The pattern and the flags of a regular expression, escapes resolved as Lark does it."""
    body, _, flags = node.raw.rpartition("/")
    try:
        pattern = evaluate(body[1:])
        pattern.encode()
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise mistake("bad-regex", node.place, text=shortened(node.raw), reason=reason) from None
    if not pattern:
        raise mistake("bad-regex", node.place, text=node.raw, reason="it is empty")
    if "\n" in node.raw and "x" not in flags:
        raise mistake("bad-regex", node.place, text=shortened(node.raw), reason="it goes over a line's end")
    return pattern, flags


def drawn_texts(numbers: NumericRange) -> Iterator[str]:
    """Texts that a range draws, in all the forms that it writes numbers in: enough to try a pattern on."""
    yield numbers.text(numbers.low)
    yield numbers.text(numbers.high)
    if numbers.integer and numbers.high - numbers.low <= MAX_CHOICES:
        for value in range(int(numbers.low), int(numbers.high) + 1):
            yield str(value)
        return
    points = [numbers.low + (numbers.high - numbers.low) * step / 500 for step in range(501)]
    size = max(abs(numbers.low), abs(numbers.high))
    magnitudes = range(math.floor(math.log10(max(size, 1e-300))), -310, -1) if size else range(0)
    floor = numbers.low if numbers.low > 0 else -numbers.high if numbers.high < 0 else size * 1e-9
    for exponent in magnitudes:
        if 10.0**exponent * 10 < floor:
            break
        for mantissa in (1, 1.2, 1.23, 1.234, 2, 3, 4.5, 5.6, 6.78, 7.8, 8.9, 9, 9.876, 3.045):
            points += [mantissa * 10.0**exponent, -mantissa * 10.0**exponent]
    for point in points:
        if numbers.low <= point <= numbers.high:
            yield numbers.text(point)
