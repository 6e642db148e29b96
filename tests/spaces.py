"""The bundled grammars as Spaces, read once in a test process."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from lark import Lark

from evosearch import grammar
from evosearch.architecture import Architecture, Limits, Space
from evosearch.layers import vocabulary
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evosearch.grammar.core import Grammar
    from evosearch.layers.base import Leaf, Shape

GRAMMARS = Path(__file__).resolve().parent.parent / "grammars"

# each bundled grammar with an input shape it is meant for
SHAPES: dict[str, Shape] = {
    "einspace": (3, 32, 32),
    "einspace_1d": (64, 6),
    "nasbench201": (3, 32, 32),
    "tiny_cnn": (1, 28, 28),
    "mlp": (14,),
    "images": (1, 28, 28),
    "series": (96, 2),
    "tables": (40,),
    "convnets": (3, 32, 32),
    "mobile": (3, 32, 32),
    "vit": (3, 32, 32),
    "hybrid": (3, 32, 32),
    "ofa_mbv3": (3, 64, 64),
    "darts": (3, 32, 32),
    "reparam": (3, 32, 32),
    "sequence": (64, 6),
    "nasnet": (3, 16, 16),
    "tdnn": (64, 20),
    "tabular": (16,),
}

EXPRESSIONS = """
// input: none
start: "add" "(" start "," start ")"  -> add     // p=0.2
     | "mul" "(" start "," start ")"  -> mul     // p=0.2
     | "sin" "(" start ")"            -> sin     // p=0.1
     | "x"                            -> x
     | NUMBER                         -> number
NUMBER: "1" | "2" | "3"
"""
OF_ANY_NUMBER = EXPRESSIONS.replace('"1" | "2" | "3"', "/[0-9.]+/  // range=0.5..9")


@cache
def language(name: str) -> Grammar:
    """A bundled grammar."""
    return grammar.load(GRAMMARS / f"{name}.lark")


@cache
def stock(name: str) -> Lark:
    """The same, as stock Lark reads it."""
    path = GRAMMARS / f"{name}.lark"
    return Lark(path.read_text(encoding="utf-8"), parser="lalr", strict=True, source_path=str(path))


def space(name: str, shape: Shape | None = None) -> Space:
    return _space(name, shape or SHAPES[name])


@cache
def _space(name: str, shape: Shape) -> Space:
    read = language(name)
    return Space(read, vocabulary(read), shape, Limits(max_nodes=1000))


OWN_SEEDS = ("images", "series", "tables")  # grammars whose seeds begin with their name; all others are einspace's


def language_of(seed: str) -> str:
    """The grammar that a bundled seed is written in."""
    return next((name for name in OWN_SEEDS if seed.startswith(f"{name}_")), "einspace")


def seed(name: str, shape: Shape | None = None) -> Architecture:
    """A bundled seed, in einspace's language."""
    there = space("einspace", shape)
    return there.read(there.parse((GRAMMARS / "seeds" / f"{name}.arch").read_text()))


def with_head(architecture: Architecture, head: Leaf) -> Architecture:
    """The same network with another head."""
    x = architecture.output
    return dataclasses.replace(architecture, head=Node(head, x, head.shape(x)))


def headed(architecture: Architecture, outputs: int) -> Architecture:
    """The network with the usual head of so many outputs."""
    return with_head(architecture, MeanLinear(outputs))


def samples(
    name: str, count: int, *, shape: Shape | None = None, seed: int = 0, limits: Limits | None = None
) -> Iterator[Architecture]:
    """So many samples within the limits."""
    there, rng = space(name, shape), np.random.default_rng(seed)
    limits = limits or Limits()
    while count:
        architecture = there.read(there.draw(rng))
        if limits.exceeded(architecture.cost) is None:
            count -= 1
            yield architecture
