"""Scores for a journal, and when two journals are equal, as the promises of docs/design.md say it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from evosearch.store.framing import encode
from evosearch.store.run import Run

TIMES = frozenset({"at", "seconds", "started", "finished", "worker"})


def append_score(run: Run, record: Mapping[str, Any]) -> None:
    """Journal one score, durably."""
    run.write_scores([record])
    run.sync()


def _timeless(value: Any) -> Any:
    """The value without times, and with dicts in the order of their keys."""
    if isinstance(value, dict):
        return {key: _timeless(value[key]) for key in sorted(value, key=str) if key not in TIMES}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return value


def journal_digest(run: Run) -> str:
    """32 hex digits that are equal where proposals in order and scores by number are equal, times aside.

    Scores are summed up, so that the order of their arrival does not count and memory does not grow.
    """
    proposals = hashlib.blake2b(digest_size=16)
    total = counted = 0
    for record in run.records():
        if record["kind"] == "proposal":
            data = encode(_timeless(record))
            proposals.update(len(data).to_bytes(8, "little") + data)
        elif record["kind"] == "score":
            score = hashlib.blake2b(encode(_timeless(record)), digest_size=16).digest()
            total = (total + int.from_bytes(score, "little")) % (1 << 128)
            counted += 1
    proposals.update(total.to_bytes(16, "little") + counted.to_bytes(8, "little"))
    return proposals.hexdigest()


def equal_journals(a: Run, b: Run) -> bool:
    """Whether two runs proposed the same in the same order and got the same scores by number, times aside."""
    return journal_digest(a) == journal_digest(b)
