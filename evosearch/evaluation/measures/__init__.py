"""What a search may optimise: each measure is one file with one class, and here is the one table of objectives.

    objectives = ["accuracy", "params"]         # in the table: better as it is usually meant
    objectives = ["+margin", "-tokens"]         # a person's own: the sign says what is better

Whoever asks for an objective's name, sign or unit asks this table. Nothing here imports torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from evosearch.errors import ConfigError
from evosearch.evaluation.hardware import HardwareSettings
from evosearch.evaluation.measures.activations import Activations
from evosearch.evaluation.measures.adaptive_ece import AdaptiveEce
from evosearch.evaluation.measures.bitops import Bitops
from evosearch.evaluation.measures.brier import Brier
from evosearch.evaluation.measures.bytes import Bytes
from evosearch.evaluation.measures.ece import Ece
from evosearch.evaluation.measures.energy import Energy
from evosearch.evaluation.measures.error import Error
from evosearch.evaluation.measures.flops import Flops
from evosearch.evaluation.measures.latency import Latency
from evosearch.evaluation.measures.log_loss import LogLoss
from evosearch.evaluation.measures.memory import Memory
from evosearch.evaluation.measures.metric import Metric
from evosearch.evaluation.measures.mnas_hard import MnasHard
from evosearch.evaluation.measures.mnas_soft import MnasSoft
from evosearch.evaluation.measures.modules import Modules
from evosearch.evaluation.measures.params import Params
from evosearch.evaluation.measures.piece import Piece
from evosearch.evaluation.measures.robustness import Robustness
from evosearch.evaluation.measures.seconds import Seconds
from evosearch.evaluation.measures.table_latency import TableLatency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from evosearch.evaluation.fit import Trained
    from evosearch.tasks.base import Task


class Measure(Protocol):
    """A figure of a trained network.

    sign: 1 where larger is better, -1 where smaller is. unit: what the figure counts, as a chart's axis says it.
    timed: whether it is a time, and so another one each time.

    Beside these one may have `lacking(task)`: what a task has none of without which it has no such figure, as in
    "classes", empty where it has all; a run that asks for the figure is then refused before it begins. And
    `beside(trained, task)`, further figures by name; `require(device)`, which raises ConfigError where this machine
    cannot give it; `version`, what its figures hang on, where that is more than its settings.
    """

    @property
    def name(self) -> str: ...
    @property
    def sign(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def timed(self) -> bool: ...

    def value(self, trained: Trained, task: Task) -> float | None:
        """The figure of a network whose training went well; None where such a task has none."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One of a search's objectives; `sign` is -1 where it is minimised."""

    name: str
    sign: int

    def __str__(self) -> str:
        return f"{'-' if self.sign < 0 else '+'}{self.name}"


OF_ANY: tuple[Measure, ...] = (Params(), Flops(), Activations(), Modules(), Seconds())


def on_demand(settings: HardwareSettings) -> tuple[Measure, ...]:
    """The measures that cost time, or are of no use to most: taken where a search has them among its objectives."""
    measured = (Latency, Energy, TableLatency, MnasSoft, MnasHard)
    counted = (Ece(), AdaptiveEce(), Brier(), LogLoss(), Piece(), Robustness(), Memory(), Bytes(), Bitops())
    return (*counted, *(made(settings) for made in measured))


MEASURES: Mapping[str, Measure] = {m.name: m for m in (Error(), *OF_ANY, *on_demand(HardwareSettings()))}
# Figures that a task has by itself: metrics of the task kinds, what a function returns that names nothing, losses.
SIGNS: Mapping[str, int] = {
    **{name: measure.sign for name, measure in MEASURES.items()},
    **dict.fromkeys(("fitness", "accuracy", "balanced_accuracy", "macro_f1", "r2"), 1),
    **dict.fromkeys(("loss", "mse"), -1),
}
# A column of a recorded benchmark: the split before a name of the table, the epochs behind it.
COLUMN = re.compile(r"(?:(?:train|valid|validation|val|test)(?:_|$))?(?P<name>.*?)(?:_\d+ep)?")


def of_networks(task: Task) -> tuple[Measure, ...]:
    """The measures of networks that are trained on a task, its metric first."""
    rate = (Error(),) if task.measure.error else ()
    return (Metric(task.metric, task.measure.sign), *rate, *OF_ANY)


def asked(
    names: Iterable[str],
    classes: Mapping[str, Callable[[], Measure]],
    settings: HardwareSettings,
    *,
    usual: bool = True,
) -> tuple[Measure, ...]:
    """The measures among the names that are taken only where a search asks: a person's own, and those on demand.

    classes: a person's own, each made without arguments; they go before bundled ones of the same name. usual: whether
    the evaluator is; one of a person's own may measure what it likes under those names.
    """
    bundled = {measure.name: measure for measure in on_demand(settings)} if usual else {}
    return tuple(classes[n]() if n in classes else bundled[n] for n in names if n in classes or n in bundled)


def name_of(text: str) -> str:
    """The name in an objective's text, which may begin with a sign. Raises ConfigError."""
    name = text.lstrip("+-")
    if not name or len(text) - len(name) > 1:
        raise ConfigError(f"search.objectives: {text!r}: write a name, or -name to minimise it")
    return name


def objective(text: str, measures: Mapping[str, int] | None = None) -> Objective:
    """ "accuracy", "params", "-tokens", "+margin", with the sign that the text, `measures` or the table gives it.

    measures: an evaluator's own, names to signs. Raises ConfigError for a name whose direction nothing says.
    """
    name = name_of(text)
    if text[0] in "+-":
        return Objective(name, -1 if text[0] == "-" else 1)
    sign = (measures or {}).get(name) or _known(name)
    if not sign:
        raise ConfigError(
            f"search.objectives: {name!r}: it is not known whether larger is better; "
            f"say '+{name}' where it is, '-{name}' where smaller is"
        )
    return Objective(name, sign)


def _known(name: str) -> int:
    """The table's sign of a name or of a benchmark's column (`val_accuracy_12ep`); 0 for none. "val" is a fitness."""
    if name in SIGNS:
        return SIGNS[name]
    found = COLUMN.fullmatch(name)
    return SIGNS.get(found["name"] or "fitness", 0) if found else 0


def unit(name: str) -> str:
    """What an objective counts, for the axis of a chart; its own name where the table does not say."""
    measure = MEASURES.get(name)
    return measure.unit if measure is not None else name


def timed(objectives: Iterable[Objective]) -> bool:
    """Whether one of the objectives is a time, so that a search for it does not repeat itself."""
    return any(one.name in MEASURES and MEASURES[one.name].timed for one in objectives)


# --- runs of before -------------------------------------------------------------------------------------------------

# Words in a name ("val_loss") by which runs were minimised that do not record their objectives' signs.
_ONCE_MINIMISED = frozenset(
    {"error", "loss", "mse", "rmse", "mae", "params", "flops", "macs", "activations", "modules", "nodes", "seconds"}
)


def recorded(header: Mapping[str, object], asked: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives that a run was started with, by its header and its configuration's `search.objectives`.

    A run whose header does not hold them is older than the table: a bare name's direction was read off its words.
    """
    held = header.get("objectives")
    if isinstance(held, list | tuple) and held:
        return tuple(objective(str(text)) for text in held)
    return tuple(_once(text) for text in asked or [str(header.get("metric", "fitness"))])


def _once(text: str) -> Objective:
    name = name_of(text)
    if text[0] in "+-":
        return Objective(name, -1 if text[0] == "-" else 1)
    return Objective(name, 1 if _ONCE_MINIMISED.isdisjoint(name.split("_")) else -1)


__all__ = [
    "MEASURES",
    "Measure",
    "Objective",
    "asked",
    "name_of",
    "objective",
    "of_networks",
    "on_demand",
    "recorded",
    "timed",
    "unit",
]
