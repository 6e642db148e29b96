"""Problems for comparing searches whose scores cost next to nothing, as functions that a function task calls.

evolve bench --task tests.bench.problems:norms --grammar einspace
evolve bench --task tests.bench.problems:quartic --grammar tests/bench/symbolic.lark
"""

from __future__ import annotations

import itertools
import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.grammar.core import Derivation


def norms(text: str, derivation: Derivation, seed: int) -> float:
    """How many normalisations a network of einspace has. Made up so that the good operators are known.

    `repeat_block` doubles what a block has and `insert_around` may add one; `swap_subtrees` never changes the count,
    `remove_node` only lowers it.
    """
    return math.log2(1 + text.count("norm"))


norms.input_shape = (3, 32, 32)  # type: ignore[attr-defined]


def planted(text: str, derivation: Derivation, seed: int) -> float:
    """What stands below what in a network of einspace: each such pair has a worth of -1 to 1 that its name's hash gave
    it, counts once however often it is there, and the seed adds noise of 0 to 1. Neither size nor a single layer
    makes a network good.
    """
    there = {
        (above.alternative, place, below.alternative)
        for above in derivation.walk()
        for place, below in enumerate(above.parts)
    }
    named = (f"{above.rule} {above.index} {place} {below.rule} {below.index}" for above, place, below in there)
    return sum(zlib.crc32(name.encode()) % 2001 / 1000 - 1 for name in named) + seed % 1000 / 1000


planted.input_shape = (3, 32, 32)  # type: ignore[attr-defined]


def ordered(text: str, derivation: Derivation, seed: int) -> float:
    """How many letters stand in the order of the alphabet, and a little by the seed, so that few are equal."""
    return sum(a <= b for a, b in itertools.pairwise(text)) + seed % 1000 / 2000


def sized(text: str, derivation: Derivation, seed: int) -> float:
    """How near a tree is to 900 nodes, and a little by the seed: a search of trees that are all large."""
    return -abs(derivation.size - 900) + seed % 1000 / 2000


# Koza 1992, section 7.3: x^4 + x^3 + x^2 + x on 20 points of [-1, 1].
POINTS = np.linspace(-1, 1, 20)
TARGET = POINTS**4 + POINTS**3 + POINTS**2 + POINTS


def quartic(text: str, derivation: Derivation, seed: int) -> float:
    """Koza's adjusted fitness 1 / (1 + sum of absolute errors) of an expression; 1 is the target itself."""
    with np.errstate(all="ignore"):
        values = _evaluate(derivation)
    error = float(np.abs(values - TARGET).sum())
    return 1 / (1 + error) if math.isfinite(error) else 0.0


def _evaluate(derivation: Derivation) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The expression at POINTS, with Koza's protected division and logarithm. Without recursion."""
    values: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    for node in reversed(list(derivation.walk())):
        match node.alternative.layer:
            case "x":
                values.append(POINTS)
            case "one":
                values.append(np.ones_like(POINTS))
            case "add":
                values.append(values.pop() + values.pop())
            case "sub":
                values.append(values.pop() - values.pop())
            case "mul":
                values.append(values.pop() * values.pop())
            case "div":
                top, bottom = values.pop(), values.pop()
                values.append(np.where(bottom == 0, 1.0, top / np.where(bottom == 0, 1.0, bottom)))
            case "sin":
                values.append(np.sin(values.pop()))
            case "cos":
                values.append(np.cos(values.pop()))
            case "exp":
                values.append(np.exp(values.pop()))
            case "log":
                argument = np.abs(values.pop())
                values.append(np.where(argument == 0, 0.0, np.log(np.where(argument == 0, 1.0, argument))))
            case other:
                raise ValueError(f"no operation {other!r}")
    return values.pop()
