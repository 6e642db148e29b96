"""Whether plain alternatives make a grammar that can be drawn from: every rule ends, and none turns into itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.grammar.core import Symbol, SymbolKind
from evosearch.grammar.mistakes import mistake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from evosearch.grammar.expansion import Expansion, Raw


def refuse_endless(expansion: Expansion) -> None:
    """Raise GrammarError where a rule never ends, ends only through what is never drawn, or derives itself alone."""
    rules = expansion.rules
    endless = set(rules) - ending(rules, lambda _: True)
    if endless:
        blamed = _blamed(rules, endless)
        row = "left-recursion" if _begins_with_itself(blamed, rules, endless) else "never-ends"
        raise mistake(row, expansion.places[blamed], name=blamed)
    undrawn = set(rules) - ending(rules, lambda raw: raw.weight > 0)
    if undrawn:
        blamed = _blamed(rules, undrawn)
        raise mistake("drawing-never-ends", expansion.places[blamed], name=blamed)
    circle = _circle(rules, nullable(rules))
    if circle:
        at = expansion.places[circle[0]]
        names = [name.removeprefix("__") for name in circle]
        raise mistake("derives-itself", at, name=names[0], circle=" -> ".join([*names, names[0]]))


def ending(rules: Mapping[str, list[Raw]], counts: Callable[[Raw], bool]) -> set[str]:
    """The rules that derive at least one finite sentence, through the alternatives that count."""
    return _fixpoint(rules, lambda raw, known: counts(raw) and all(s.name in known for s in _rules(raw)))


def nullable(rules: Mapping[str, list[Raw]]) -> set[str]:
    """The rules that derive the empty text."""
    return _fixpoint(rules, lambda raw, known: all(s.kind is SymbolKind.RULE and s.name in known for s in raw.symbols))


def _fixpoint(rules: Mapping[str, list[Raw]], holds: Callable[[Raw, set[str]], bool]) -> set[str]:
    """The least set of rules of which one alternative holds given the set; each round asks only users of the news."""
    users: dict[str, set[str]] = {name: set() for name in rules}
    for name, raws in rules.items():
        for raw in raws:
            for symbol in _rules(raw):
                users[symbol.name].add(name)
    known: set[str] = set()
    waiting = dict.fromkeys(rules)
    while waiting:
        name = next(iter(waiting))
        del waiting[name]
        if name not in known and any(holds(raw, known) for raw in rules[name]):
            known.add(name)
            waiting.update(dict.fromkeys(sorted(users[name] - known)))
    return known


def _rules(raw: Raw) -> Iterable[Symbol]:
    return (symbol for symbol in raw.symbols if symbol.kind is SymbolKind.RULE)


def _blamed(rules: Mapping[str, list[Raw]], endless: set[str]) -> str:
    """A rule that leads back to itself through endless rules: of the first such circle, the one defined first."""
    graph = {name: [s.name for raw in raws for s in _rules(raw) if s.name in endless] for name, raws in rules.items()}
    circle = _walk(graph, next(name for name in rules if name in endless))
    order = {name: position for position, name in enumerate(rules)}
    return min(circle, key=lambda name: (name.startswith("__"), order[name]))


def _walk(graph: Mapping[str, Sequence[str]], node: str) -> list[str]:
    """The circle that first steps from a node run into; every node on the way has a step."""
    path: dict[str, None] = {}
    while node not in path:
        path[node] = None
        node = graph[node][0]
    names = list(path)
    return names[names.index(node) :]


def _begins_with_itself(name: str, rules: Mapping[str, list[Raw]], endless: set[str]) -> bool:
    first = {
        other: {raw.symbols[0].name for raw in raws if raw.symbols and raw.symbols[0].kind is SymbolKind.RULE} & endless
        for other, raws in rules.items()
    }
    return name in reachable(first, first[name])


def reachable(graph: Mapping[str, Iterable[str]], start: Iterable[str]) -> set[str]:
    """All nodes on paths from the start nodes, these among them."""
    found: set[str] = set()
    stack = list(start)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += graph.get(node, ())
    return found


def _circle(rules: Mapping[str, list[Raw]], empty: set[str]) -> list[str]:
    """Rules that derive each other with nothing beside them, in order; empty where there are none."""
    alone: dict[str, list[str]] = {name: [] for name in rules}
    for name, raws in rules.items():
        for raw in raws:
            if any(s.kind is not SymbolKind.RULE for s in raw.symbols):
                continue
            for position, symbol in enumerate(raw.symbols):
                others = raw.symbols[:position] + raw.symbols[position + 1 :]
                if all(other.name in empty for other in others) and symbol.name not in alone[name]:
                    alone[name].append(symbol.name)
    # rules without a step are taken away until each that is left has one
    users: dict[str, list[str]] = {name: [] for name in rules}
    for name, others_alone in alone.items():
        for other in others_alone:
            users[other].append(name)
    steps = {name: len(others_alone) for name, others_alone in alone.items()}
    gone = [name for name in rules if not steps[name]]
    removed = set(gone)
    while gone:
        for user in users[gone.pop()]:
            steps[user] -= 1
            if not steps[user]:
                removed.add(user)
                gone.append(user)
    left = {name: [other for other in alone[name] if other not in removed] for name in rules if name not in removed}
    return _walk(left, next(iter(left))) if left else []
