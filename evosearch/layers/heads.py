"""The former place of `evosearch.layers.library.mean_linear`."""

from evosearch.layers.library.mean_linear import MeanLinear

__all__ = ["MeanLinear"]
