"""Where a run stands: kept up with each score and written with each checkpoint, so that nobody reads all of a journal.

Without a checkpoint that has it, the journal is read once, as a stream.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evosearch.evaluation.measures import recorded
from evosearch.report import figures
from evosearch.report.reading import config_of, metrics_of, phase_of, read_run
from evosearch.store.run import JOURNAL_FILE, Record, Run


@dataclass
class Standing:
    """What the records of a journal come to.

    objective, sign: what the search looks at first, and 1 where larger is better, else -1. failures: by status.
    budget: the largest that a resume asked for. best: the best score so far, of the longest evaluations, earlier ones
    first where equal.
    waiting: proposals without a score, by number. samples: of those drawn from the grammar alone, by fidelity, how many
    have a score and the best of these.
    """

    objective: str
    sign: int
    origin: figures.FromGrammar
    proposed: int = 0
    evaluated: int = 0
    budget: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    best: dict[str, Any] | None = None
    waiting: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    samples: dict[float, tuple[int, float | None]] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a journal's record."""
        if record["kind"] == "proposal":
            self.proposed += 1
            self.waiting[record["number"]] = record
        elif record["kind"] == "score":
            self._score(self.waiting.pop(record["number"]), record)
        elif "budget" in record:
            self.budget = max(self.budget, int(record["budget"]))

    def _score(self, proposal: Mapping[str, Any], score: Mapping[str, Any]) -> None:
        self.evaluated += 1
        cost = score["cost"] if any(score["cost"].values()) else {}
        value = {**cost, **score["objectives"]}.get(self.objective) if score["status"] == "ok" else None
        fidelity = proposal.get("fidelity", 1.0)
        if self.origin.drew(proposal):
            size, best = self.samples.get(fidelity, (0, None))
            if value is not None and (best is None or self.sign * value > self.sign * best):
                best = float(value)
            self.samples[fidelity] = size + 1, best
        if score["status"] != "ok":
            self.failures[score["status"]] += 1
            return
        if value is None or (self.best is not None and not self._better(fidelity, value, proposal["number"])):
            return
        told = {name: proposal[name] for name in ("number", "key", "text", "operator")}
        self.best = {**told, "fitness": float(value), "params": cost.get("params"), "flops": cost.get("flops")}
        if fidelity != 1:  # of a shorter evaluation, which no longer one is compared with
            self.best["fidelity"] = fidelity

    def _better(self, fidelity: float, value: float, number: int) -> bool:
        assert self.best is not None
        best = self.best.get("fidelity", 1.0), self.sign * self.best["fitness"], -self.best["number"]
        return (fidelity, self.sign * value, -number) > best

    def at_random(self, metrics: Mapping[str, Any]) -> str:
        """As `figures.at_random`. metrics: best/metrics.json."""
        if self.best is None:
            return ""
        size, best = self.samples.get(self.best.get("fidelity", 1.0), (0, None))
        if best is None or size == self.evaluated:
            return ""
        return figures.beside_random(best, size, self.best["fitness"], self.best["key"], self.sign, metrics)

    def pack(self) -> Record:
        """As plain values for msgpack."""
        return {
            "proposed": self.proposed,
            "evaluated": self.evaluated,
            "budget": self.budget,
            "failures": dict(self.failures),
            "best": self.best,
            "waiting": list(self.waiting.values()),
            "samples": [[fidelity, *found] for fidelity, found in self.samples.items()],
        }

    def unpack(self, data: Mapping[str, Any]) -> None:
        """Go on from what `pack` gave."""
        self.proposed, self.evaluated, self.budget = data["proposed"], data["evaluated"], data["budget"]
        self.failures, self.best = Counter(data["failures"]), data["best"]
        self.waiting = {record["number"]: record for record in data["waiting"]}
        self.samples = {fidelity: (size, best) for fidelity, size, best in data["samples"]}


def standing(run: Run, objectives: Sequence[str], *, whole: bool = False) -> Standing:
    """Where a run stands, by its newest checkpoint and what the journal has behind it. Raises RunCorrupt.

    objectives: the configuration's, for a run whose header does not say them. whole: by the journal alone.
    """
    first = recorded(run.header, objectives)[0]
    origin = figures.FromGrammar.of(run.folder, config_of(run))
    found = Standing(first.name, first.sign, origin)
    checkpoint = None if whole else run.load_checkpoint(archive=False)
    offset = None
    if checkpoint is not None and "samples" in checkpoint.standing:  # an older one's says less
        found.unpack(checkpoint.standing)
        offset = checkpoint.offset
    for record in run.records(offset):
        found.add(record)
    return found


def status(folder: Path) -> dict[str, Any]:
    """Where the run stands, as plain data. Raises RunError where there is none, RunCorrupt where it does not check."""
    run = Run.open(folder)
    config = config_of(run)
    found, metrics = standing(run, config["search"]["objectives"]), metrics_of(folder)
    best = found.best and {**found.best, "objective": found.objective}
    if "key" in metrics and (best is None or best["key"] != metrics["key"]):
        best = read_run(folder).summary()  # the final training chose another one
    return {
        "folder": str(folder),
        "phase": phase_of(folder, metrics),
        "grammar": config["grammar"],
        "task": config["task"],
        "seed": config["seed"],
        "strategy": config["search"]["strategy"],
        "budget": max(int(config["search"]["budget"]), found.budget),
        "proposed": found.proposed,
        "evaluated": found.evaluated,
        "failures": dict(sorted(found.failures.items())),
        "best": best,
        "test": metrics.get("test", {}),
        "idle_seconds": max(0.0, time.time() - (folder / JOURNAL_FILE).stat().st_mtime),
    }


__all__ = ["Standing", "standing", "status"]
