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

from evosearch.errors import OperatorError
from evosearch.evaluation.lineage import FOLDER
from evosearch.score import LINEAGE_EPOCHS
from evosearch.search.proposal import FIRST
from evosearch.search.rungs import PROMOTE
from evosearch.search.strategy import Seeking

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.search import Proposal, Search

PARENT = "inherits"  # of a proposal's record: the number of the candidate whose weights it begins with


@dataclass(slots=True)
class Member:
    """One candidate of a line. parent: the number of the one whose weights it begins with. weights: whether it leaves
    some to its children; a candidate that was told its score, and trained elsewhere or not at all, does not.
    """

    key: str
    text: str
    lineage: str = ""
    parent: int | None = None
    weights: bool = True


@dataclass
class Lineages:
    """Of one run. members: by their numbers, those that something may still be asked of.

    children: whether a candidate begins with its parent's weights; one that is promoted to a higher rung goes on with
    its own in any case, where they are there still. held: the candidates whose weights are kept, as the next proposal
    finds them. recent: proposals for which they are kept, of whatever may be promoted yet; 0 without rungs.
    """

    folder: Path
    children: bool = True
    members: dict[int, Member] = field(default_factory=dict)
    held: frozenset[int] = frozenset()
    recent: int = 0

    def recall(self, records: Iterable[Mapping[str, Any]], search: Search) -> None:
        """Take in a run's journal; what a kill left half-written is removed."""
        for file in (self.folder / FOLDER).glob(".*.new-*"):
            file.unlink()
        for record in records:
            if record["kind"] == "proposal":
                self._add(record["number"], record["key"], record["text"], record.get(PARENT))
            elif record["kind"] == "score":
                self.scored(record["number"], record["metrics"])
        self._forget(search)

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
        if parent is not None and not self._is_kept(parent, proposal):
            parent = None
        parent = self._add(proposal.number, proposal.key, proposal.text, parent)
        return {} if parent is None else {PARENT: parent}

    def _is_kept(self, parent: int, proposal: Proposal) -> bool:
        """Whether the weights are kept that a proposal is to begin with. By its number, and never by what lies in the
        folder: which files are removed already hangs on the clock.
        """
        if proposal.operator == PROMOTE:
            return proposal.number - parent <= self.recent
        return self.children and parent in self.held

    def scored(self, number: int, metrics: Mapping[str, float]) -> None:
        """What came of a candidate: it leaves weights where its score says for how long they were trained."""
        self.members[number].weights = LINEAGE_EPOCHS in metrics

    def inherits(self, number: int) -> bool:
        """Whether a candidate begins with weights."""
        return self.members[number].parent is not None

    def leaves_weights(self, number: int) -> bool:
        """Whether a candidate of the population, the hall of fame or a strategy's winner has weights in the folder."""
        return self.members[number].weights

    def parent(self, proposal: Proposal) -> tuple[int, str] | None:
        """Number and sentence of the candidate whose weights a proposal begins with."""
        number = self.members[proposal.number].parent
        return None if number is None else (number, self.members[number].text)

    def seed(self, proposal: Proposal) -> int:
        """The seed of a proposal's training: its own, and another one for another lineage."""
        lineage = self.members[proposal.number].lineage
        if not lineage:
            return proposal.seed
        text = f"{proposal.seed}:{lineage}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1

    def collect(self, search: Search) -> None:
        """Remove the weights that nobody can begin with any more, and forget whose they were.

        Kept are those of the population, the hall of fame and a strategy's winner, of what is not folded in yet, and of
        the parents of what has no score yet; with rungs those of the latest candidates, too, which may be promoted. So
        at most one file for each proposal of the look-ahead comes to those of the population and the hall of fame: its
        own, or, before it is trained, its parent's.
        """
        kept = self._forget(search)
        for file in (self.folder / FOLDER).glob("*.safetensors"):
            if file.stem.isdecimal() and int(file.stem) not in kept:
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()

    def _forget(self, search: Search) -> set[int]:
        """Keep of the members only whom a proposal may begin with or is asked about; their numbers."""
        kept = {one.born for one in (*search.population, *search.front())}
        if isinstance(search.strategy, Seeking) and search.strategy.winner is not None:
            kept.add(search.strategy.winner.born)
        kept.update(search.unfolded)
        kept.update(range(search.proposed - _recent(search), search.proposed))
        parents = (self.members[one.number].parent for one in search.pending)
        kept.update(parent for parent in parents if parent is not None)
        self.members = {number: one for number, one in self.members.items() if number in kept}
        return kept

    def _add(self, number: int, key: str, text: str, parent: int | None) -> int | None:
        """A new member; the number of whom it begins with, None where that one leaves no weights."""
        member = self.members[number] = Member(key, text)
        if parent is not None and parent not in self.members:
            raise OperatorError(
                f"candidate {parent} is a parent again, and had left the strategy's `population`, with its weights; "
                "where weights pass on (recipe.inherit), `population` holds all that may be a parent still"
            )
        if parent is not None and (before := self.members[parent]).weights:
            member.parent = parent
            member.lineage = hashlib.blake2b(f"{before.lineage}:{before.key}".encode(), digest_size=16).hexdigest()
        return member.parent


def _recent(search: Search) -> int:
    """For so many proposals the weights of whatever may be promoted are kept; 0 without rungs."""
    return search.settings.population if search.rungs is not None else 0
