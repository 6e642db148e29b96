"""evosearch: write a grammar, get a trained network.

    import evosearch
    model = evosearch.load("runs/demo/best")     # a torch.nn.Module with its trained weights

This module stays light: nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

__version__ = "0.1.0"
__all__ = ["__version__", "load"]
