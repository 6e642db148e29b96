"""Several answers as one, of several networks or of an example and its mirror image, and how networks are chosen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evosearch import ranges
from evosearch.ranges import Natural, Positive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from evosearch.architecture import Architecture
    from evosearch.cost import Cost
    from evosearch.layers.base import Shape

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class EnsembleSettings:
    """How the network that a run keeps is made of several.

    members: networks that are trained for it on held-out data, of which the best mix is chosen; 0: as many as the time
        allows, and a single one where the run has no time given; 1: a single network.
    candidates: different candidates among them, at the most.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    members: Natural = 0
    candidates: Positive = 4

    def __post_init__(self) -> None:
        ranges.check(self, "ensemble")


@dataclass(frozen=True)
class Averaging:
    """How a mean is taken over networks, in Python source that torch runs.

    averaged: of a network's {out}, (B, outputs), what the mean is taken of. outputs: of that {mean}, what one network
    alone would have given.
    """

    averaged: str = "{out}"
    outputs: str = "{mean}"

    def to_average(self, out: Array) -> Array:
        """What the mean is taken of, for outputs (N, outputs)."""
        return self._of_array(self.averaged.format(out="x"), out)

    def to_outputs(self, mean: Array) -> Array:
        """A mean, (N, outputs), as outputs."""
        return self._of_array(self.outputs.format(mean="x"), mean)

    def weighted(self, outputs: Sequence[Array], weights: Sequence[float]) -> Array:
        """Outputs (N, outputs) of several networks for the same examples as one, by weights whose sum is 1."""
        mean = sum(w * self.to_average(out) for w, out in zip(weights, outputs, strict=True))
        return self.to_outputs(np.asarray(mean, outputs[0].dtype))

    def mean(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several outputs (B, outputs) for the same examples as one."""
        averaged = [self._run(self.averaged.format(out="x"), out) for out in outputs]
        return self._run(self.outputs.format(mean="x"), sum(averaged[1:], averaged[0]) / len(averaged))

    def _of_array(self, source: str, x: Array) -> Array:
        import torch

        found: Array = self._run(source, torch.from_numpy(x)).numpy()
        return found

    def _run(self, source: str, x: Tensor) -> Tensor:
        import torch

        found: Tensor = eval(source, {"torch": torch, "x": x})  # noqa: S307 - a kind's own
        return found


@dataclass(frozen=True)
class Ensemble:
    """Trained networks of which a weighted mean is taken; one alone where it is asked about mirror images too.

    members: the architecture of each, the same one again for each of its seeds; the first is the best single network.
    weights: of each, above 0, their sum 1. mirrored: each network answers by the mean over an image and its mirror
    image, left to right.
    """

    members: tuple[Architecture, ...]
    weights: tuple[float, ...]
    averaging: Averaging
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not self.members or len(self.members) != len(self.weights) or min(self.weights) <= 0:
            raise ValueError(f"{len(self.members)} members with weights {self.weights}; each has one above 0")

    @property
    def key(self) -> str:
        """Of the first member."""
        return self.members[0].key

    @property
    def text(self) -> str:
        """Of the first member."""
        return self.members[0].text

    @property
    def input(self) -> Shape:
        return self.members[0].input

    @property
    def head(self) -> Any:
        return self.members[0].head

    @cached_property
    def cost(self) -> Cost:
        """Of all members together."""
        first, *others = (member.cost for member in self.members)
        found = sum(others, first)
        return replace(found, flops=2 * found.flops) if self.mirrored else found

    def described(self) -> list[dict[str, Any]]:
        """Each member's sentence and weight, as plain data."""
        return [{"architecture": m.text, "weight": w} for m, w in zip(self.members, self.weights, strict=True)]


def select(
    outputs: Sequence[Array],
    averaging: Averaging,
    worth: Callable[[Array], float],
    *,
    start: Sequence[int] = (),
    rounds: int = 25,
) -> tuple[float, ...]:
    """The weight of each network in an ensemble, by greedy forward selection with replacement.

    Caruana et al. 2004 ("Ensemble selection from libraries of models"): from nothing, the network is added, again where
    it is in already, with which the mean is best; of the ensembles on the way the best one is taken, of equals the
    smallest. Its first step takes the best single network, so that the ensemble is never worse than that one is where
    it was chosen. The first network wins among equal ones. With a start it begins with these networks, once each, and
    none of them leaves: where there are few examples to choose by, those that are good beforehand keep the choice from
    fitting noise (section 3.1, "sorted ensemble initialization").

    outputs: (N, outputs) of each network on examples that it was not trained on. worth: of outputs; larger is better.
    start: places of networks. rounds: networks at the most, counted as often as they are in. Returns weights that sum
    to 1; 0 for networks that are left out.
    """
    if not outputs:
        raise ValueError("an ensemble of no networks")
    each = [averaging.to_average(out) for out in outputs]
    total = np.zeros_like(each[0], dtype=np.float64)
    chosen: list[int] = []
    best, best_size = -np.inf, 0
    if start:
        chosen = list(start)
        total = np.sum([each[number] for number in chosen], axis=0, dtype=np.float64)
        best, best_size = worth(averaging.to_outputs((total / len(chosen)).astype(each[0].dtype))), len(chosen)
    for size in range(len(chosen) + 1, max(rounds, len(chosen)) + 1):
        values = [worth(averaging.to_outputs(((total + one) / size).astype(one.dtype))) for one in each]
        number = int(np.argmax(values))
        total += each[number]
        chosen.append(number)
        if values[number] > best:
            best, best_size = values[number], size
    counts = Counter(chosen[:best_size] or [0])
    size = sum(counts.values())
    return tuple(counts[number] / size for number in range(len(outputs)))


__all__ = ["Averaging", "Ensemble", "EnsembleSettings", "select"]
