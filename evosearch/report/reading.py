"""A run's folder read for people: what its config, journal and best/ say. Runs no code of it, and takes no lock."""

from __future__ import annotations

import json
import os
import re
import tomllib
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from evosearch.config import NO_END, seconds
from evosearch.errors import RunCorrupt, RunError, UsageError
from evosearch.evaluation.measures import recorded
from evosearch.report import figures
from evosearch.store.disk import refusal
from evosearch.store.framing import frame_at
from evosearch.store.lock import is_written
from evosearch.store.run import JOURNAL_FILE, Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evosearch.report.columns import Columns, Gathering

KEY = re.compile("[0-9a-f]{32}")
LONGEST_LOG = 1 << 16  # bytes of a candidate's log that are read; no more is kept of one
REMEMBERED = 8_192  # candidates that were read from the journal and are kept for the next who asks


@dataclass(frozen=True)
class Candidate:
    """A proposal and, once it is in, its score (a Score as plain data).

    fidelity: the share of a whole evaluation that it got. repeat, expected: as a Proposal's.
    """

    number: int
    key: str
    text: str
    parents: tuple[int, ...]
    operator: str
    score: Mapping[str, Any] | None = None
    fidelity: float = 1.0
    repeat: int = 0
    expected: tuple[float, float] | None = None

    @property
    def status(self) -> str:
        return "pending" if self.score is None else str(self.score["status"])

    @property
    def objectives(self) -> Mapping[str, float]:
        """What the search may have optimised: what was measured, and the cost where there is a network that has one."""
        if self.status != "ok" or self.score is None:
            return {}
        return {**self.cost, **self.score["objectives"]}

    @property
    def cost(self) -> Mapping[str, int]:
        """Empty where the candidate is no network, whose costs are recorded as zeros."""
        found: Mapping[str, int] = self.score["cost"] if self.score else {}
        return found if any(found.values()) else {}


class Candidates(Sequence[Candidate]):
    """Some of a run's candidates, by their numbers: each is read from the journal when it is asked for."""

    def __init__(self, records: _Records, numbers: Sequence[int] | NDArray[np.int64]) -> None:
        self.numbers = numbers
        self._records = records

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> Candidates: ...
    def __getitem__(self, index: int | slice) -> Candidate | Candidates:
        if isinstance(index, slice):
            return Candidates(self._records, self.numbers[index])
        return self._records.candidate(int(self.numbers[index]))

    def at(self, numbers: Sequence[int] | NDArray[np.int64]) -> Candidates:
        """Others of the run, by their numbers."""
        return Candidates(self._records, numbers)


class _Records:
    """A journal open for reading single records."""

    def __init__(self, journal: Path, columns: Columns) -> None:
        self._journal, self._columns = journal, columns
        self._known: dict[int, Candidate] = {}
        try:
            self._file = os.open(journal, os.O_RDONLY)
        except OSError as error:
            raise refusal(journal, error) from error
        weakref.finalize(self, os.close, self._file)

    def candidate(self, number: int) -> Candidate:
        found = self._known.get(number)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[number] = self._read(number)
        return found

    def _read(self, number: int) -> Candidate:
        proposal = self._record(int(self._columns.proposed[number]))
        scored = int(self._columns.scored[number])
        return Candidate(
            number,
            proposal["key"],
            proposal["text"],
            tuple(proposal["parents"]),
            proposal["operator"],
            self._record(scored) if scored >= 0 else None,
            proposal.get("fidelity", 1.0),
            proposal.get("repeat", 0),
            tuple(proposal["expected"]) if proposal.get("expected") else None,
        )

    def _record(self, offset: int) -> Any:
        return frame_at(self._file, self._journal, offset).record(self._journal)


@dataclass(frozen=True)
class RunReading:
    """One reading of a run: it does not follow a run that goes on.

    config: the resolved configuration as plain tables. columns: what figures need of all candidates.
    """

    folder: Path
    header: Mapping[str, Any]
    config: Mapping[str, Any]
    columns: Columns = field(repr=False)
    notes: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @cached_property
    def candidates(self) -> Candidates:
        """All, in the order proposed."""
        return Candidates(_Records(self.folder / JOURNAL_FILE, self.columns), range(len(self.columns)))

    @property
    def objective(self) -> tuple[str, int]:
        """What the search looks at first, and 1 where larger is better, else -1."""
        first = figures.objectives(self)[0]
        return first.name, first.sign

    @property
    def budget(self) -> int:
        """Candidates the run may evaluate: the latest that was asked for."""
        asked = (int(note["budget"]) for note in self.notes if "budget" in note)
        return max([int(self.config["search"]["budget"]), *asked])

    @property
    def endless(self) -> bool:
        """Whether no number of candidates ends the run, but its time or whoever asks for them."""
        return self.budget >= NO_END

    @property
    def time(self) -> str:
        """The longest time that the run was given, as it was written; empty where it has none."""
        asked = (str(note["time"]) for note in self.notes if "time" in note)
        return max(filter(None, [str(self.config.get("time", "")), *asked]), key=seconds, default="")

    @property
    def input(self) -> str | None:
        """The input shape as `--input` takes it; None where there is none."""
        shape = self.header.get("input")
        return "x".join(map(str, shape)) if shape else None

    @property
    def outputs(self) -> int | None:
        """How many the network has; None where the task has none."""
        found = self.header.get("outputs")
        return None if found is None else int(found)

    @property
    def grammar_file(self) -> Path:
        """The copy of the grammar that the run keeps."""
        return self.folder / "grammar" / str(self.header["grammar_file"])

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """best/metrics.json; empty before the run's end."""
        return metrics_of(self.folder)

    def measured(self, name: str) -> NDArray[np.float64]:
        """An objective, a cost or the seconds of each candidate, NaN where there is none."""
        from evosearch.report.columns import column

        found = self.columns.values.get(name)
        if found is None:
            found = column(Run.open(self.folder), name, len(self.columns))
            self.columns.values[name] = found
        return found

    @cached_property
    def comparable(self) -> NDArray[np.bool_]:
        """Which scored candidates' figures compare: of the longest evaluations that any of them had and passed.

        Without rungs all of them; with rungs those on the highest.
        """
        fidelities, passed = self.columns.fidelities, self.columns.status("ok")
        longest = fidelities[passed].max() if passed.any() else 1.0
        found: NDArray[np.bool_] = self._is_scored & (fidelities == longest)
        return found

    @cached_property
    def _is_scored(self) -> NDArray[np.bool_]:
        return self.columns.scored >= 0

    @cached_property
    def evaluated(self) -> int:
        """Candidates with a score."""
        return int(self._is_scored.sum())

    def scored(self) -> Candidates:
        return self.candidates.at(self._is_scored.nonzero()[0])

    def compared(self) -> Candidates:
        """Those that are `comparable`."""
        return self.candidates.at(self.comparable.nonzero()[0])

    def rungs(self) -> dict[float, int]:
        """Evaluations of each fidelity, the shortest first."""
        import numpy as np

        shares, counts = np.unique(self.columns.fidelities[self._is_scored], return_counts=True)
        return dict(zip(shares.tolist(), counts.tolist(), strict=True))

    def ranked(self) -> Candidates:
        """The candidates that succeeded, best first, earlier ones first where equal; of rungs the highest's alone."""
        import numpy as np

        name, sign = self.objective
        values = np.where(self.comparable, -sign * self.measured(name), np.nan)
        order = np.argsort(values, kind="stable")  # NaN comes last
        return self.candidates.at(order[: int((~np.isnan(values)).sum())])

    def fitness(self, candidate: Candidate) -> float:
        return float(candidate.objectives[self.objective[0]])

    def candidate(self, key: str) -> Candidate:
        """The candidate whose key begins with `key`. Raises RunError where none does, or several do."""
        found = {one.key: one for one in self.with_key(key.lower())}  # as it was evaluated furthest
        if len(found) == 1:
            return next(iter(found.values()))
        if not found:
            raise RunError(f"{self.folder}: no candidate's key begins with {key!r}; `evolve status` names the best one")
        raise RunError(f"{self.folder}: {len(found)} keys begin with {key!r}; give more digits")

    def with_key(self, beginning: str) -> list[Candidate]:
        """Those whose key begins so, the one that was evaluated furthest last; of several the earliest."""
        found = self.candidates.at(self.columns.beginning_with(beginning))
        matching = [one for one in found if one.key.startswith(beginning)]
        return sorted(matching, key=lambda one: (one.score is not None, one.fidelity, -one.number))

    def front(self, against: str) -> list[Candidate]:
        """Those that no other candidate beats in fitness and in `against` (smaller is better), the smallest first.

        Raises UsageError where the run's candidates have no such objective.
        """
        ranked, found = self.ranked(), figures.front(self, against)
        if ranked and not found:
            there = {*ranked[0].objectives, *(["seconds"] if figures.is_costly(self, "seconds") else [])}
            raise UsageError(f"--against {against}: there are {', '.join(sorted(there))}")
        return found

    def limits(self) -> dict[str, int]:
        """The limits that candidates had to keep."""
        return {name: limit for name, limit in self.config.get("limits", {}).items() if isinstance(limit, int)}

    def log(self, candidate: Candidate) -> str:
        """What a failed candidate left in candidates/<key>/: what it printed and raised, else its reason alone.

        Empty where it left nothing, and where what lies there leads out of the run's folder: a journal holds any key.
        """
        if not KEY.fullmatch(candidate.key):
            return ""
        folder = self.folder / "candidates" / candidate.key
        for path in (folder / "log", folder / "error.txt"):
            if path.is_file() and path.resolve().parent == self.folder.resolve() / "candidates" / candidate.key:
                with path.open("rb") as file:
                    return file.read(LONGEST_LOG).decode("utf-8", "replace")
        return ""

    def describe(self, candidate: Candidate) -> dict[str, Any]:
        """A candidate as plain data."""
        score = candidate.score or {}
        return {
            "number": candidate.number,
            "key": candidate.key,
            "text": candidate.text,
            "operator": candidate.operator,
            "parents": list(candidate.parents),
            "fidelity": candidate.fidelity,
            "status": candidate.status,
            **{name: score.get(name) for name in ("objectives", "metrics", "curve", "cost", "seconds", "error")},
        }

    def failures(self) -> dict[str, int]:
        """Candidates that did not succeed, by status."""
        import numpy as np

        names, counts = self.columns.status_names, np.bincount(self.columns.statuses[self._is_scored])
        return {name: int(count) for name, count in sorted(zip(names, counts, strict=True)) if name != "ok"}

    def phase(self) -> str:
        """finished, running, or stopped before its end."""
        return phase_of(self.folder, self.metrics)

    def best_candidate(self) -> Candidate | None:
        """What best/ holds; before it is there, the best so far."""
        if "key" in self.metrics:
            return self.candidate(str(self.metrics["key"]))
        ranked = self.ranked()
        return ranked[0] if ranked else None

    def summary(self) -> dict[str, Any] | None:
        """The best candidate in short; None while there is none."""
        best = self.best_candidate()
        return self._summary(best) if best else None

    def best(self) -> dict[str, Any]:
        """The best candidate and what is kept of it. Raises RunError while there is none."""
        best = self.best_candidate()
        if best is None:
            raise RunError(f"{self.folder}: no candidate has succeeded yet; `evolve status {self.folder}` says more")
        folder = self.folder / "best"
        return {
            **self._summary(best),
            "test": self.metrics.get("test", {}),
            "baseline": self.metrics.get("baseline", {}),
            "se": self.standard_error(best),
            "again": self.trained_again(),
            "at_random": figures.at_random(self),
            "single": dict(self._kept("single").get("test") or {}),
            "saved": str(folder) if folder.is_dir() else None,
            "files": sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [],
        }

    def _kept(self, name: str) -> Mapping[str, Any]:
        """A table of metrics.json; empty where it has none."""
        found = self.metrics.get(name)
        return found if isinstance(found, Mapping) else {}

    def trained_again(self) -> float | None:
        """The kept candidate's fitness when it was trained as before by another seed; None where that is not known."""
        held_out = self._kept("held_out")
        same = self.metrics.get("metric") == self.objective[0]
        same = same and held_out.get("winner", self.metrics.get("key")) == self.metrics.get("key")
        return figures.number(held_out.get("again")) if same else None

    def standard_error(self, candidate: Candidate) -> float | None:
        """Of the candidate's fitness, where its score says it."""
        metrics = (candidate.score or {}).get("metrics") or {}
        return figures.number(metrics.get(f"{self.objective[0]}_se"))

    def _summary(self, candidate: Candidate) -> dict[str, Any]:
        scored = self.objective[0] in candidate.objectives  # else its run's time was over before any had a score
        cost = candidate.cost or self._kept("cost")
        cost = cost if any(cost.values()) else {}
        return {
            "number": candidate.number,
            "key": candidate.key,
            "text": candidate.text,
            "objective": self.objective[0],
            "fitness": self.fitness(candidate) if scored else None,
            "params": cost.get("params"),
            "flops": cost.get("flops"),
            "operator": candidate.operator,
        }


def metrics_of(folder: Path) -> Mapping[str, Any]:
    """A run's best/metrics.json; empty before its end. Raises RunCorrupt."""
    path = folder / "best" / "metrics.json"
    try:
        return dict(json.loads(Run.open(folder).best("metrics.json") or b"{}"))
    except ValueError as error:
        raise RunCorrupt(f"{path}: cannot be read: {error}; `evolve verify` says what else does not check") from error


def phase_of(folder: Path, metrics: Mapping[str, Any]) -> str:
    """finished, running, or stopped before its end. metrics: as of `metrics_of`."""
    if is_written(folder):
        return "running"
    return "finished" if metrics else "stopped"


def config_of(run: Run) -> dict[str, Any]:
    """The resolved configuration that a run was started with, as plain tables. Raises RunCorrupt."""
    try:
        return tomllib.loads(run.text("config.toml"))
    except ValueError as error:
        where = run.folder / "config.toml"
        raise RunCorrupt(f"{where}: cannot be read: {error}; restore it from a copy") from error


def gathering(run: Run, config: Mapping[str, Any]) -> Gathering:
    """The columns that pages and tables ask for, nothing of the journal read yet."""
    from evosearch.report.columns import Gathering

    wanted = recorded(run.header, config["search"]["objectives"])
    return Gathering(run, list(dict.fromkeys((*(one.name for one in wanted), *figures.AGAINST))))


def read_run(folder: Path) -> RunReading:
    """Read a run's config and journal. Raises RunError where it is none, RunCorrupt where it does not check."""
    run = Run.open(folder)
    config = config_of(run)
    found = gathering(run, config)
    found.read()
    return RunReading(folder, run.header, config, found.columns(last=True), found.notes)
