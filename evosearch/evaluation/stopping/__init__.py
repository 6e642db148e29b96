"""Rules that end a training before its last epoch: each is one file with one class.

A rule looks at the run's curves where the run is (`brief`, in plain values), and at a training's own curve where that
is (`stop`). Its name is its file's, and what `recipe.stop` says.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from evosearch import paths
from evosearch.errors import ConfigError
from evosearch.plugins import class_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OFF = "off"


class StopRule(Protocol):
    """Made without arguments. A rule with `known` besides is a `Growing` one.

    relative: whether what it stops hangs on the other candidates of the run. The ledger of scores is left alone then: a
    score from elsewhere may be of a training that this run would have stopped.
    least: where a rule has it, trainings that must be known before it stops any; a run that has fewer says so.
    """

    relative: bool

    def brief(self, curves: Iterable[Sequence[float]]) -> Any:
        """What a training is told of the curves (the metric after each epoch) of the candidates known before it."""

    def stop(self, brief: Any, curve: Sequence[float], sign: int) -> str:
        """Why a training whose curve is this far should end, to be read on after the metric's name; empty to go on.

        sign: 1 where larger is better, else -1. Asked after every epoch but the last.
        """


class Known(Protocol):
    """The curves that a rule knows, which come one by one."""

    def add(self, curve: Sequence[float]) -> None:
        """One more; empty where nothing was trained."""

    def brief(self) -> Any:
        """What the rule's `brief` gives of all that were added."""


@runtime_checkable
class Growing(StopRule, Protocol):
    """A rule that need not look at all curves again for each training."""

    def known(self) -> Known:
        """None as yet."""

    def brief(self, curves: Iterable[Sequence[float]]) -> Any:
        known = self.known()
        for curve in curves:
            known.add(curve)
        return known.brief()


@dataclass
class _All:
    """For a rule without `known`: it looks at all curves each time."""

    rule: StopRule
    curves: list[Sequence[float]] = field(default_factory=list)

    def add(self, curve: Sequence[float]) -> None:
        self.curves.append(curve)

    def brief(self) -> Any:
        return self.rule.brief(iter(self.curves))


def known(rule: StopRule) -> Known:
    """No curves as yet, for a rule to be told of."""
    return rule.known() if isinstance(rule, Growing) else _All(rule)


def bundled() -> tuple[str, ...]:
    """The names of the rules that come with evosearch."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def find(name: str, own: Mapping[str, type[StopRule]] | None = None) -> StopRule | None:
    """The rule of a name, a person's own before the bundled ones; None for "off". Raises ConfigError."""
    if name == OFF:
        return None
    if own and name in own:
        return own[name]()
    if name not in bundled():
        known = (OFF, *bundled(), *(own or ()))
        raise ConfigError(f"recipe.stop: no stop rule {name!r}; {paths.offer(name, known)}")
    made: StopRule = getattr(import_module(f"{__name__}.{name}"), class_name(name))()
    return made
