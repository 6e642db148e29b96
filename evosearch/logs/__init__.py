"""What is written of a run for other programs: logs, each a class of its own with `add` and `close`.

comma_separated   evaluations.csv: a spreadsheet, pandas, a shell
json_lines        evaluations.jsonl: jq, pandas; every text exactly as it is
tensorboard       `log = ["tensorboard"]`: scalars under the run's tensorboard/
mlflow, wandb     likewise: the same scalars, to MLflow and to Weights & Biases by their own clients
NAME              `log = ["NAME"]`: a person's own, operators/log/NAME.py, whose class of that name (in capitals and
                  small letters, `my_log.py` -> MyLog) is called with a `Session`

The first two are written for every run. A log decides nothing that a run finds: where one fails, it is said once and
the run goes on without it.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from evosearch.errors import StorageError, UsageError
from evosearch.logs.rows import Row, row
from evosearch.plugins import class_name
from evosearch.store.lock import is_written
from evosearch.text import blamed

if TYPE_CHECKING:
    from evosearch.logs.follow import Following
    from evosearch.store.run import Record, Run
    from evosearch.store.verify import Finding

log = logging.getLogger(__name__)

BUNDLED = (
    "tensorboard",
    "mlflow",
    "wandb",
)  # by name; each has a function `require` that says what is missing to write it
FOLLOWING = ("comma_separated", "json_lines")  # written for every run


@dataclass(frozen=True)
class Scored:
    """A score that was journaled, and its proposal: both as the journal's records, which plain values make up."""

    proposal: Record
    score: Record

    @cached_property
    def row(self) -> Row:
        """Both as one flat row, in the columns of evaluations.csv."""
        return row(self.proposal, self.score)


def _nothing() -> Mapping[str, float]:
    return {}


@dataclass(frozen=True)
class Session:
    """What a log is opened with: the run, and where it stands as this process begins to work on it.

    objective, sign: what the search looks at first, and 1 where larger is better, else -1. evaluated: how many scores
    there were before; best: the best whole one, as the task measures it; failures: of those, by status. worth: what
    each mutation is held to be worth now.
    """

    run: Run
    objective: str = ""
    sign: int = 1
    evaluated: int = 0
    best: float | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    worth: Callable[[], Mapping[str, float]] = _nothing

    @property
    def folder(self) -> Path:
        """The run's folder, for files of the log's own."""
        return self.run.folder


class Log(Protocol):
    """What is written of a run as it goes on. `add` gets scores in the order in which they were journaled."""

    def add(self, scored: Sequence[Scored]) -> None: ...
    def close(self) -> None: ...


Maker = Callable[[Session], Log]


def makers(names: Sequence[str], own: Mapping[str, Maker] | None = None) -> dict[str, Maker]:
    """The logs that a run writes, by name: those written for every run and those that are named.

    own: a person's, by name. Raises UsageError where a name is no log, or a package that one needs is not installed:
    before a run, not in it.
    """
    own = own or {}
    found: dict[str, Maker] = {name: _bundled(name) for name in FOLLOWING}
    for name in names:
        if name in own:
            found[name] = own[name]
        elif name in BUNDLED:
            importlib.import_module(f"{__name__}.{name}").require()
            found[name] = _bundled(name)
        else:
            there = ", ".join(sorted({*BUNDLED, *own}))
            raise UsageError(f"log {name}: there are {there}; one of your own is operators/log/{name}.py")
    return found


def _bundled(name: str) -> Any:
    module = importlib.import_module(f"{__name__}.{name}")
    return getattr(module, class_name(name))


class Logs:
    """All logs of a session. Never raises for what a disk or a log does."""

    def __init__(self, session: Session, makers: Mapping[str, Maker]) -> None:
        self._logs: dict[str, Log] = {}
        self._failed: set[str] = set()
        for name, make in makers.items():
            self._attempt(name, self._open, name, make, session)

    def _open(self, name: str, make: Maker, session: Session) -> None:
        self._logs[name] = make(session)

    def add(self, scored: Sequence[Scored]) -> None:
        for name, one in self._logs.items():
            if name not in self._failed:
                self._attempt(name, one.add, scored)

    def close(self) -> None:
        for name, one in self._logs.items():
            self._attempt(name, one.close)

    def _attempt(self, name: str, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except StorageError as error:
            self._give_up(name, str(error))
        except Exception as error:  # noqa: BLE001 - a person's own log may raise anything
            self._give_up(name, blamed(error))

    def _give_up(self, name: str, why: str) -> None:
        if name not in self._failed:
            log.warning("a log of the run, %s, is not kept up, and the run goes on without it: %s", name, why)
        self._failed.add(name)


def verify(run: Run) -> list[Finding]:
    """Where the files that follow a run's journal are not what it says, to the byte; changes nothing.

    A file that is not there is no finding: an older evosearch wrote none. A run at work is not looked at.
    """
    if is_written(run.folder):
        return []
    return [finding for one in _following(run) for finding in one.verify()]


def repair(run: Run) -> list[str]:
    """Write anew what is not what the journal of a run open for writing says. Returns what was done, a line each, and
    what a disk refused.
    """
    done = []
    for one in _following(run):
        if one.path.exists() and not list(one.verify()):
            continue
        try:
            one.rewrite()
            done.append(f"{one.name}: written anew from {run.scores} scores")
        except StorageError as error:
            done.append(f"{one.name}: not written: {error}")
        one.release()
    return done


def _following(run: Run) -> list[Following]:
    return [_bundled(name)(Session(run)) for name in FOLLOWING]


__all__ = ["Log", "Logs", "Maker", "Scored", "Session", "makers", "repair", "verify"]
