"""evosearch: write a grammar, get a trained network.

    import evosearch
    network = evosearch.load("runs/demo")     # a torch.nn.Module with its trained weights

This module stays light: nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(folder: Path | str, layers: Sequence[Path | str] = ()) -> nn.Module:
    """The best network of a run with its trained weights, in evaluation mode; see `evosearch.results.load`."""
    from evosearch import results

    return results.load(folder, layers)
