"""The words a grammar may use: each one class with its shape rule, cost and code. See `evosearch.layers.base`."""

from __future__ import annotations

from evosearch.cost import Cost
from evosearch.layers.base import Combinator, Leaf, Shape, ShapeError, Want, Word, register, show
from evosearch.layers.vocabulary import LayerSpec, Vocabulary, load_layers, vocabulary

__all__ = [
    "Combinator",
    "Cost",
    "LayerSpec",
    "Leaf",
    "Shape",
    "ShapeError",
    "Vocabulary",
    "Want",
    "Word",
    "load_layers",
    "register",
    "show",
    "vocabulary",
]
