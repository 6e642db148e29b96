"""Candidates scored by the task itself: a person's function, or a table of recorded figures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from evosearch.errors import ArchitectureError
from evosearch.evaluation.failures import one_line
from evosearch.evaluation.job import Evaluation, EvaluationContext, Job
from evosearch.score import Score

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evosearch.tasks import DirectTask


OPPOSITE = {"+": -1, "-": 1}


class Direct:
    def __init__(self, context: EvaluationContext) -> None:
        self.context = context
        self.task = cast("DirectTask", context.task)

    @property
    def digest(self) -> str:
        """The recipe's, though no recipe is followed: so runs and ledgers have it."""
        return self.context.recipe.digest(threads=self.context.resources.threads)

    @property
    def measures(self) -> Mapping[str, int]:
        return self.task.signs

    def prepare(self, folder: Path | None) -> None:
        """Nothing: the task is read."""

    def __call__(self, job: Job) -> Evaluation:
        try:
            derivation = job.derivation
            if derivation is None and self.task.uses_derivation:
                derivation = self.context.space.parse(job.text)
        except ArchitectureError as error:
            return Evaluation(Score(job.key, "invalid", seed=job.seed, error=one_line(error)))
        score = self.task.at(job.fidelity).evaluate(job.text, derivation, job.key, job.seed)
        return Evaluation(unsigned(score, self.context.signs))


def unsigned(score: Score, signs: Mapping[str, int]) -> Score:
    """The score with plain names where its task gave them with signs; a failure where those contradict the search."""
    if not any(name[:1] in OPPOSITE for name in score.objectives):
        return score
    wrong = [name for name in score.objectives if name[:1] in OPPOSITE and signs.get(name[1:]) == OPPOSITE[name[0]]]
    if wrong:
        asked = "-" if wrong[0][0] == "+" else "+"
        said = f"it returned {wrong[0]!r}, and the search is for {asked + wrong[0][1:]!r}; make them agree"
        return replace(score, status="invalid", objectives={}, error=said)
    return replace(score, objectives={name.lstrip("+-"): value for name, value in score.objectives.items()})
