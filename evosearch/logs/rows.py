"""A journal's scores as flat rows, each with the same columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from evosearch.text import clean

if TYPE_CHECKING:
    from evosearch.store.run import Record, Run

Row = dict[str, Any]

# What every row has, in this order. Behind it stand objective_NAME and metric_NAME of what the task measures.
COLUMNS = (
    "number", "key", "status", "operator", "parents", "params", "flops", "activations", "modules", "seconds", "at",
    "seed", "curve", "error", "text",
)  # fmt: skip


def row(proposal: Mapping[str, Any], score: Mapping[str, Any]) -> Row:
    """A proposal's record and its score's as one flat row; what is of another kind than it should be is left out."""
    cost = _mapping(score.get("cost"))
    return {
        "number": proposal.get("number"),
        "key": proposal.get("key"),
        "status": score.get("status"),
        "operator": proposal.get("operator"),
        "parents": _list(proposal.get("parents")),
        "params": cost.get("params"),
        "flops": cost.get("flops"),
        "activations": cost.get("activations"),
        "modules": cost.get("modules"),
        "seconds": score.get("seconds"),
        "at": score.get("at"),
        "seed": score.get("seed"),
        "curve": _list(score.get("curve")),
        "error": score.get("error"),
        "text": proposal.get("text"),
        **share_of(proposal),
        **dict(measured(score)),
    }


def share_of(proposal: Mapping[str, Any]) -> dict[str, Any]:
    """The fidelity of an evaluation that is no whole one."""
    return {"fidelity": proposal["fidelity"]} if proposal.get("fidelity", 1.0) != 1.0 else {}


def measured(score: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What the task measured, each under the name of its column."""
    for kind in ("objective", "metric"):
        for name, value in _mapping(score.get(f"{kind}s")).items():
            yield f"{kind}_{one_line(str(name))}", value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def rows(run: Run, skip: int = 0) -> Iterator[Row]:
    """What the journal says, a row for each score but the first `skip`; holds no more than what is in flight.

    Where the newest checkpoint tells of no more than those, the journal is read from there on.
    """
    waiting: dict[int, Record] = {}
    checkpoint, start = run.load_checkpoint(archive=False) if skip else None, None
    if checkpoint is not None and checkpoint.standing and checkpoint.standing["evaluated"] <= skip:
        waiting = {record["number"]: record for record in checkpoint.standing["waiting"]}
        skip, start = skip - checkpoint.standing["evaluated"], checkpoint.offset
    for proposal, score in pairs(run, waiting, start):
        if skip:
            skip -= 1
            continue
        yield row(proposal, score)


def pairs(run: Run, waiting: Mapping[int, Record] = {}, start: int | None = None) -> Iterator[tuple[Record, Record]]:
    """Each proposal and its score, in the order in which the journal has scores; holds no more than what is in flight.

    From an offset `start` on, before which the proposals in `waiting` had no score yet.
    """
    waiting = dict(waiting)
    for record in run.records(start):
        if record["kind"] == "proposal":
            waiting[record["number"]] = record
        elif record["kind"] == "score":
            yield waiting.pop(record["number"]), record


def one_line(text: str) -> str:
    """The text as it stands in one line."""
    return clean(text.replace("\n", " ").replace("\t", " "))


def finite(value: Any) -> Any:
    """The value, or None in place of a number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value
