"""What derivations say of a grammar's weights: Dirichlet counts over the choices that its file states.

A *choice* is what the file gives weights to: the alternatives of a rule, the texts of a terminal, and whether a list of
`*` or `+` goes on. Its posterior mean under a Dirichlet prior of the file's own weights is

    (concentration p_i + n_i) / (concentration + n),    n_i: how often the derivations chose i

and is mixed with the file's weights, so that nothing that the file can draw is ever ruled out by chance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evosearch.grammar.core import Alternative, SymbolKind, Terminal
from evosearch.grammar.expansion import written
from evosearch.grammar.mistakes import Source
from evosearch.grammar.notation import Branch, Definition, Literal, Override, Repeat, read
from evosearch.grammar.terminals import GO_ON, repetitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from evosearch.grammar.core import Derivation, Grammar

CONCENTRATION = 5.0  # observations that the file's own weights count for
MIX = 0.05  # share of the file's own weights in what is learned
UNIT = 1e-4  # a learned weight is a whole number of these, and at least one where the file's was above 0

Slot = tuple[int, int]  # a choice and one of its options, by their places in `Choices.all`


@dataclass(frozen=True)
class StatedChoice:
    """One choice that a grammar's main file states.

    name: the rule's or terminal's. options: what may be chosen, as written; of a list, whether it goes on or ends.
    prior: their probabilities. at: of a list, the alternatives that state its `more`, each a definition and a place
    in it; empty where the options are the definition's own alternatives.
    """

    name: str
    options: tuple[str, ...]
    prior: tuple[float, ...]
    at: tuple[tuple[str, int], ...] = ()


class Choices:
    """The choices of a grammar, and which of them each node of a derivation made.

    Left out, and left as they are when a grammar is learned: what imported files state, numeric ranges, terminals made
    of anything but strings, groups and options, and rules two alternatives of which are written alike.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.main, text = next(iter(grammar.source.items()))
        self.all: list[StatedChoice] = []
        self._rules: dict[Alternative, list[Slot]] = defaultdict(list)
        self._texts: dict[tuple[str, str], Slot] = {}
        items = read(Source(self.main, text)).definitions
        definitions = [item.definition if isinstance(item, Override) else item for item in items]
        for definition in definitions:
            if len(definition.branches) > 1:
                self._add_terminal(definition) if definition.is_terminal else self._add_rule(definition)
        self._add_lists([one for one in definitions if not one.is_terminal])

    def count(self, derivations: Iterable[Derivation]) -> Counter[Slot]:
        """How often the derivations chose each option."""
        found: Counter[Slot] = Counter()
        for derivation in derivations:
            for node in derivation.walk():
                found.update(self._rules.get(node.alternative, ()))
                for name, token in zip(node.alternative.terminals, node.tokens, strict=True):
                    slot = self._texts.get((name, token))
                    if slot is not None:
                        found[slot] += 1
        return found

    def weights(self, probabilities: Sequence[Sequence[float]]) -> tuple[dict[Alternative, float], dict[str, Terminal]]:
        """Alternatives' weights, and terminals, where the choices have these probabilities; those that change."""
        scale = [
            [after / before if before else 0.0 for before, after in zip(choice.prior, new, strict=True)]
            for choice, new in zip(self.all, probabilities, strict=True)
        ]
        weights = {}
        for alternative, slots in self._rules.items():
            weight = alternative.weight
            for choice, option in slots:
                weight *= scale[choice][option]
            weights[alternative] = weight
        terminals: dict[str, Terminal] = {}
        for (name, _), (choice, _) in self._texts.items():
            if name not in terminals:
                old = self.grammar.terminals[name]
                pairs = [
                    (text, weight * scale[choice][self._texts[name, text][1]]) for text, weight in old.choices or ()
                ]
                terminals[name] = replace(old, choices=tuple(pairs))
        return weights, terminals

    def _add_rule(self, definition: Definition) -> None:
        at = {(branch.place.line, branch.place.column): index for index, branch in enumerate(definition.branches)}
        rules = [
            alternatives
            for alternatives in self.grammar.rules.values()
            if any(self._is_own(one) and (one.line, one.column) in at for one in alternatives)
            and not _is_list(alternatives)
        ]
        shares: list[list[float]] = []
        for alternatives in rules:
            if not all(self._is_own(one) and (one.line, one.column) in at for one in alternatives):
                return
            share = [0.0] * len(at)
            for one in alternatives:
                share[at[one.line, one.column]] += one.weight
            if {at[one.line, one.column] for one in alternatives} != set(at.values()):
                return
            shares.append(share)
        if not rules:
            return
        for alternatives in rules:
            for one in alternatives:
                self._rules[one].append((len(self.all), at[one.line, one.column]))
        self.all.append(StatedChoice(definition.name, tuple(map(_shown, definition.branches)), tuple(shares[0])))

    def _add_terminal(self, definition: Definition) -> None:
        terminal = self.grammar.terminals.get(definition.name)
        items = [branch.items[0] for branch in definition.branches if len(branch.items) == 1]
        texts = [item.text for item in items if isinstance(item, Literal)]
        if terminal is None or terminal.choices is None or terminal.line != definition.place.line:
            return
        if len(set(texts)) < len(definition.branches) or set(texts) != {text for text, _ in terminal.choices}:
            return
        known = dict(terminal.choices)
        for index, text in enumerate(texts):
            self._texts[definition.name, text] = (len(self.all), index)
        self.all.append(StatedChoice(definition.name, tuple(texts), tuple(known[text] for text in texts)))

    def _add_lists(self, definitions: Sequence[Definition]) -> None:
        """The lists whose length the file states, each with all alternatives that share its helper rule."""
        stating: dict[str, list[tuple[str, int, float, tuple[Alternative, ...]]]] = defaultdict(list)
        for definition in definitions:
            for index, branch in enumerate(definition.branches):
                made = tuple(self._made_of(branch))
                helpers = {name for one in made for name in one.rules if _is_list(self.grammar.rules[name])}
                direct = any(isinstance(item, Repeat) and item.operator in "*+" for item in branch.items)
                if len(helpers) == 1 and len(repetitions(branch)) == 1 and direct:
                    more = GO_ON if branch.settings.more is None else branch.settings.more
                    stating[helpers.pop()].append((definition.name, index, more, made))
        for helper, stated in stating.items():
            known = {one for *_, made in stated for one in made} | set(self.grammar.rules[helper])
            using = {one for one in self._alternatives() if helper in one.rules}
            more = stated[0][2]
            if not using <= known or any(other != more for _, _, other, _ in stated) or not 0 < more < 1:
                continue
            name = ", ".join(dict.fromkeys(name for name, *_ in stated))
            at = tuple((name, index) for name, index, *_ in stated)
            # of `+` the first item is there in any case: only the helper's own alternatives say how long it is
            first_is_sure = {one for *_, made in stated if all(helper in other.rules for other in made) for one in made}
            for one in known - first_is_sure:
                self._rules[one].append((len(self.all), 0 if helper in one.rules else 1))
            self.all.append(StatedChoice(name, ("goes on", "ends"), (more, 1 - more), at))

    def _made_of(self, branch: Branch) -> Iterator[Alternative]:
        place = branch.place.line, branch.place.column
        for one in self._alternatives():
            if self._is_own(one) and (one.line, one.column) == place and not one.rule.startswith("__"):
                yield one

    def _alternatives(self) -> Iterator[Alternative]:
        for alternatives in self.grammar.rules.values():
            yield from alternatives

    def _is_own(self, alternative: Alternative) -> bool:
        return alternative.file == self.main


def _is_list(alternatives: Sequence[Alternative]) -> bool:
    """Whether a rule is the helper of `x+`: an item, or itself and an item."""
    rule = alternatives[0].rule
    return rule.startswith("__") and any(
        one.symbols[0].kind is SymbolKind.RULE and one.symbols[0].name == rule for one in alternatives
    )


def _shown(branch: Branch) -> str:
    items = " ".join(map(written, branch.items))
    return f"{items} -> {branch.alias}" if branch.alias else items


@dataclass(frozen=True)
class Learned:
    """A grammar's choices with the probabilities that derivations gave them.

    counts: how often each option was chosen. probabilities: of each choice, whole multiples of UNIT where they changed.
    pruned: options with probability 0 since something said that they do harm.
    """

    choices: Choices
    counts: Mapping[Slot, int]
    probabilities: tuple[tuple[float, ...], ...]
    pruned: frozenset[Slot] = frozenset()

    def changed(self) -> list[int]:
        """The choices whose probabilities are not the file's."""
        return [
            index
            for index, choice in enumerate(self.choices.all)
            if any(abs(a - b) > UNIT / 2 for a, b in zip(choice.prior, self.probabilities[index], strict=True))
        ]


def learn(
    choices: Choices,
    counts: Mapping[Slot, int],
    *,
    concentration: float = CONCENTRATION,
    mix: float = MIX,
    pruned: Iterable[Slot] = (),
) -> Learned:
    """The choices' probabilities after so many observations.

    concentration: observations that the file's weights count for. mix: share of the file's own weights in the result,
    0 to 1. pruned: options that get probability 0; the last option that a choice has left stays.
    """
    out = set(pruned)
    found = []
    for index, choice in enumerate(choices.all):
        seen = np.array([counts.get((index, option), 0) for option in range(len(choice.options))], dtype=float)
        prior = np.array(choice.prior)
        seen[prior == 0] = 0  # what the file never draws stays so, though a seed may hold it
        if not seen.any() and not any(slot[0] == index for slot in out):
            found.append(choice.prior)
            continue
        posterior = (concentration * prior + seen) / (concentration + seen.sum())
        wanted = (1 - mix) * posterior + mix * prior
        keeping = np.array([(index, option) not in out for option in range(len(prior))])
        if choice.at or not (wanted * keeping).any():
            out -= {slot for slot in out if slot[0] == index}
        else:
            wanted = wanted * keeping
        found.append(_rounded(wanted / wanted.sum()))
    return Learned(choices, dict(counts), tuple(found), frozenset(out))


def _rounded(weights: NDArray[np.float64]) -> tuple[float, ...]:
    """Whole multiples of UNIT that sum to 1, those above 0 at least one, by largest remainders."""
    whole = round(1 / UNIT)
    units = np.maximum(np.floor(weights * whole), weights > 0)
    order = np.argsort(-(weights * whole - units), kind="stable")
    left = int(whole - units.sum())
    for index in order[: max(left, 0)]:
        units[index] += 1
    if left < 0:
        units[int(units.argmax())] += left
    return tuple(float(unit) / whole for unit in units)
