"""What a strategy is: which candidate comes next, and what an evaluation changes. One class in one file.

`operators/strategy/<name>.py` defines the class of the file's name in CamelCase. The search keeps what every strategy
needs (the look-ahead window, the archive of what was proposed, limits, credit, the hall of fame) and asks the strategy
for nothing but the methods here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from evosearch.errors import ConfigError, OperatorError
from evosearch.individual import Individual, fitness_class

if TYPE_CHECKING:
    import numpy as np

    from evosearch.architecture import Space
    from evosearch.evaluation.measures import Objective
    from evosearch.grammar.core import Derivation
    from evosearch.operators import Operator, Operators
    from evosearch.search.credit import Credit
    from evosearch.search.history import History
    from evosearch.search.proposal import Candidate, Evaluated
    from evosearch.search.settings import SearchSettings

Select = Callable[[Sequence[Individual], int, "np.random.Generator"], list[Individual]]


@dataclass(frozen=True)
class Context:
    """What a strategy is made with: the search it is a part of.

    seeds: the run's own, in their order. initialise, mutations, crossovers: the operators that the settings name.
    """

    space: Space
    settings: SearchSettings
    operators: Operators
    seeds: tuple[Derivation, ...]
    objectives: tuple[Objective, ...]
    credit: Credit
    initialise: Operator
    mutations: Mapping[str, Operator]
    crossovers: Sequence[Operator]

    def selection(self, name: str) -> Select:
        """A selection operator; one that takes a tournament's size is given `search.tournament`."""
        operator = self.operators.get("select", name)
        if "size" in inspect.signature(operator.function).parameters:
            return functools.partial(operator, size=self.settings.tournament)
        return operator

    def individual(self, data: Mapping[str, Any]) -> Individual:
        """The individual that `Individual.pack` described."""
        return Individual.unpack(data, self.space, fitness_class(len(self.objectives), rungs=bool(self.settings.rungs)))


class Strategy(Protocol):
    """Which candidate comes next, and what an evaluation changes.

    A strategy's state follows from its settings and from what was folded in, in that order, alone: so a run resumed
    on any number of workers is the run that was begun. All its randomness is drawn from the generators it is given.

    Settings: its own knobs, a frozen dataclass; the [strategy] table of a configuration, checked against it.
    needs_history: whether rows of the history are kept for it.
    population: the individuals that it selects among now, for the log book, for pending credit and for what starts
        from a run; empty where it has none. Where weights pass on, who has left it is no parent again.

    One that is after a network that need not be the best is `Seeking` besides.
    """

    Settings: ClassVar[type]
    needs_history: ClassVar[bool]

    def __init__(self, settings: Any, context: Context) -> None:
        """Raises ConfigError for settings of the search that this strategy cannot follow."""

    @property
    def population(self) -> Sequence[Individual]: ...

    def candidates(self, history: History, rng: np.random.Generator) -> Iterator[Candidate | None]:
        """Candidates for the next proposal, one after another until one is admitted; each counts as a draw.

        None: a draw that gave none. What is known to this run, over a limit or does not fit is passed over by the
        search. Where the iterator ends, the search does. rng: of this proposal's number.
        """
        ...

    def fold(self, evaluated: Evaluated, rng: np.random.Generator) -> None:
        """Take in the result of one evaluation, a failure too. rng: of the proposal's number, another one.

        A `fold` that draws nothing may leave `rng` out: to make one takes as long as all else that the loop does.
        """

    def pack(self) -> dict[str, Any]:
        """Its state as plain values for msgpack; `population`, if there is one, under that name."""
        ...

    def unpack(self, data: Mapping[str, Any]) -> None:
        """Take the state that `pack` gave. Individuals are read with `Context.individual`."""


@runtime_checkable
class Seeking(Protocol):
    """A strategy that is after one individual: a run ends with that one, trained on with its weights where weights pass
    on.

    winner: None while it has not come to it.
    """

    @property
    def winner(self) -> Individual | None: ...


def find(operators: Operators, name: str) -> Operator:
    """The file of a strategy. Raises ConfigError with the names that there are."""
    operator = operators.of("strategy").get(name)
    if operator is None:
        there = ", ".join(operators.of("strategy"))
        raise ConfigError(f"search.strategy: no strategy named {name!r}; there are: {there}")
    return operator


def make(operator: Operator, table: Mapping[str, Any], context: Context) -> Strategy:
    """The strategy of an operator file, with the [strategy] table as its settings.

    Raises ConfigError for keys or values that its Settings do not take, or where it cannot follow the search's.
    """
    made: Strategy = operator.function(settings(operator, table), context)
    return made


def settings(operator: Operator, table: Mapping[str, Any]) -> Any:
    """The [strategy] table as the strategy's own Settings. Raises ConfigError."""
    cls: Any = operator.function.Settings  # type: ignore[attr-defined]
    if not is_dataclass(cls) or not isinstance(cls, type):
        raise OperatorError(f"{operator.path}: Settings of strategy {operator.name!r} is not a dataclass; make it one")
    known = [field.name for field in fields(cls)]
    for key in table:
        if key not in known:
            there = f"there are: {', '.join(known)}" if known else "it has none of its own"
            raise ConfigError(f"strategy.{key}: strategy {operator.name!r} has no such setting; {there}")
    if not table:
        return cls()
    import pydantic

    try:
        return pydantic.TypeAdapter(cls).validate_python(dict(table))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"][0].lower() + first["msg"][1:]
        raise ConfigError(f"strategy.{key}: {message}, not {first['input']!r}") from None
