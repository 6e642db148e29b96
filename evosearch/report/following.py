"""A run's page while the run goes on: its journal followed, and the parts of the page made anew as they are due.

What takes long is done seldom: of the time that passes, reading and each part take the share `SHARE` at the most, and
nothing is done while nobody asks.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.errors import RunError
from evosearch.report import html
from evosearch.report.page.candidates import row
from evosearch.report.page.facts import Report
from evosearch.report.page.markup import card, document, section, table, titled
from evosearch.report.page.svg import escape
from evosearch.report.reading import RunReading, config_of, gathering, phase_of
from evosearch.report.standing import status
from evosearch.report.text import figure
from evosearch.store.run import CHECKPOINT_FILE, JOURNAL_FILE, Record, Run

if TYPE_CHECKING:
    from evosearch.report.columns import Gathering

SHARE = 0.05  # of a core's time, for one part of the page, of which there are ten, or for reading
AT_ONCE = 2_000  # candidates in one answer
LISTED = 20_000  # candidates that a page which stays open is told of; behind them new bests alone
FIXED = ("all", "again")  # parts that the page keeps up itself, or that do not change

Answer = dict[str, Any]

LIVE = '<span id="live" role="status"></span>'


@dataclass(frozen=True)
class Clock:
    """now: seconds of any beginning. spent: seconds of processor time that this thread has taken."""

    now: Callable[[], float] = time.monotonic
    spent: Callable[[], float] = time.thread_time

    def rested(self, began: float) -> float:
        """When what began at so much processor time, and is done now, may be done again."""
        return self.now() + (self.spent() - began) / SHARE


@dataclass
class Part:
    """A part of the page as it was made last. stamp: of what it shows. version: of the page that it is new in.

    due: a time from which it may be made again.
    """

    markup: str = ""
    stamp: int = -1
    version: int = 0
    due: float = float("-inf")


class Parts:
    """The parts of a page, and which of them are new to whoever has seen a version of it."""

    def __init__(self, makers: Mapping[str, Callable[[Any], str]], clock: Clock) -> None:
        self.makers, self.clock = makers, clock
        self.found = {name: Part() for name in makers}
        self.version = 0

    def make(self, subject: Any, stamp: int, *, all_of_them: bool = False) -> None:
        """Make those that are due of what is at this stamp."""
        for name, part in self.found.items():
            if part.stamp == stamp or (self.clock.now() < part.due and not all_of_them):
                continue
            began = self.clock.spent()
            markup = self.makers[name](subject)
            part.stamp, part.due = stamp, self.clock.rested(began)
            if markup != part.markup:
                self.version += 1
                part.markup, part.version = markup, self.version

    def newer(self, version: int) -> dict[str, str]:
        return {name: part.markup for name, part in self.found.items() if part.version > version}


class Following:
    """One run, followed. Not for several threads at a time.

    layers: files of own layers that its grammar uses, for the drawings.
    """

    gathered: Gathering
    report: Report
    parts: Parts
    begun: str  # tells this run from another one in the folder
    due: float  # a time from which the journal may be looked at again
    stamp: int  # of what is read
    seen: tuple[Any, ...]  # how the folder's files were at the last look

    def __init__(self, folder: Path, layers: tuple[str | Path, ...], clock: Clock) -> None:
        self.folder, self.layers, self.clock = folder, layers, clock
        self.header: Record = {}

    def page(self) -> str:
        """The whole page as it is now. Raises EvosearchError."""
        self._look()
        self.parts.make(self.report, self.stamp, all_of_them=True)
        found = {name: part.markup for name, part in self.parts.found.items()}
        whole = html.body(
            found["summary"],
            {name: found[name] for name in html.TITLES},
            found["drawings"],
            "Served by <code>evolve watch</code>, which it asks for what is new. It loads nothing from anywhere else.",
            LIVE,
        )
        seen = {"begun": self.begun, "version": self.parts.version, "scored": len(self.gathered.numbers)}
        return document(html.heading(self.report), whole, {**html.data(self.report), "live": seen}, live=True)

    def updates(self, begun: str, version: int, scored: int) -> Answer | None:
        """What is new to a page that has seen so much; None where nothing is. Raises EvosearchError."""
        self._look()
        if begun != self.begun:
            return {"begun": self.begun}
        self.parts.make(self.report, self.stamp)
        upto = min(len(self.gathered.numbers), scored + AT_ONCE)
        if version >= self.parts.version and upto <= scored:
            return None
        shown = [name for name in html.TITLES if self.parts.found[name].markup]
        new = {name: markup for name, markup in self.parts.newer(version).items() if name not in FIXED}
        parts = {
            name: titled(name, html.TITLES[name], markup) if name in html.TITLES else markup
            for name, markup in new.items()
        }
        return {
            "begun": self.begun,
            "version": self.parts.version,
            "scored": upto,
            "order": shown,
            "parts": {**parts, "links": html.links(shown)},
            "rows": list(self._rows(scored, upto)),
        }

    def _rows(self, start: int, end: int) -> Iterator[list[Any]]:
        """Candidates by the order in which their scores came."""
        report = self.report
        best = {step.candidate.number for step in report.steps} if end > LISTED else set[int]()
        numbers = self.gathered.numbers[start:end]
        told = [number for at, number in enumerate(numbers, start) if at < LISTED or number in best]
        yield from (row(report.run, one, report.metric) for one in report.run.candidates.at(told))

    def _look(self) -> None:
        """Read what the folder has that was not there at the last look."""
        run = Run.open(self.folder)
        if run.header != self.header or (self.folder / JOURNAL_FILE).stat().st_size < self.gathered.offset:
            self._begin(run)
        if self.clock.now() < self.due:
            return
        began = self.clock.spent()
        self.gathered.read()
        phase = phase_of(self.folder, self.report.run.metrics)
        files = (CHECKPOINT_FILE, "best/metrics.json")
        now = (self.gathered.offset, phase, *(_stamp(self.folder / name) for name in files))
        if now != self.seen:
            self.seen = now
            self.stamp += 1
            columns, notes = self.gathered.columns(), self.gathered.notes
            self.report = self.report.later(replace(self.report.run, columns=columns, notes=notes))
        self.due = self.clock.rested(began)

    def _begin(self, run: Run) -> None:
        """Another run stands in the folder than at the last look, or it is the first."""
        config = config_of(run)
        self.header, self.gathered = run.header, gathering(run, config)
        self.report = Report(RunReading(self.folder, run.header, config, self.gathered.columns()), None, self.layers)
        makers: dict[str, Callable[[Any], str]] = {name: make for name, _, make in html.SECTIONS}
        self.parts = Parts({"summary": html.title, "drawings": html.templates, **makers}, self.clock)
        self.begun, self.stamp, self.seen, self.due = secrets.token_hex(8), 0, (), float("-inf")


class Listing:
    """The runs of a folder, as a page that leads to each of them. Not for several threads at a time.

    find: the runs there are, by what they are called.
    """

    def __init__(self, title: str, find: Callable[[], Mapping[str, Path]], clock: Clock) -> None:
        self.title, self.find = title, find
        self.parts = Parts({"summary": self._summary, "runs": self._table}, clock)
        self.begun, self.stamp = secrets.token_hex(8), 0
        self.states: dict[str, tuple[Any, dict[str, Any]]] = {}  # each run's, and the stamp of its files that it is of
        self.seen: list[Any] = []

    def page(self) -> str:
        self._look()
        self.parts.make(self.states, self.stamp, all_of_them=True)
        found, links = self.parts.found, '<ul><li><a href="#runs">Runs</a></li></ul>'
        body = (
            f'<header id="summary">{found["summary"].markup}</header><nav aria-label="Sections">{links}{LIVE}</nav>'
            f'<main id="main">{section("runs", "Runs", found["runs"].markup)}</main>'
        )
        seen = {"begun": self.begun, "version": self.parts.version, "scored": 0}
        return document(self.title, body, {"rows": [], "live": seen}, live=True)

    def updates(self, begun: str, version: int, scored: int) -> Answer | None:
        """As `Following.updates`."""
        self._look()
        if begun != self.begun:
            return {"begun": self.begun}
        self.parts.make(self.states, self.stamp)
        if version >= self.parts.version:
            return None
        new = self.parts.newer(version)
        parts = {name: titled("runs", "Runs", text) if name == "runs" else text for name, text in new.items()}
        seen = {"begun": self.begun, "version": self.parts.version, "scored": 0}
        return {**seen, "order": ["runs"], "parts": parts, "rows": []}

    def _look(self) -> None:
        found: dict[str, tuple[Any, dict[str, Any]]] = {}
        for name, folder in self.find().items():
            files = (JOURNAL_FILE, CHECKPOINT_FILE, "best/metrics.json")
            stamp = (phase_of(folder, {}), *(_stamp(folder / file) for file in files))
            before = self.states.get(name)
            found[name] = before if before is not None and before[0] == stamp else (stamp, _state(folder))
        self.states = found
        now = [(name, stamp) for name, (stamp, _) in found.items()]
        if now != self.seen:
            self.seen, self.stamp = now, self.stamp + 1

    def _summary(self, states: Mapping[str, tuple[Any, dict[str, Any]]]) -> str:
        phases = [state["phase"] for _, state in states.values()]
        cards = "".join(
            card(kind.capitalize(), f"{phases.count(kind):,}") for kind in ("running", "stopped", "finished")
        )
        return f'<h1>{escape(self.title)}</h1><dl class="cards">{cards}</dl>'

    def _table(self, states: Mapping[str, tuple[Any, dict[str, Any]]]) -> str:
        rows = []
        for name, (_, state) in states.items():
            best = state.get("best")
            test = ", ".join(f"{metric} {value:.4f}" for metric, value in state.get("test", {}).items())
            rows.append(
                (
                    f'<a href="{escape(address(name))}">{escape(name)}</a>',
                    f'<td class="left">{escape(state["phase"])}</td>',
                    f"{state['evaluated']:,}" if "evaluated" in state else "",
                    f"{escape(best['objective'])} {figure(best['fitness'])}" if best else "",
                    escape(test),
                    f'<td class="left">{escape(state.get("error") or _about(state))}</td>',
                )
            )
        return table("Each leads to its page", ("run", "phase", "evaluated", "best", "test", "search"), rows)


def address(name: str) -> str:
    """Where a run's page is, from the page of all."""
    from urllib.parse import quote

    return f"{quote(name, safe='')}/"


def _about(state: Mapping[str, Any]) -> str:
    return f"{state['strategy']}, {Path(state['grammar']).stem} on {Path(state['task']).stem}"


def _state(folder: Path) -> dict[str, Any]:
    try:
        return status(folder)
    except RunError as error:
        return {"phase": "unreadable", "error": str(error)}


def _stamp(path: Path) -> tuple[int, ...]:
    """What tells a file from itself before it was changed; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
