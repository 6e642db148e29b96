"""What is alike in logs that a tracking service keeps: the service's run of this run, and which steps it lacks."""

from __future__ import annotations

import hashlib
import itertools
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from evosearch.logs.rows import pairs
from evosearch.logs.scalars import Point, Scalars
from evosearch.store.framing import encode

if TYPE_CHECKING:
    from evosearch.logs import Scored, Session
    from evosearch.store.run import Run

AT_ONCE = 500  # points of earlier scores that are sent together


class Tracking(ABC):
    """One session's part of a run that a service keeps.

    A session goes on in the service's run where that ends. What is missing there, since a process was killed or the
    run was begun without this log, comes from the journal first; what is there is not sent again.
    """

    def __init__(self, session: Session) -> None:
        self.run = session.run
        there = self.open(session)
        self.scalars = Scalars(session, beginning=there < session.evaluated)
        if there < session.evaluated:
            earlier = itertools.starmap(self.scalars.point, pairs(self.run))
            missing = itertools.islice(earlier, there, session.evaluated)
            while part := list(itertools.islice(missing, AT_ONCE)):
                self.send(part)

    @abstractmethod
    def open(self, session: Session) -> int:
        """Find the service's run of this run, or begin it. Returns how many evaluations it has."""

    @abstractmethod
    def send(self, points: Sequence[Point]) -> None:
        """Put points behind those that are there."""

    @abstractmethod
    def close(self) -> None:
        """Send what is not sent yet, and let go of the service's run."""

    def add(self, scored: Sequence[Scored]) -> None:
        self.send(list(self.scalars.points(scored)))


def name_of(run: Run) -> str:
    """32 hex digits that are this run's wherever its folder lies: of all that it was started with, and when."""
    return hashlib.blake2b(encode(run.header), digest_size=16).hexdigest()


def settings_of(run: Run) -> dict[str, Any]:
    """The run's configuration, with dotted keys."""
    return dict(_flat(tomllib.loads(run.text("config.toml"))))


def _flat(table: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
