"""What was measured to be good for each mode of input, and how fast it is trained.

The figures are of Adult, Fashion-MNIST (10,000 rows each), ArrowHead, ItalyPowerDemand, diabetes, wine, breast cancer,
and of made tables and series (`docs/decisions.md`). No rule asks for a data set's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from evosearch.architecture import Architecture

CACHED = 1_000_000  # weights that take a step no time of their own: what was measured has them in
FORWARD_AND_BACKWARD = 3  # times the FLOPs of forward


class Speed(NamedTuple):
    """FLOPs of forward and backward a second, scalars kept for the backward pass a second, and weights, beyond those
    that a cache holds, that a step moves a second: the time that a training takes is the sum of the three, since narrow
    layers spend theirs on memory, and those behind thousands of columns on their weights.
    """

    flops: float
    scalars: float
    weights: float = 1e8

    def seconds(self, architecture: Architecture, batch: int) -> float:
        """Of one example, forward and backward, and of its share in a step."""
        shown, weights = self._parts(architecture, batch)
        return shown + max(weights - CACHED / self.weights / batch, 0)

    def growth(self, architecture: Architecture, batch: int, seconds: float) -> float:
        """How many times as large a network like this one may be, to take so many seconds."""
        shown, weights = self._parts(architecture, batch)
        free = CACHED / self.weights / batch
        return seconds / shown if weights * seconds / shown <= free else (seconds + free) / (shown + weights)

    def _parts(self, architecture: Architecture, batch: int) -> tuple[float, float]:
        """Seconds of an example for what it takes by itself, and its share of a step for all weights."""
        cost = architecture.cost
        shown = FORWARD_AND_BACKWARD * max(cost.flops, 1) / self.flops + cost.activations / self.scalars
        return shown, cost.params / self.weights / batch


@dataclass(frozen=True)
class Rules:
    """What was measured to be good for one mode of input.

    grammar: by name. seeds: by name, the best first. scaled: those in their place where the examples' scales lie far
    apart. spare: of these, those that are kept for where none of the others fits the time.
    others: of further kinds, begun with where one fits beside the others; nothing else is planned by them.
    steps: of a candidate's training at least, so that few rows are seen often enough. epochs: at least, so that many
    are. most: epochs at most. longer: the final training's epochs, as a multiple; half of it where examples could be
    moved and may not. batches: the smallest and largest batch. speed: on one core of x86-64 (AVX-512, shared with
    others), float32. smoothing: of classes' labels.
    """

    grammar: str
    seeds: tuple[str, ...]
    steps: int
    epochs: int
    most: int
    longer: float
    batches: tuple[int, int]
    lr: float
    augment: tuple[str, ...]
    speed: Speed
    what: str
    scaled: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    share: int = 8
    smoothing: float = 0.0


RULES: Mapping[str, Rules] = {
    # 10,000 rows of Fashion-MNIST, 6 epochs: images_small 0.896 (29 s), images_medium 0.901 (40 s, one core, bfloat16);
    # judged on other rows of its train split, images_medium has 0.914 to 0.920 after 15 epochs and 0.930 after 30.
    "image": Rules(
        "images",
        ("images_medium", "images_small", "images_wide", "images_large", "images_tiny"),
        steps=300,
        epochs=6,
        most=40,
        longer=5.0,
        batches=(16, 64),
        lr=4e-3,
        augment=("shift", "flip"),
        smoothing=0.1,
        speed=Speed(1.5e11, 4e8),
        what="images",
        others=("images_mixer",),
    ),
    # 300 steps of batch 16 for 36 rows; time warps and noise helped one series and hurt another, so there are none.
    # 300 steps of batch 16, 32, 64, by folds: 0.968, 0.961, 0.959 of 617 rows, .81, .79, .76 of 400 (series_strided).
    "column": Rules(
        "series",
        ("series_inception", "series_resnet", "series_strided"),
        scaled=("series_z_inception", "series_z_resnet", "series_z_strided"),
        spare=("series_strided", "series_z_strided"),
        steps=300,
        epochs=6,
        most=400,
        longer=1.0,
        batches=(16, 64),
        share=50,
        lr=2e-3,
        augment=(),
        speed=Speed(1e11, 1.2e8),
        what="series",
    ),
    # 300 to 400 steps of batch 256 for 10,000 rows; at 1,200 a network knows them by heart (0.849 in place of 0.857).
    # Few rows, batch 32: 50, 100, 300 steps gave 0.418, 0.424, 0.402 on diabetes, 0.969, 0.975, 0.975 on breast cancer.
    "vector": Rules(
        "tables",
        ("tables_bins", "tables_ranks", "tables_waves", "tables_plain"),
        steps=150,
        epochs=8,
        most=400,
        longer=1.0,
        batches=(16, 256),
        lr=2e-3,
        augment=(),
        speed=Speed(3e10, 2e8),
        what="rows of a table",
        others=("tables_tokens",),
    ),
}

GPU = Speed(5e11, 1e10, 1e10)  # small networks; not measured
BFLOAT16 = Speed(4e11, 5.5e8)  # images, where the processor multiplies it; 12.4 s in place of 24


def fitting(mode: str) -> str:
    """The bundled grammar for inputs of a mode, for errors that say what fits."""
    return RULES[mode].grammar
