"""Large trees: what is found without walking them is what a walk finds, and a mutation costs what it changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evosearch import grammar
from evosearch.architecture import Limits, Space
from evosearch.grammar import sentences
from evosearch.grammar.core import Alternative, Derivation, SymbolKind
from evosearch.variation import by_shapes, choices, inside, pairs, permuted, shuffled
from tests.test_operators import EXPRESSIONS

WORDS = """
// input: none
start: "let" name "be" start -> bind
     | "say" name name* -> say // p=0.01
name: "a" -> a | "be" -> be | "let" -> let
%ignore " "
"""
SUMS = """
// input: none
start: "(" start "+" start ")" -> add // p=0.49
     | "x" -> x | "y" -> y
"""


def opened(source: str, max_nodes: int = 1_000) -> Space:
    return Space(grammar.loads(source), None, None, Limits(max_nodes=max_nodes, max_depth=80))


@pytest.fixture(scope="module", params=[EXPRESSIONS, SUMS, WORDS], ids=["expressions", "sums", "words"])
def drawn(request: pytest.FixtureRequest) -> tuple[Space, list[Derivation]]:
    """A space with small trees and large ones."""
    space, rng = opened(request.param), np.random.default_rng(0)
    found = [space.draw(rng) for _ in range(200)]
    return space, [*found[:10], *sorted(found, key=lambda one: -one.size)[:5]]


def walked(derivation: Derivation, *, backwards: bool = False) -> Iterator[tuple[tuple[int, ...], Derivation]]:
    """Every node with its path, in preorder, the parts from the first or from the last."""
    yield (), derivation
    for index in sorted(range(len(derivation.parts)), reverse=backwards):
        for path, node in walked(derivation.parts[index], backwards=backwards):
            yield (index, *path), node


def test_sites_are_the_nodes_in_preorder(drawn: tuple[Space, list[Derivation]]) -> None:
    space, derivations = drawn
    for derivation in derivations:
        sites = space.sites(derivation)
        expected = list(walked(derivation))
        assert [(site.path, site.derivation) for site in sites] == expected
        assert [site.path for site in sites[1:][::-1]] == [path for path, _ in expected[1:][::-1]]
        assert sites[-1].path == expected[-1][0]
        for index, (path, node) in enumerate(expected):
            within = inside(sites, index)
            assert len(within) == node.size - 1
            assert all(site.path[: len(path)] == path for site in within)
        assert list(by_shapes(sites)) == [(None, None)]
        with pytest.raises(IndexError):
            sites[derivation.size]


def test_choices_are_the_nodes_at_which_something_else_could_stand(drawn: tuple[Space, list[Derivation]]) -> None:
    space, derivations = drawn

    def is_open(alternative: Alternative) -> bool:
        others = [other for other in space.grammar.rules[alternative.rule] if other is not alternative]
        return bool(alternative.terminals) or any(
            other.rules == alternative.rules and other.weight > 0 for other in others
        )

    for derivation in derivations:
        expected = [entry for entry in walked(derivation, backwards=True) if is_open(entry[1].alternative)]
        found = choices(derivation, space)
        assert list(found) == expected
        assert found[1:3] == expected[1:3]


def test_a_text_is_that_of_all_symbols_in_order(
    drawn: tuple[Space, list[Derivation]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its sub-trees' texts were kept: with a space where two words would run together, and nowhere else."""
    monkeypatch.setattr(sentences, "SMALL", 20)
    space, derivations = drawn
    joins = space.grammar.parser.joins

    def symbols(derivation: Derivation) -> Iterator[str]:
        tokens, parts = iter(derivation.tokens), iter(derivation.parts)
        for symbol in derivation.alternative.symbols:
            if symbol.kind is SymbolKind.RULE:
                yield from symbols(next(parts))
            else:
                yield next(tokens) if symbol.kind is SymbolKind.TERMINAL else symbol.name

    for derivation in derivations:
        written = ""
        for text in symbols(derivation):
            written += (" " if written and written[-1] + text[0] in joins else "") + text
        assert space.render(derivation) == written
        assert space.parse(written) is derivation
    assert any(derivation.size > sentences.SMALL for derivation in derivations)


def test_writing_an_offspring_costs_what_it_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One leaf of a thousand nodes is another: its path is written anew, and no more than one small sub-tree."""
    space = opened(SUMS)
    tree = space.parse("x")
    for _ in range(9):
        tree = Derivation(space.grammar.rules["start"][0], (), (tree, tree))
    halves = [tree, tree.replace((0,) * 9, space.parse("y"))]
    space.render(halves[0])
    steps: list[Alternative] = []
    plan = sentences._steps

    def counted(alternative: Alternative, parser: Any) -> tuple[str | int, ...]:
        steps.append(alternative)
        return plan(alternative, parser)

    monkeypatch.setattr(sentences, "_steps", counted)
    assert space.render(halves[1]) == space.render(halves[0]).replace("x", "y", 1)
    assert halves[1].size == 1_023
    assert len(steps) < 2**5 + 10


@given(st.integers(0, 40), st.integers(0, 2**32))
def test_a_shuffle_draws_as_fisher_and_yates_do(size: int, seed: int) -> None:
    """One number for each item that is asked for; a permutation draws them all, and gives the same order."""

    def plain(items: Sequence[int], rng: np.random.Generator) -> Iterator[int]:
        left = list(items)
        while left:
            index = int(rng.random() * len(left))
            left[index], left[-1] = left[-1], left[index]
            yield left.pop()

    rngs = [np.random.default_rng(seed) for _ in range(3)]
    expected = list(plain(range(size), rngs[0]))
    assert list(shuffled(range(size), rngs[1])) == expected
    assert list(permuted(range(size), rngs[2])) == expected
    assert len({rng.random() for rng in rngs}) == 1
    lazy, whole = np.random.default_rng(seed), np.random.default_rng(seed)
    assert list(islice(shuffled(range(size), lazy), 3)) == expected[:3]
    assert lazy.random() == np.random.default_rng(seed).random(min(size, 3) + 1)[-1]
    permuted(range(size), whole)
    assert whole.random() == np.random.default_rng(seed).random(size + 1)[-1]


@given(st.integers(0, 9), st.integers(0, 40))
def test_pairs_are_combinations_that_take_no_more_than_they_need(size: int, asked: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(size):
            taken.append(item)
            yield item

    found = list(islice(pairs(items()), asked))
    expected = list(combinations(range(size), 2))[:asked]
    assert found == expected
    assert len(taken) <= max((b for _, b in expected), default=0) + 2
