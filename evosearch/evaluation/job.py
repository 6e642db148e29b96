"""What an evaluation is asked, what it may take, and what it answers: the words of evaluators and of their workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from evosearch.architecture import Space
    from evosearch.evaluation.measures import Measure
    from evosearch.evaluation.recipe import Recipe
    from evosearch.evaluation.stopping import StopRule
    from evosearch.grammar.core import Derivation
    from evosearch.plugins import Operator
    from evosearch.score import Score
    from evosearch.tasks import DirectTask, Task


@dataclass(frozen=True, slots=True)
class Job:
    """One candidate to evaluate.

    number: its proposal's. text: its sentence. key: its canonical key. seed: of its training.
    brief: what the recipe's stop rule says of the curves known when it was proposed, in plain values.
    fidelity: the share of a whole training that it gets, above 0 and up to 1. repeat: as a Proposal's.
    parent: number and sentence of the candidate whose weights it begins with; None where it begins from nothing.
    derivation: what the text says, where the job is evaluated in the process that made it; it crosses to no other.
    """

    number: int
    text: str
    key: str
    seed: int = 0
    brief: Any = None
    fidelity: float = 1.0
    repeat: int = 0
    parent: tuple[int, str] | None = None
    derivation: Derivation | None = field(default=None, compare=False, repr=False)

    def pack(self) -> dict[str, Any]:
        """As plain values for msgpack, without the derivation."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "derivation"}

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> Job:
        """From plain values."""
        return cls(**{**data, "parent": tuple(data["parent"]) if data["parent"] else None})


@dataclass(frozen=True)
class Resources:
    """What one worker has: a device, threads, bytes of main memory and of the device's own, seconds for a candidate.

    memory: what its process may take. device_memory: what a training on the device may be estimated to take, before it
    is begun; on CPU a figure of main memory that does not depend on the number of workers. 0 is no limit.
    """

    device: str = "cpu"
    threads: int = 1
    memory: int = 0
    device_memory: int = 0
    time_limit: float = 0.0


class Evaluation(NamedTuple):
    """A score, and what is worth keeping of how it came about: the traceback of a failure."""

    score: Score
    log: str = ""


@dataclass(frozen=True)
class EvaluationContext:
    """What an evaluator is made with: `Network(context)`. It is the same in the parent and in each worker.

    stop: the recipe's stop rule, None where every training goes to its end. signs: the search's objectives, names to 1
    where larger is better, else -1. measures: those of the user's own that are among them. proxies: what is measured of
    networks before they are trained.
    """

    space: Space
    task: Task | DirectTask
    recipe: Recipe
    resources: Resources
    stop: StopRule | None = None
    signs: Mapping[str, int] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    proxies: Mapping[str, Operator] = field(default_factory=dict)


class Evaluator(Protocol):
    """Scores candidates. A class made with a Context; workers run any and know none."""

    @property
    def digest(self) -> str:
        """32 hex digits; changes when anything but task, space and candidate that decides a score does."""

    @property
    def measures(self) -> Mapping[str, int]:
        """The objectives that its scores may have: names to 1 where larger is better, -1 where smaller is, 0 where
        only the person knows.
        """

    def prepare(self, folder: Path | None) -> None:
        """Called once in each worker before its first job, for what should not be on the first candidate's time.

        folder: the run's; None where there is none. Raises EvosearchError.
        """

    def __call__(self, job: Job) -> Evaluation:
        """The candidate's score. What is wrong with a candidate is a status of its score; what is raised crashed it."""


__all__ = ["Evaluation", "EvaluationContext", "Evaluator", "Job", "Resources"]
