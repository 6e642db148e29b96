"""What a run's page is about: the figures that several of its sections ask for, each worked out once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.errors import EvosearchError, RunCorrupt, UsageError
from evosearch.report import figures
from evosearch.report.ancestry import nearest_parent
from evosearch.report.figures import Band, Sample, measured
from evosearch.report.page.candidates import chosen
from evosearch.report.page.svg import escape, exact
from evosearch.report.text import duration
from evosearch.store.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evosearch.report.reading import Candidate, RunReading


ANCESTORS, GENERATIONS = 300, 60  # drawn in the tree of the winner's descent, listed below it


def ends_of(line: list[int]) -> list[int]:
    """A line of descent as it is listed: where it is too long, its beginning and its end."""
    return line if len(line) <= GENERATIONS else line[: GENERATIONS // 2] + line[-GENERATIONS // 2 :]


@dataclass(frozen=True)
class Report:
    """One run's page. baseline: a run of random search to compare with."""

    run: RunReading
    baseline: RunReading | None = None
    layers: tuple[str | Path, ...] = ()
    drawn: dict[int, str] = field(default_factory=dict)  # drawings by candidate; empty where it cannot be drawn

    def __post_init__(self) -> None:
        if self.baseline is not None:
            _refuse_baseline(self.run, self.baseline)

    def later(self, run: RunReading) -> Report:
        """The page of a later reading of the same run: what it was begun with, and what is drawn, is known already."""
        found = replace(self, run=run)
        if "space" in vars(self):
            vars(found)["space"] = self.space
        return found

    @property
    def name(self) -> str:
        return self.run.folder.resolve().name

    @cached_property
    def metric(self) -> str:
        return figures.objectives(self.run)[0].name

    @cached_property
    def sign(self) -> int:
        return figures.objectives(self.run)[0].sign

    @cached_property
    def steps(self) -> list[figures.Improvement]:
        return figures.improvements(self.run)

    @cached_property
    def winner(self) -> Candidate | None:
        """What best/ holds; before it is there, the best so far."""
        key = self.run.metrics.get("key")
        known = self.run.with_key(key) if isinstance(key, str) else []
        known = [one for one in known if one.score is not None and one.key == key]
        return known[-1] if known else self.steps[-1].candidate if self.steps else None

    @cached_property
    def fronts(self) -> dict[str, list[Candidate]]:
        found = {against: figures.front(self.run, against) for against in figures.AGAINST}
        return {against: front for against, front in found.items() if front and figures.is_costly(self.run, against)}

    @cached_property
    def known(self) -> list[figures.Ancestor]:
        """The winner, if there is one, and all that it descends from, in the order proposed."""
        return figures.ancestors(self.run, self.winner) if self.winner is not None else []

    @cached_property
    def main_line(self) -> list[int]:
        """From the seed or sample that began it to the winner: of two parents, the one that the child is more like."""
        if self.winner is None:
            return []
        chain = [self.winner.number]
        while made_of := self.run.columns.parents_of(chain[-1]):
            last = self.run.candidates[chain[-1]]
            chain.append(nearest_parent(self.run, last) if len(made_of) == len(last.parents) else made_of[0])
        return chain[::-1]

    @cached_property
    def shown(self) -> list[int]:
        """The numbers of the scored candidates that are on the page: all, or of too many those that it speaks of and an
        even choice of the others.
        """
        return chosen(self.run, self.favourites)

    @cached_property
    def favourites(self) -> frozenset[int]:
        """The candidates that the page speaks of."""
        drawn = [one.number for one in self.known] if len(self.known) <= ANCESTORS else []
        fronts = [one.number for front in self.fronts.values() for one in front]
        return frozenset((*fronts, *(step.candidate.number for step in self.steps), *drawn, *ends_of(self.main_line)))

    @cached_property
    def rewards(self) -> figures.Rewards:
        return figures.rewards(self.run)

    @cached_property
    def state(self) -> Mapping[str, Any]:
        """The newest checkpoint's state: tallies and the policy's table. Empty where there is none that checks."""
        try:
            found = Run.open(self.run.folder).load_checkpoint(archive=False)
        except RunCorrupt:
            return {}  # the page says that there is no checkpoint to read
        return found.state if found else {}

    @cached_property
    def sample(self) -> tuple[Sample, str]:
        """Random draws to compare with, and where they are from."""
        if self.baseline is not None:
            return figures.random_draws(self.baseline), f"the random search {escape(self.baseline.folder.name)}"
        if self.run.config["search"]["strategy"] == "random":
            return figures.random_draws(self.run), "this run's own draws, since it is a random search"
        return figures.random_draws(
            self.run
        ), "the samples that this run itself drew from the grammar, its seeds left out"

    @cached_property
    def band(self) -> Band | None:
        return figures.best_of_draws(self.sample[0], self.sign, max(int(self.run.comparable.sum()), 1))

    @property
    def subject(self) -> str:
        return f"{self.run.config['grammar']} on {self.run.header.get('task', self.run.config['task'])}"

    def time_saved(self) -> str:
        """What the duplicates would have taken at the mean time of those that ran."""
        took = int((self.run.columns.seconds > 0).sum())
        saved = figures.tally(self.state, "duplicates")
        spent = figures.seconds_spent(self.run)
        return f"about {duration(saved * spent / took)} of work" if took and saved else "recognised by their key"

    def drawing(self, one: Candidate) -> str:
        """An architecture as svg; empty where it cannot be read."""
        from evosearch.report.page.drawing import draw

        if one.number not in self.drawn:
            try:
                space = self.space
                self.drawn[one.number] = "" if isinstance(space, str) else draw(space.read(space.parse(one.text)))
            except EvosearchError:
                self.drawn[one.number] = ""  # its details say what its text is; nothing to draw
        return self.drawn[one.number]

    @cached_property
    def space(self) -> Any:
        """The run's space, or why there is none. Its grammar must be the file that the run was started with."""
        from evosearch import grammar as language
        from evosearch.space import recorded_space

        header = self.run.header
        try:
            Run.open(self.run.folder).text(f"grammar/{header['grammar_file']}")
            read = language.load(self.run.grammar_file)
            if self.run.config.get("layers") and not self.layers:
                return f"the run uses own layers; evolve report {self.name} --layers FILE.py names their file"
            return recorded_space(header, read, self.layers)
        except (EvosearchError, ValueError) as error:
            return str(error)

    def outcome(self, one: Candidate) -> str:
        value = measured(one, self.metric)
        return one.status if value is None else f"{self.metric} {exact(value)}"


def _refuse_baseline(run: RunReading, baseline: RunReading) -> None:
    where = f"--baseline {baseline.folder}"
    if baseline.config["search"]["strategy"] != "random":
        raise UsageError(
            f"{where}: its strategy is {baseline.config['search']['strategy']}; "
            "a baseline is a run with --strategy random"
        )
    for part in ("task", "recipe"):
        if baseline.header["digests"].get(part) != run.header["digests"].get(part):
            raise UsageError(f"{where}: its {part} is not that of {run.folder}, so their scores do not compare")
