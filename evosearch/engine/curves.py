"""The curves that a run's stop rule is told of, taken in as scores are folded in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evosearch.evaluation import stopping

if TYPE_CHECKING:
    from evosearch.evaluation.stopping import Known, StopRule
    from evosearch.search import Proposal, Search


class Curves:
    """What a rule says of the scores that each proposal was made from, the curves of each fidelity by themselves: a
    shorter schedule has another curve.

    Each row of the search's history is looked at once, for proposals that come in their order, as a search asks for
    them. For one that comes out of order (a person has it evaluated later than others) the history is walked.
    """

    def __init__(self, rule: StopRule, search: Search) -> None:
        self.rule, self.search = rule, search
        self._known: dict[float, Known] = {}
        self._rows = 0  # of the history that were taken in, from its first on
        self._largest = -1  # number among these

    def brief(self, proposal: Proposal) -> Any:
        """What the rule says of the scores folded when a proposal was made: those numbered below its window."""
        settings, history = self.search.settings, self.search.history
        in_order = settings.order == "proposal"
        below = proposal.number - (settings.lookahead if in_order else 0)
        while self._rows < len(history) and (number := history.numbers[self._rows]) < below:
            self._of(history.fidelity(self._rows)).add(history.curve(self._rows))
            self._rows, self._largest = self._rows + 1, max(self._largest, number)
        if self._largest < below and (in_order or self._rows == len(history)):
            return self._of(proposal.fidelity).brief()
        return self.rule.brief(
            history.curve(row)
            for row, number in enumerate(history.numbers)
            if number < below and history.fidelity(row) == proposal.fidelity
        )

    def _of(self, fidelity: float) -> Known:
        if fidelity not in self._known:
            self._known[fidelity] = stopping.known(self.rule)
        return self._known[fidelity]
