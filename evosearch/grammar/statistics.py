"""What a grammar's weights imply, worked out exactly: whether drawing ends, how large samples are, how many there are.

Drawing is a multitype branching process (Harris 1963, The Theory of Branching Processes, ch. II): the types are the
rules, and row i of the mean matrix holds the expected number of each rule in the alternative drawn for rule i. Its
spectral radius decides: below 1 samples end and their expected size is finite, at 1 they end but their expected size is
infinite, above 1 some never end. All of it is about the weights alone, before any shape or size limit cuts in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from evosearch.grammar.core import Alternative, Grammar, Terminal

Floats = NDArray[np.float64]
CRITICAL = 1e-9  # a spectral radius this near 1 counts as 1
DEPTH, DIGITS = 12, 60  # to which derivations are counted


@dataclass(frozen=True, slots=True)
class Component:
    """Rules that lead to each other, and the growth of a sample within them.

    radius: spectral radius of their part of the mean matrix: the growth in one step.
    blamed: the rule whose weights change it most. offspring: how many further ones of it one of it leads to, counted up
        to the first on each path; below, at and over 1 as the radius is.
    ending: probability of the blamed rule's alternatives that leave the component. needed: what it would have to be
        over for a radius below 1, the other weights kept in proportion.
    """

    rules: tuple[str, ...]
    radius: float
    blamed: str
    offspring: float
    ending: float
    needed: float


@dataclass(frozen=True)
class Process:
    """The branching process of the rules that a draw from the start rule can meet."""

    grammar: Grammar
    rules: tuple[str, ...]
    mean: Floats

    @classmethod
    def of(cls, grammar: Grammar, copies: Callable[[Alternative, str], float] = lambda _, __: 1.0) -> Process:
        """copies: how often a layer builds a part that is drawn once, given the alternative and the part's rule."""
        rules = tuple(_met(grammar))
        index = {rule: i for i, rule in enumerate(rules)}
        mean = np.zeros((len(rules), len(rules)))
        for rule in rules:
            for alternative in grammar.rules[rule]:
                for part in alternative.rules if alternative.weight > 0 else ():
                    mean[index[rule], index[part]] += alternative.weight * copies(alternative, part)
        return cls(grammar, rules, mean)

    def components(self) -> tuple[Component, ...]:
        """The strongly connected parts that contain a circle, the fastest growing first."""
        found = [self._component(members) for members in _strong_components(self.mean > 0) if self._circular(members)]
        return tuple(sorted(found, key=lambda component: -component.radius))

    def _circular(self, members: list[int]) -> bool:
        return len(members) > 1 or self.mean[members[0], members[0]] > 0

    def _component(self, members: list[int]) -> Component:
        block = self.mean[np.ix_(members, members)]
        radius = _radius(block)
        inside = {self.rules[i] for i in members}
        share = _influence(block)
        ending = {rule: self._ending(rule, inside) for rule in inside}
        # a rule can be blamed where some of its alternatives leave the component: their weight is what to raise
        order = sorted(
            range(len(members)), key=lambda i: (ending[self.rules[members[i]]] == 0, -round(float(share[i]), 9), i)
        )
        at = order[0]
        blamed = self.rules[members[at]]
        needed = _needed(block, at, ending[blamed])
        names = tuple(self.rules[i] for i in members)
        return Component(names, radius, blamed, _offspring(block, at), ending[blamed], needed)

    def _ending(self, rule: str, inside: set[str]) -> float:
        return math.fsum(a.weight for a in self.grammar.rules[rule] if not inside & set(a.rules))

    def uses(self) -> dict[str, float]:
        """Expected uses of each rule in one sample; inf where the process behind it is critical or worse."""
        growing = {rule for c in self.components() if c.radius >= 1 - CRITICAL for rule in c.rules}
        reachable = self._behind(growing)
        kept = [i for i, rule in enumerate(self.rules) if rule not in reachable]
        uses = dict.fromkeys(self.rules, math.inf)
        if kept:
            block = self.mean[np.ix_(kept, kept)]
            start = np.array([1.0 if self.rules[i] == self.grammar.start else 0.0 for i in kept])
            solved = np.linalg.solve(np.eye(len(kept)) - block.T, start)
            uses.update({self.rules[i]: float(value) for i, value in zip(kept, solved, strict=True)})
        return uses

    def _behind(self, rules: set[str]) -> set[str]:
        found, stack = set(rules), [self.rules.index(rule) for rule in rules]
        while stack:
            for j in np.flatnonzero(self.mean[stack.pop()] > 0):
                if self.rules[j] not in found:
                    found.add(self.rules[j])
                    stack.append(int(j))
        return found

    def expected_size(self) -> float:
        """Expected derivation nodes of a sample; inf where a rule that it meets is critical or worse."""
        return math.fsum(self.uses().values())

    def ends(self) -> float:
        """The probability that a draw from the start rule ends: least fixed point of the generating functions."""
        if all(component.radius <= 1 + CRITICAL for component in self.components()):
            return 1.0
        probability = dict.fromkeys(self.rules, 0.0)
        for _ in range(100_000):
            after = {rule: self._generate(rule, probability) for rule in self.rules}
            change = max(abs(after[rule] - probability[rule]) for rule in self.rules)
            probability = after
            if change < 1e-12:
                break
        return probability[self.grammar.start]

    def _generate(self, rule: str, probability: Mapping[str, float]) -> float:
        return math.fsum(
            a.weight * math.prod(probability[part] for part in a.rules)
            for a in self.grammar.rules[rule]
            if a.weight > 0
        )


def _met(grammar: Grammar) -> Iterator[str]:
    """The rules that a draw from the start rule can meet, in order of definition."""
    met: set[str] = set()
    stack = [grammar.start]
    while stack:
        rule = stack.pop()
        if rule not in met:
            met.add(rule)
            stack += [part for a in grammar.rules[rule] if a.weight > 0 for part in a.rules]
    return (rule for rule in grammar.rules if rule in met)


def _radius(block: Floats) -> float:
    return float(np.max(np.abs(np.linalg.eigvals(block))))


def _influence(block: Floats) -> Floats:
    """How much the spectral radius changes with each row: the product of the left and right Perron vectors."""
    size = len(block)
    # half the identity makes powers converge where the rules lead to each other in turns
    mixed = block / max(_radius(block), 1e-300) + 0.5 * np.eye(size)
    left, right = np.ones(size), np.ones(size)
    for _ in range(1000):
        left, right = left @ mixed, mixed @ right
        left, right = left / left.sum(), right / right.sum()
    product = left * right
    influence: Floats = product / product.sum()
    return influence


def _offspring(block: Floats, at: int) -> float:
    """How many of type `at` one of it leads to, each path followed to the first; inf where the rest explodes."""
    others = [i for i in range(len(block)) if i != at]
    if not others:
        return float(block[at, at])
    rest = block[np.ix_(others, others)]
    if _radius(rest) >= 1 - CRITICAL:
        return math.inf
    below = np.linalg.solve(np.eye(len(others)) - rest, block[others, at])
    return float(block[at, at] + block[at, others] @ below)


def _needed(block: Floats, at: int, ending: float) -> float:
    """The ending probability of row `at` over which the radius is below 1; its other weights stay in proportion."""
    if ending >= 1:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        scaled = block.copy()
        scaled[at] *= (1 - middle) / (1 - ending)
        low, high = (middle, high) if _radius(scaled) > 1 else (low, middle)
    return high


def _strong_components(edges: NDArray[np.bool_]) -> list[list[int]]:
    """Strongly connected components of a graph (Kosaraju), each in order of its nodes; without recursion."""
    size = len(edges)
    order: list[int] = []
    seen = [False] * size
    for root in range(size):
        if seen[root]:
            continue
        seen[root] = True
        stack = [(root, iter(np.flatnonzero(edges[root])))]
        while stack:
            node, following = stack[-1]
            for other in following:
                if not seen[other]:
                    seen[other] = True
                    stack.append((int(other), iter(np.flatnonzero(edges[other]))))
                    break
            else:
                order.append(node)
                stack.pop()
    components: list[list[int]] = []
    placed = [False] * size
    for root in reversed(order):
        if placed[root]:
            continue
        placed[root] = True
        members, waiting = [], [root]
        while waiting:
            node = waiting.pop()
            members.append(node)
            for other in np.flatnonzero(edges[:, node]):
                if not placed[other]:
                    placed[other] = True
                    waiting.append(int(other))
        components.append(sorted(members))
    return components


@dataclass(frozen=True, slots=True)
class Counts:
    """How many distinct derivations a grammar draws, up to each depth (in derivation nodes, from depth 1 on).

    up_to: exact numbers. total: of all depths, where the language is finite; else None. uncounted: terminals with a
    range of real numbers or endlessly many texts, each of which counts as one text.
    """

    up_to: tuple[int, ...]
    total: int | None
    uncounted: tuple[str, ...]


def count_derivations(grammar: Grammar) -> Counts:
    """Count distinct derivations exactly, to depth DEPTH, or until a number has more than DIGITS digits.

    The parser is unambiguous, so distinct derivations are distinct sentences. Alternatives with p=0 do not count.
    """
    met = set(_met(grammar))
    texts = {name: _texts(terminal) for name, terminal in grammar.terminals.items()}
    drawn = {t for rule in met for a in grammar.rules[rule] if a.weight > 0 for t in a.terminals}
    uncounted = tuple(sorted(name for name in drawn if texts[name] is None))
    endless = bool(Process.of(grammar).components())
    numbers = dict.fromkeys(met, 0)
    up_to: list[int] = []
    total = None
    for level in range(max(DEPTH, len(met) + 1)):
        after = {
            rule: sum(
                math.prod([texts[t] or 1 for t in a.terminals]) * math.prod([numbers[part] for part in a.rules])
                for a in grammar.rules[rule]
                if a.weight > 0
            )
            for rule in met
        }
        if after == numbers:
            total = numbers[grammar.start]
            break
        numbers = after
        if level < DEPTH:
            up_to.append(numbers[grammar.start])
        if max(numbers.values()) > 10**DIGITS and endless:
            break
    return Counts(tuple(up_to), total, uncounted)


def _texts(terminal: Terminal) -> int | None:
    """How many texts a terminal draws; None where it is a range of real numbers or endless."""
    if terminal.choices is not None:
        return sum(1 for _, weight in terminal.choices if weight > 0)
    if terminal.range is not None and terminal.range.integer:
        return int(terminal.range.high) - int(terminal.range.low) + 1
    return None
