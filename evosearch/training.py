"""The names of evosearch.evaluation as they were in one module."""

from __future__ import annotations

from evosearch.evaluation.failures import failed, one_line
from evosearch.evaluation.fit import Trained, final_train, train, warm_up
from evosearch.evaluation.memory import memory_estimate
from evosearch.evaluation.recipe import DIGITS, Recipe, check
from evosearch.evaluation.stopping.median import medians

__all__ = [
    "DIGITS",
    "Recipe",
    "Trained",
    "check",
    "failed",
    "final_train",
    "medians",
    "memory_estimate",
    "one_line",
    "train",
    "warm_up",
]
