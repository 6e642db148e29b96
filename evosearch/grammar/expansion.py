"""From definitions to plain alternatives: templates, groups, options, repetitions and counts, with probabilities.

The expansion is Lark's own (`lark.load_grammar`: `ApplyTemplates`, `EBNF_to_BNF`, `SimplifyRule_Visitor`), so that the
language and its LALR(1) conflicts are those of stock Lark: an option doubles the alternatives, `+` becomes a
left-recursive helper rule that equal repetitions share, counts of fifty and more are split into factors.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from evosearch.grammar.core import Symbol, SymbolKind, Terminal
from evosearch.grammar.files import Definitions, named
from evosearch.grammar.mistakes import Place, mistake, near
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
    Settings,
    Usage,
    Value,
    is_terminal,
)
from evosearch.grammar.terminals import GO_ON, Terminals, going_on, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MAX_ALTERNATIVES: Final = 1000  # of one rule
MAX_SYMBOLS: Final = 20_000  # of all rules together; Lark's tables for as many take seconds
MAX_RULES: Final = 1000  # likewise, where each leads to the next
MAX_INSTANCES: Final = 1000  # of templates
MAX_INSTANCE_NAME: Final = 300  # characters; names grow with the nesting of arguments
SPLIT_FROM: Final = 50  # counts from here on become helper rules (lark.load_grammar.REPEAT_BREAK_THRESHOLD)
FACTOR: Final = 5  # lark.load_grammar.SMALL_FACTOR_THRESHOLD

Ways = list[tuple[tuple[Symbol, ...], float]]  # what an expression expands to, with probabilities


@dataclass(frozen=True)
class Raw:
    """A plain alternative before it is known whether it stands for a layer."""

    symbols: tuple[Symbol, ...]
    weight: float
    alias: str | None
    place: Place


@dataclass
class Expansion:
    """All rules reached from start as plain alternatives, and the terminals that occur in them.

    rules: by name, `start` first. own_names: what each rule is called in its own file. modifiers: `?` and `!` of each.
    places: where each rule is defined (of a helper rule, where its repetition stands).
    literals: each fixed text as it is written. named: fixed texts that are terminals (_COMMA).
    terminals: drawn ones by name. patterns: what a terminal without a definition stands for.
    joined: (first, second) alternatives written alike, whose weights were added.
    """

    rules: dict[str, list[Raw]] = field(default_factory=dict)
    own_names: dict[str, str] = field(default_factory=dict)
    modifiers: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    literals: dict[str, Literal] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    terminals: dict[str, Terminal] = field(default_factory=dict)
    patterns: dict[str, Literal | CharRange] = field(default_factory=dict)
    joined: list[tuple[Raw, Raw]] = field(default_factory=list)


def expand(definitions: Definitions, start: str = "start") -> Expansion:
    """Expand a grammar from its start rule. Raises GrammarError on wrong names, weights, templates or sizes."""
    expander = _Expander(definitions)
    if start not in definitions.by_name:
        rules = [d for d in definitions.by_name.values() if not d.is_terminal]
        raise mistake("no-start", Place(definitions.source), first=rules[0].name if rules else '"a"')
    for definition in definitions.by_name.values():
        expander.check(definition)
    expander.reach(start, definitions.by_name[start])
    while expander.queue:
        expander.expand_next()
    expander.refuse_unused(definitions)
    return expander.done


class _Expander:
    def __init__(self, definitions: Definitions) -> None:
        self.by_name = definitions.by_name
        self.ignores = definitions.ignores
        self.terminals = Terminals(definitions.by_name)
        self.done = Expansion()
        self.queue: list[tuple[str, Definition]] = []
        self.reached: set[str] = set()
        self.templates: set[str] = set()
        self.symbols = 0

    # -- names

    def check(self, definition: Definition) -> None:
        """Refuse what is wrong with a definition by itself."""
        name = definition.name
        if definition.is_terminal:
            self.terminals.check(name)
            return
        if definition.priority is not None:
            raise mistake("priority", definition.place, name=name, priority=definition.priority)
        if name.startswith("_") and "?" in definition.modifiers:
            raise mistake("inlined-modifier", definition.place, name=name)
        for position, parameter in enumerate(definition.parameters):
            clash = "a rule" if parameter in self.by_name else None
            if parameter in definition.parameters[:position]:
                clash = "another parameter"
            if clash:
                raise mistake("template-parameter", definition.place, name=parameter, template=name, clash=clash)
        for branch in definition.branches:
            if name.startswith("_") and branch.alias is not None:
                raise mistake("inlined-alias", branch.alias_place or branch.place, name=name)
            _refuse_empty(branch, definition)

    def _arity(self, reference: Name | Usage) -> Definition:
        """The rule or template that is meant; raises GrammarError where it takes other arguments."""
        target = self.by_name[reference.name]
        given = len(reference.arguments) if isinstance(reference, Usage) else 0
        if given and not target.parameters:
            raise mistake("not-a-template", reference.place, name=reference.name)
        if given != len(target.parameters):
            raise mistake(
                "template-arguments", reference.place, name=reference.name, expected=len(target.parameters),
                s="" if len(target.parameters) == 1 else "s", count=given, params=", ".join(target.parameters),
            )  # fmt: skip
        return target

    def refuse_unused(self, definitions: Definitions) -> None:
        """Refuse rules and terminals of the main file that nothing uses."""
        used = set(self.reached)
        roots = [branch for ignore in definitions.ignores for branch in ignore.branches]
        for branch in roots:
            if branch.alias is not None:
                raise mistake("terminal-alias", branch.alias_place or branch.place, alias=branch.alias)
            if not branch.items:
                raise mistake("ignore-nothing", branch.place)
        stack = [reference for branch in roots for reference in named(branch)]
        while stack:
            reference = stack.pop()
            if reference.name not in self.by_name:
                hint = near(reference.name, (n for n in self.by_name if is_terminal(n)))
                raise mistake("unknown-symbol", reference.place, kind="terminal", name=reference.name, near=hint)
            if not is_terminal(reference.name):
                raise mistake("ignore-rule", reference.place, name=reference.name)
            used.add(reference.name)
        for name in list(used):
            stack += [r for branch in self.by_name[name].branches for r in named(branch)] if is_terminal(name) else []
        while stack:
            reference = stack.pop()
            if reference.name not in used:
                used.add(reference.name)
                stack += [r for branch in self.by_name[reference.name].branches for r in named(branch)]
        for name in definitions.by_name:
            if name in definitions.own and name not in used:
                row = "unused-terminal" if is_terminal(name) else "unreached-rule"
                raise mistake(row, definitions.by_name[name].place, name=name)

    # -- rules

    def reach(self, name: str, definition: Definition) -> None:
        if name in self.done.own_names:
            return
        self.reached.add(definition.name)
        self.done.own_names[name] = definition.own_name
        self.done.modifiers[name] = definition.modifiers
        self.done.places[name] = definition.place
        self.done.rules[name] = []
        self.queue.append((name, definition))

    def expand_next(self) -> None:
        name, definition = self.queue.pop(0)
        weights = shares(name, definition.branches, definition.place)
        raws: list[Raw] = []
        for branch, weight in zip(definition.branches, weights, strict=True):
            if branch.settings.range is not None:
                at = branch.settings.range_place or branch.place
                raise mistake("range-misplaced", at, name=name, why="is a rule")
            context = _Context(name, "!" in definition.modifiers, going_on(branch), branch.settings.more)
            ways = self._items(branch.items, context)
            if not any(symbols for symbols, _ in ways):
                raise mistake("empty-alternative", branch.place, name=name)
            raws += [Raw(symbols, weight * chance, branch.alias, branch.place) for symbols, chance in ways]
        self._define(name, raws)

    def _define(self, name: str, raws: Iterable[Raw]) -> None:
        """Add a rule's alternatives; those written alike are one, with their weights added."""
        merged: dict[tuple[Symbol, ...], Raw] = {}
        for raw in raws:
            first = merged.get(raw.symbols)
            if first is None:
                merged[raw.symbols] = raw
                self.symbols += len(raw.symbols) + 1
                continue
            if first.alias != raw.alias:
                raise mistake(
                    "same-layers", raw.place, first=first.alias or name, first_line=first.place.line,
                    second=raw.alias or name, second_line=raw.place.line,
                )  # fmt: skip
            if first.place != raw.place:
                self.done.joined.append((first, raw))
            merged[raw.symbols] = replace(first, weight=first.weight + raw.weight)
        if len(merged) > MAX_ALTERNATIVES:
            raise mistake("too-many-alternatives", self.done.places[name], name=name, limit=MAX_ALTERNATIVES)
        if self.symbols > MAX_SYMBOLS:
            raise mistake("grammar-too-large", self.done.places[name], limit=MAX_SYMBOLS, what="symbols")
        if len(self.done.rules) > MAX_RULES:
            raise mistake("grammar-too-large", self.done.places[name], limit=MAX_RULES, what="rules")
        self.done.rules[name] = list(merged.values())

    # -- expressions

    def _items(self, items: Sequence[Node], context: _Context) -> Ways:
        return self._chain([self._item(item, context) for item in items], context)

    def _too_many(self, context: _Context) -> Exception:
        place = self.done.places[context.rule]
        return mistake("too-many-alternatives", place, name=context.rule, limit=MAX_ALTERNATIVES)

    def _item(self, node: Node, context: _Context) -> Ways:
        if isinstance(node, Group):
            ways = [
                (symbols, chance / len(node.branches))
                for branch in node.branches
                for symbols, chance in self._items(branch.items, context)
            ]
            return _optional(_merged(ways)) if node.optional else _merged(ways)
        if isinstance(node, Repeat):
            return self._repeat(node, context)
        return [((self._symbol(node, context),), 1.0)]

    def _repeat(self, node: Repeat, context: _Context) -> Ways:
        if node.operator == "?":
            return _optional(self._item(node.item, context))
        if node.operator == "+":
            return [((self._more_of(node, context),), 1.0)]
        if node.operator == "*":
            return [((self._more_of(node, context),), context.more), ((), 1 - context.more)]
        if node.high < SPLIT_FROM:
            return self._counted(node, context)
        target: tuple[Symbol, ...] = ()
        if node.low:
            target = self._exactly(node, node.low, context)
        if node.low == node.high:
            return [(target, 1.0)]
        up_to = self._up_to(node, node.high - node.low + 1, context)
        return [((*target, *up_to), 1.0)]

    def _counted(self, node: Repeat, context: _Context) -> Ways:
        once = self._item(node.item, context)
        total = sum(len(once) ** count for count in range(node.low, node.high + 1))
        if total > MAX_ALTERNATIVES:
            raise self._too_many(context)
        share = 1 / (node.high - node.low + 1)
        ways: Ways = []
        for count in range(node.low, node.high + 1):
            for combination in itertools.product(once, repeat=count):
                symbols = tuple(symbol for way, _ in combination for symbol in way)
                ways.append((symbols, share * math.prod(chance for _, chance in combination)))
        return _merged(ways)

    def _helper(
        self, name: str, context: _Context, place: Place, raws: Callable[[], list[tuple[Ways, float]]]
    ) -> Symbol:
        """The symbol of a helper rule, which is made at its first use and shared afterwards."""
        if context.keep_all:
            name += "!"
        if name not in self.done.own_names:
            self.done.own_names[name] = name
            self.done.modifiers[name] = ""
            self.done.places[name] = place
            self.done.rules[name] = []
            made = [Raw(symbols, weight * chance, None, place) for ways, weight in raws() for symbols, chance in ways]
            self._define(name, made)
        return Symbol(SymbolKind.RULE, name)

    def _more_of(self, node: Repeat, context: _Context) -> Symbol:
        """The helper rule of `item+`: one item, or itself and one more item."""
        more = context.more
        name = f"__{written(node.item)}+{_stated(more)}"

        def raws() -> list[tuple[Ways, float]]:
            once = self._item(node.item, context)
            again = [
                ((Symbol(SymbolKind.RULE, name + "!" * context.keep_all), *symbols), chance) for symbols, chance in once
            ]
            return [(once, 1 - more), (again, more)]

        return self._helper(name, context, node.place, raws)

    def _exactly(self, node: Repeat, count: int, context: _Context) -> tuple[Symbol, ...]:
        """A helper rule for exactly `count` items; see lark.load_grammar.EBNF_to_BNF._add_repeat_rule."""
        inner, factor, extra = _factors(count)

        def raws() -> list[tuple[Ways, float]]:
            once = self._item(node.item, context)
            target = [(self._exactly(node, inner, context), 1.0)] if inner > 1 else once
            return [(self._chain([target] * factor + [once] * extra, context), 1.0)]

        return (self._helper(f"__{written(node.item)}~{count}{_stated(context.more)}", context, node.place, raws),)

    def _up_to(self, node: Repeat, below: int, context: _Context) -> tuple[Symbol, ...]:
        """A helper rule for 0 to `below` - 1 items, each count as likely; see Lark's _add_repeat_opt_rule."""
        name = f"__{written(node.item)}~0..{below - 1}{_stated(context.more)}"
        inner, factor, extra = _factors(below)

        def raws() -> list[tuple[Ways, float]]:
            once = self._item(node.item, context)
            target = [(self._exactly(node, inner, context), 1.0)] if inner > 1 else once
            fewer: Ways = [(self._up_to(node, inner, context), 1.0)] if inner > 1 else [((), 1.0)]
            made = [(self._chain([target] * i + [fewer], context), inner / below) for i in range(factor)]
            return made + [(self._chain([target] * factor + [once] * i, context), 1 / below) for i in range(extra)]

        return (self._helper(name, context, node.place, raws),)

    def _chain(self, parts: list[Ways], context: _Context) -> Ways:
        if math.prod(len(part) for part in parts) > MAX_ALTERNATIVES:
            raise self._too_many(context)
        return _merged(
            (tuple(symbol for way, _ in combination for symbol in way), math.prod(chance for _, chance in combination))
            for combination in itertools.product(*parts)
        )

    # -- symbols

    def _symbol(self, node: Value, context: _Context) -> Symbol:
        if isinstance(node, Usage):
            return self._instance(node)
        if isinstance(node, Name):
            if not is_terminal(node.name):
                self.reach(node.name, self._arity(node))
                return Symbol(SymbolKind.RULE, node.name)
            return self._terminal(node.name, context)
        if isinstance(node, Regexp):
            raise mistake("unsampled-regex", node.place, text=node.raw)
        if isinstance(node, Literal) and not context.keep_all:
            same = self.done.literals.setdefault(node.text, node)
            if same.ignore_case != node.ignore_case:
                raise mistake("same-text", node.place, text=node.text, first=same.raw, second=node.raw)
            return Symbol(SymbolKind.LITERAL, node.text)
        # a kept string, or a range of characters, which Lark always keeps: an argument without a name
        if node.raw not in self.done.terminals:
            self.done.terminals[node.raw] = _anonymous(node)
            self.done.patterns[node.raw] = node
        return Symbol(SymbolKind.TERMINAL, node.raw)

    def _terminal(self, name: str, context: _Context) -> Symbol:
        self.reached.add(name)
        if name not in self.done.terminals:
            self.done.terminals[name] = self.terminals.terminal(name)
        terminal = self.done.terminals[name]
        if (
            name.startswith("_")
            and not context.keep_all
            and terminal.choices is not None
            and len(terminal.choices) == 1
        ):
            text = terminal.choices[0][0]
            self.done.named[text] = name
            return Symbol(SymbolKind.LITERAL, text)
        return Symbol(SymbolKind.TERMINAL, name)

    def _instance(self, usage: Usage) -> Symbol:
        """A template with its arguments: a rule of its own, shared by equal uses."""
        name = written(usage)
        if name not in self.done.own_names:
            template = self._arity(usage)
            self.templates.add(name)
            if len(self.templates) > MAX_INSTANCES or len(name) > MAX_INSTANCE_NAME:
                raise mistake("template-endless", usage.place, name=usage.name)
            arguments = dict(zip(template.parameters, usage.arguments, strict=True))
            branches = tuple(_substituted(branch, arguments) for branch in template.branches)
            self.reach(name, replace(template, branches=branches))
        return Symbol(SymbolKind.RULE, name)


@dataclass(frozen=True, slots=True)
class _Context:
    """Where an expression stands: its rule, whether strings are kept, and the chance that a repetition goes on."""

    rule: str
    keep_all: bool
    more: float
    stated: float | None


def _merged(ways: Iterable[tuple[tuple[Symbol, ...], float]]) -> Ways:
    merged: dict[tuple[Symbol, ...], float] = {}
    for symbols, chance in ways:
        merged[symbols] = merged.get(symbols, 0.0) + chance
    return list(merged.items())


def _optional(ways: Ways) -> Ways:
    return _merged([*((symbols, chance * (1 - GO_ON)) for symbols, chance in ways), ((), GO_ON)])


def _stated(more: float) -> str:
    """What a helper rule's name says of `// more=`: repetitions share a rule only where they go on as likely."""
    return "" if more == GO_ON else f" more={more}"


def _factors(number: int) -> tuple[int, int, int]:
    """(n, a, b) with number = n * a + b and a + b <= 5; (1, number, 0) where it is small by itself.

    The last step of lark.utils.small_factors.
    """
    if number <= FACTOR:
        return 1, number, 0
    for factor in range(FACTOR, 1, -1):
        inner, rest = divmod(number, factor)
        if factor + rest <= FACTOR:
            return inner, factor, rest
    raise AssertionError(number)


def _refuse_empty(node: Branch | Node, definition: Definition) -> None:
    if isinstance(node, Branch):
        if not node.items:
            raise mistake("empty-alternative", node.place, name=definition.name)
        for item in node.items:
            _refuse_empty(item, definition)
    elif isinstance(node, Group):
        for branch in node.branches:
            _refuse_empty(branch, definition)
    elif isinstance(node, Repeat):
        _refuse_empty(node.item, definition)


def _anonymous(node: Literal | CharRange) -> Terminal:
    if isinstance(node, Literal):
        return Terminal(node.raw, ((node.text, 1.0),), None, node.place.line)
    count = ord(node.high) - ord(node.low) + 1
    if count > MAX_ALTERNATIVES:
        raise mistake("terminal-too-large", node.place, name=node.raw, reason=f"{count:,} characters")
    texts = tuple((chr(code), 1 / count) for code in range(ord(node.low), ord(node.high) + 1))
    return Terminal(node.raw, texts, None, node.place.line)


def _substituted(branch: Branch, arguments: Mapping[str, Value]) -> Branch:
    return replace(branch, items=tuple(_substitute(item, arguments) for item in branch.items))


def _substitute(node: Node, arguments: Mapping[str, Value]) -> Node:
    if isinstance(node, Group):
        return replace(node, branches=tuple(_substituted(branch, arguments) for branch in node.branches))
    if isinstance(node, Repeat):
        return replace(node, item=_substitute(node.item, arguments))
    return _substitute_value(node, arguments)


def _substitute_value(node: Value, arguments: Mapping[str, Value]) -> Value:
    if isinstance(node, Name):
        return arguments.get(node.name, node)
    if isinstance(node, Usage):
        inner = tuple(_substitute_value(argument, arguments) for argument in node.arguments)
        called = arguments.get(node.name)
        return replace(node, name=called.name if isinstance(called, Name) else node.name, arguments=inner)
    return node


def written(node: Node) -> str:
    """An expression in Lark's notation; equal expressions are written alike."""
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Usage):
        return f"{node.name}{{{','.join(map(written, node.arguments))}}}"
    if isinstance(node, Group):
        inner = " | ".join(" ".join(map(written, branch.items)) for branch in node.branches)
        return f"[{inner}]" if node.optional else f"({inner})"
    if isinstance(node, Repeat):
        count = ""
        if node.operator == "~":
            count = f"{node.low}" if node.low == node.high else f"{node.low}..{node.high}"
        return f"{written(node.item)}{node.operator}{count}"
    return node.raw


__all__ = ["Expansion", "Raw", "Settings", "expand", "written"]
