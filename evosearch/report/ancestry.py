"""Where a candidate comes from: what changed from its parent to it, and the way back to a seed or a sample."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evosearch.report.reading import Candidate, RunReading

TOKEN = re.compile(r"\w+|\s+|.")
KEPT = 40  # characters of unchanged text shown on either side of a change


def lineage(run: RunReading, candidate: Candidate) -> list[Candidate]:
    """From the seed or sample that began it to the candidate; of two parents, the one it is more like is followed."""
    chain = [candidate]
    while chain[-1].parents:
        chain.append(run.candidates[nearest_parent(run, chain[-1])])
    return chain[::-1]


def nearest_parent(run: RunReading, candidate: Candidate) -> int:
    """The number of its parent; where there are two, of the one whose text has more in common with its own."""
    if len(candidate.parents) == 1:
        return candidate.parents[0]
    tokens = TOKEN.findall(candidate.text)
    return max(candidate.parents, key=lambda number: (_likeness(run.candidates[number].text, tokens), -number))


def _likeness(text: str, tokens: Sequence[str]) -> float:
    return difflib.SequenceMatcher(None, TOKEN.findall(text), tokens, autojunk=False).quick_ratio()


def marked_up(before: str, after: str) -> str:
    """What became of a text, as wdiff writes it: [-gone-] and {+new+}; long unchanged stretches are cut short."""
    a, b = TOKEN.findall(before), TOKEN.findall(after)
    parts = []
    changes = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for number, (kind, a_from, a_to, b_from, b_to) in enumerate(changes):
        gone, new = "".join(a[a_from:a_to]), "".join(b[b_from:b_to])
        if kind == "equal":
            parts.append(_shortened(gone, first=number == 0, last=number == len(changes) - 1))
            continue
        if gone:
            parts.append(f"[-{gone}-]")
        if new:
            parts.append(f"{{+{new}+}}")
    return "".join(parts)


def _shortened(text: str, *, first: bool, last: bool) -> str:
    head = "" if first else text[:KEPT]
    tail = "" if last else text[-KEPT:]
    return text if len(text) <= len(head) + len(tail) + 3 else f"{head}...{tail}"
