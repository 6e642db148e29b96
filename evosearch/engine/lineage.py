"""Who begins with whose weights: what a run keeps of it beside the search, and the files that are not needed any more.

A lineage is who a candidate descends from and how long each of them was trained: 32 hex digits over the parent's
lineage, key and epochs, empty where it begins from nothing. Equal keys of other lineages are trained with other seeds,
and a score that has a lineage stays in its run.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evosearch.evaluation.lineage import FOLDER
from evosearch.search.proposal import FIRST
from evosearch.search.rungs import PROMOTE

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.search import Proposal, Search

PARENT = "inherits"  # of a proposal's record: the number of the candidate whose weights it begins with


@dataclass
class Lineages:
    """Of one run. found: number -> lineage; parents: number -> whose weights it begins with; keys: number -> its key.

    children: whether a candidate begins with its parent's weights; one that is promoted to a higher rung goes on with
    its own in any case, where they are there still. held: the candidates whose weights are kept, as the next proposal
    finds them. recent: proposals for which they are kept, of whatever may be promoted yet; 0 without rungs.
    """

    folder: Path
    children: bool = True
    found: dict[int, str] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    held: frozenset[int] = frozenset()
    recent: int = 0

    def recall(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take in a run's journal; what a kill left half-written is removed."""
        for file in (self.folder / FOLDER).glob(".*.new-*"):
            file.unlink()
        for record in records:
            if record["kind"] == "proposal":
                self._add(record["number"], record["key"], record["text"], record.get(PARENT))

    def look(self, search: Search) -> None:
        """Before a proposal is asked for: whose weights it may begin with."""
        self.recent = _recent(search)
        kept = (one for one in search.population if one.full or self.recent)
        self.held = frozenset(one.born for one in kept if one.repeat == FIRST)

    def propose(self, proposal: Proposal) -> dict[str, int]:
        """Decide on a new proposal; what is to be journaled of it.

        A repeat is judged on folds of its own, which are no other's: it begins from nothing.
        """
        parent = proposal.parents[0] if proposal.parents and proposal.repeat == FIRST else None
        if parent is not None and not self._has_weights(parent, proposal):
            parent = None
        self._add(proposal.number, proposal.key, proposal.text, parent)
        return {} if parent is None else {PARENT: parent}

    def _has_weights(self, parent: int, proposal: Proposal) -> bool:
        """Whether the weights are there that a proposal is to begin with. By its number, and never by what lies in the
        folder: which files are removed already hangs on the clock.
        """
        if proposal.operator == PROMOTE:
            return proposal.number - parent <= self.recent
        return self.children and parent in self.held

    def parent(self, proposal: Proposal) -> tuple[int, str] | None:
        """Number and sentence of the candidate whose weights a proposal begins with."""
        number = self.parents.get(proposal.number)
        return None if number is None else (number, self.texts[number])

    def seed(self, proposal: Proposal) -> int:
        """The seed of a proposal's training: its own, and another one for another lineage."""
        lineage = self.found[proposal.number]
        if not lineage:
            return proposal.seed
        text = f"{proposal.seed}:{lineage}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1

    def collect(self, search: Search) -> None:
        """Remove the weights that nobody can begin with any more.

        Kept are those of the population and the hall of fame, of what is not folded in yet, and of the parents of what
        has no score yet; with rungs those of the latest candidates, too, which may be promoted. So at most one file for
        each proposal of the look-ahead comes to those of the population and the hall of fame: its own, or, before it is
        trained, its parent's.
        """
        kept = {one.born for one in (*search.population, *search.front())}
        kept.update(search.unfolded)
        kept.update(self.parents[one.number] for one in search.pending if one.number in self.parents)
        kept.update(range(search.proposed - _recent(search), search.proposed))
        for file in (self.folder / FOLDER).glob("*.safetensors"):
            if file.stem.isdecimal() and int(file.stem) not in kept:
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()

    def _add(self, number: int, key: str, text: str, parent: int | None) -> None:
        self.keys[number], self.texts[number] = key, text
        self.found[number] = ""
        if parent is not None:
            self.parents[number] = parent
            said = f"{self.found[parent]}:{self.keys[parent]}"
            self.found[number] = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


def _recent(search: Search) -> int:
    """For so many proposals the weights of whatever may be promoted are kept; 0 without rungs."""
    return search.settings.population if search.rungs is not None else 0
