"""The range of a setting stands where the setting stands: `epochs: Annotated[int, Ge(1)] = 8`.

pydantic holds it where a configuration is read; `check`, called by `__post_init__`, where a program makes the settings.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from evosearch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import DataclassInstance

Natural = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Amount = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
Fraction = Annotated[float, Ge(0), Lt(1)]

# Each written so that it does not hold for NaN.
_BOUNDS: dict[type, tuple[str, str, Callable[[Any, Any], bool]]] = {
    Ge: ("at least", "ge", lambda value, bound: value >= bound),
    Gt: ("above", "gt", lambda value, bound: value > bound),
    Le: ("at most", "le", lambda value, bound: value <= bound),
    Lt: ("below", "lt", lambda value, bound: value < bound),
}


def check(settings: DataclassInstance, table: str = "") -> None:
    """Raise ConfigError where a field is not in the range that its annotation states.

    table: what a configuration calls the settings.
    """
    for name, bounds in _stated(type(settings)):
        value = getattr(settings, name)
        if not all(_BOUNDS[type(bound)][2](value, getattr(bound, _BOUNDS[type(bound)][1])) for bound in bounds):
            words = " and ".join(f"{_BOUNDS[type(bound)][0]} {_shown(bound)}" for bound in bounds)
            raise ConfigError(f"{table}{'.' if table else ''}{name} is {value}; it must be {words}")


def _shown(bound: Any) -> str:
    return f"{getattr(bound, _BOUNDS[type(bound)][1]):g}"


@cache
def _stated(cls: type) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """The fields of a dataclass that have bounds."""
    hints = get_type_hints(cls, include_extras=True)
    stated = ((field.name, getattr(hints[field.name], "__metadata__", ())) for field in dataclasses.fields(cls))
    return tuple((name, bounds) for name, bounds in stated if bounds)


__all__ = ["Amount", "Fraction", "Ge", "Gt", "Le", "Lt", "Natural", "Positive", "Share", "check"]
