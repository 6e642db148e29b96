"""Evolutionary operators: what they draw from, and the check that they keep their contract.

Where their files lie, and how they are found, is told in evosearch.plugins, with the other kinds of plug-ins.
"""

from __future__ import annotations

import random  # noqa: TID251 - DEAP's selection draws from it, and has it seeded by the two functions below
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import OperatorError
from evosearch.plugins import KINDS, Operator, Operators, find, load
from evosearch.variation import one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation
    from evosearch.individual import Individual


def global_generators() -> tuple[Any, ...]:
    """The states of Python's and numpy's global generators, to see that nobody drew from them."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - read, never drawn from
    return (random.getstate(), name, np.asarray(keys).tobytes(), *rest)


@contextmanager
def seeded_random(rng: np.random.Generator) -> Iterator[None]:
    """Python's global `random`, seeded from `rng` inside the block and put back after it."""
    before = random.getstate()
    random.seed(int(rng.integers(2**63)))
    try:
        yield
    finally:
        random.setstate(before)


@contextmanager
def seeded_selection(rng: np.random.Generator) -> Iterator[Any]:
    """`deap.tools.selection`, which inside the block draws what it would from Python's `random` seeded from `rng`.

    Cheaper than `seeded_random`: the 2,500 bytes of the global generator's state are neither kept nor put back.
    """
    from deap.tools import selection

    usual = selection.random
    selection.random = random.Random(int(rng.integers(2**63)))
    try:
        yield selection
    finally:
        selection.random = usual


# Conformance: what every operator promises, checked


def conform(
    operator: Operator,
    space: Space,
    parents: Sequence[Derivation],
    *,
    population: Sequence[Individual] = (),
    seed: int = 0,
    trials: int = 50,
) -> int:
    """Run an operator `trials` times and check its contract; the number of offspring it made.

    Offspring are derivations from the start rule that fit the space's input, are read back from their own text, and
    stay within the node limit. The same randomness gives the same offspring, the global generators are left alone,
    and parents, being immutable, are still what their text says. Selection returns k members of the population.

    Raises OperatorError that says which promise was broken and by what.
    """
    texts = [space.render(parent) for parent in parents]
    made = 0
    for trial in range(trials):
        first = _offspring(operator, space, parents, population, (seed, trial))
        again = _offspring(operator, space, parents, population, (seed, trial))
        if len(first) != len(again) or any(a is not b for a, b in zip(first, again, strict=True)):
            raise _broken(operator, "gave two results for the same rng; draw from the rng it is given alone")
        made += len(first)
        if operator.kind != "select":
            for child in first:
                _check_child(operator, space, child)
    for parent, text in zip(parents, texts, strict=True):
        if space.render(parent) != text:
            raise _broken(operator, f"changed its parent {text}")
    return made


def _offspring(
    operator: Operator,
    space: Space,
    parents: Sequence[Derivation],
    population: Sequence[Individual],
    seed: tuple[int, int],
) -> list[Any]:
    rng = np.random.default_rng(seed)
    before = global_generators()
    if operator.kind == "initialise":
        made = list(islice(operator(space, tuple(parents), rng), len(parents) + 3))
    elif operator.kind == "select":
        members = list(population)
        k = 1 + seed[1] % len(members)
        made = operator(members, k, rng)
        if not isinstance(made, list) or len(made) != k:
            raise _broken(operator, f"was asked for {k} individuals; return a list of so many")
        if any(all(one is not member for member in members) for one in made):
            raise _broken(operator, "returned something that is not in the population it was given")
    else:
        count = 2 if operator.kind == "crossover" else 1
        chosen = [one_of(parents, rng) for _ in range(count)]
        child = operator(*chosen, space, rng)
        made = [] if child is None else [child]
    if global_generators() != before:
        raise _broken(operator, "drew from a global generator; draw from the rng it is given")
    return made


def _check_child(operator: Operator, space: Space, child: Derivation) -> None:
    text = space.render(child)
    if space.parse(text) is not child:
        raise _broken(operator, f"made a derivation that is not in the language: {text}")
    if child.size > space.limits.max_nodes:
        limit = space.limits.max_nodes
        raise _broken(operator, f"made {child.size} nodes, over max_nodes={limit}; see evosearch.variation.room")
    if not space.fits(child):
        raise _broken(operator, f"made an offspring whose shapes do not fit: {text}")


def _broken(operator: Operator, what: str) -> OperatorError:
    return OperatorError(f"{operator.path}: {operator.kind} operator {operator.name!r} {what}")


__all__ = ["KINDS", "Operator", "Operators", "conform", "find", "load", "seeded_random", "seeded_selection"]
