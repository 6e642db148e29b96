"""evosearch: write a grammar, get a trained network.

    import evosearch
    model = evosearch.EvoSearchClassifier(budget=30).fit(X, y)      # as scikit-learn's
    study = evosearch.Study(task="data.csv", grammar="mlp")         # all that the command line can
    network = evosearch.load("runs/demo")     # a torch.nn.Module with its trained weights

This module stays light: nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.results import load
    from evosearch.sklearn import EvoSearchClassifier, EvoSearchRegressor
    from evosearch.study import Study

__version__ = "0.1.0"
__all__ = ["EvoSearchClassifier", "EvoSearchRegressor", "Study", "__version__", "load"]

_HOMES = {
    "EvoSearchClassifier": "sklearn",
    "EvoSearchRegressor": "sklearn",
    "Study": "study",
    "load": "results",
}


def __getattr__(name: str) -> object:
    """A public name, its module imported when somebody asks for it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
