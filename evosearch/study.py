"""A search from Python: what `evolve run` and `evolve resume` do, as an object of a script or a notebook.

    study = Study(task="data.csv", folder="runs/mine")
    study.optimize(time="3m")
    study.best.text, study.network()

A study is a run's folder. Whatever it finds is there for the commands too, and `Study.resume(folder)` goes on with any
run. Workers are processes of their own which never import the script, so it needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import gc
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np

from evosearch import config as configuration
from evosearch import engine, given, paths
from evosearch.cost import Cost
from evosearch.engine import lifecycle
from evosearch.engine.replay import Changes, longest_time, recorded
from evosearch.engine.timing import used_seconds
from evosearch.errors import RunError, UsageError
from evosearch.report.reading import Candidate, read_run
from evosearch.score import Score
from evosearch.search.proposal import FULL
from evosearch.store.disk import unused
from evosearch.store.run import JOURNAL_FILE, Run

if TYPE_CHECKING:
    from torch import nn

    from evosearch.architecture import Architecture
    from evosearch.config import Config
    from evosearch.engine.session import Session
    from evosearch.inference import Predictor
    from evosearch.search import Proposal
    from evosearch.tasks import AnyTask
    from evosearch.watch import Progress, Summary

Array = np.ndarray[Any, np.dtype[Any]]

ENDLESS = 1_000_000_000  # candidates of a study that is asked and told, where nobody says how many

USUAL = {"search.budget": configuration.DEFAULTS["search"]["budget"]}  # of a study that is told neither time nor budget

Callback = Callable[["Study", "Progress"], object]


@dataclass(frozen=True)
class Trial:
    """A candidate that `ask` gave: number it has in the run, text, canonical key, seed for its evaluation.

    architecture: with shapes and cost, None for a language without layers. operator, parents: what made it, and the
    numbers of those that it was made from. fidelity: the share of a whole evaluation that is wanted, 1 without rungs.
    """

    number: int
    text: str
    key: str
    seed: int
    architecture: Architecture | None
    operator: str = ""
    parents: tuple[int, ...] = ()
    fidelity: float = FULL

    def network(self, outputs: int | None = None) -> nn.Module:
        """The network, freshly initialised by torch's generator: a batch of examples -> (batch, outputs).

        outputs: how many, of a study that has an input shape and no task: a linear layer on the means stands behind
        the sentence. Where nothing is said such a network ends as its sentence does, (batch, *architecture.output), of
        whatever width. Raises UsageError where the candidate is no network, or its study's task has other outputs.
        """
        if self.architecture is None:
            raise UsageError("this grammar's sentences are no networks (`input: none`)")
        from evosearch import network

        return network.build(self.architecture, outputs)


class Study:
    """A search and its folder.

    config: a TOML file as `evolve run` takes it. folder: the run's, made by the first `optimize` or `ask`; a fresh one
    in runs/ where nothing is said. task: as `--task` takes it, or a pair (X, y) of arrays or of a DataFrame and its
    targets, these and the groups of the rows (X, y, groups), a DataFrame with its targets in it (`data={"target":
    "name"}`, else the last column), a mapping of arrays named x_train, y_train, ..., a torch Dataset of pairs (x, y), a
    mapping of such named train, val and test, or a function `(text, derivation, seed) -> fitness`. Data are written
    beside the run's folder. input: in place of a task, the shape of the networks that `ask` gives, or "none" for a
    language without layers.
    settings: the configuration's other keys, tables as mappings: `time="10m", seed=1, search={"population": 10}`. What
    is not given follows from the data, as for `evolve run`, a grammar that fits them among it; without time and budget
    the search has 80 candidates.

    Raises EvosearchError where a key or a task is wrong. Usable as a context manager, which closes what `ask` holds.
    """

    _untold: ClassVar[tuple[str, ...]] = ()  # a line for whoever watches that has one of these in it is not told

    def __init__(
        self,
        config: Path | str | None = None,
        *,
        folder: Path | str | None = None,
        task: object = None,
        input: Sequence[int] | Literal["none"] | None = None,
        **settings: Any,
    ) -> None:
        path = None if config is None else Path(config)
        said, where = configuration.read(path, settings)
        read = configuration.validate(said, where)
        base = read.name or (f"{Path(read.grammar).stem}-study" if "grammar" in said else "study")
        self.folder = Path(folder) if folder is not None else unused(Path("runs") / base)
        if self.folder.exists():
            raise UsageError(f"{self.folder} exists; go on with Study.resume({str(self.folder)!r}), or name another")
        if input is not None:
            if task is not None:
                raise UsageError("a study has a task, or the input shape of networks that others evaluate; not both")
            if input != "none" and not _is_shape(input):
                raise UsageError(f"input={input!r}: the shape of one example, as (3, 32, 32), or 'none'")
            budgeted = "budget" in configuration.read(path, settings)[0].get("search", {})
            settings = {
                **({} if budgeted else {"search.budget": ENDLESS}),
                **settings,
                "task": given.told(_objective(read), None if input == "none" else tuple(input)),
            }
        elif task is not None:
            asked = said.get("data", {})
            beside = self.folder.with_name(f"{self.folder.name}-data")
            name, data = given.spec(task, beside, asked.get("target", ""), asked.get("groups", ""))
            data = {key: value for key, value in data.items() if key != "kind" or key not in asked}
            if asked.get("decimal") and "header" in data:
                raise UsageError(
                    "data.decimal says how a file writes numbers, and a DataFrame holds them: leave it out"
                )
            if "words" in data:
                data["words"] = [*asked.get("words", ()), *data["words"]]
            settings = {**settings, **{f"data.{key}": value for key, value in data.items()}, "task": name}
            if given.here_alone(name):
                settings = {"workers.pool": "inline", **settings}
        self._given: tuple[Path | None, dict[str, Any]] = (path, settings)
        self._choose({})

    def _choose(self, size: Mapping[str, Any]) -> None:
        """The configuration of what was given, and of how long to search."""
        path, settings = self._given
        found = engine.chosen(path, {**settings, **size}, USUAL)
        self._configure(found.config, found.task, found.choices)

    def _configure(self, config: Config, task: AnyTask | None = None, why: Sequence[str] = ()) -> None:
        self.config, self._task, self._why = config, task, why
        self.summary: Summary | None = None
        self._session: Session | None = None
        self._open = contextlib.ExitStack()

    @classmethod
    def resume(
        cls,
        folder: Path | str,
        *,
        task: object = None,
        layers: Sequence[Path | str] = (),
        operators: Sequence[Path | str] = (),
    ) -> Self:
        """The study of a run that is there, by whatever it was begun.

        task: the function again, where it is one of a script or a notebook; data are kept beside the run. layers,
        operators: files and folders of the run's own code, as `evolve resume` takes them. Raises RunError where there
        is no run.
        """
        at = Path(folder)
        config = recorded(Run.open(at))
        if task is not None:
            if not callable(task) and not isinstance(task, str | Path):
                raise UsageError(f"{at}: its data are in {config.task}; resume it without `task`")
            if not given.stands_for(task, config.task):
                raise UsageError(f"{at}: its task is {config.task}, and this is another; give the function it was")
        study = cls.__new__(cls)
        study.folder = at
        study._configure(
            config.model_copy(
                update={
                    "layers": paths.own_code("layers", config.layers, layers, run=at),
                    "operators": paths.own_code("operators", config.operators, operators, run=at),
                }
            )
        )
        return study

    # -- searching

    def optimize(
        self,
        *,
        time: str | float | None = None,
        budget: int | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> Summary:
        """Search, then train the best candidate on all but the test rows and test it once; the run's end is in best/.

        time: that it may take, final training included, as "10m" or in seconds; more of it where it has searched.
        budget: candidates more than the study has evaluated, and no fewer than it was given before; the configuration's
        at first where nothing is said, later what is left of it. callbacks: called as `callback(study, progress)` some
        ten times a second and with the last candidate; what one raises ends the search, and `optimize` goes on from
        there. progress: draw a bar in a notebook, a panel in a terminal, and say what was made of the data. Raises
        EvosearchError; UsageError for candidates more of a study that only its time ends.
        """
        if self._session is not None:
            raise UsageError(f"{self.folder}: this study is asked and told; close() it, then resume and optimize")
        view = _view(progress)
        watch = _Watch(self, view, tuple(callbacks), describing=progress)
        try:
            if not self._begun:
                size = {"time": time, "search.budget": budget}
                if size := {key: str(value) if key == "time" else value for key, value in size.items() if value}:
                    self._choose(size)
                why = self._why if progress else ()
                self.summary = engine.start(self.config, self.folder, watch, why, self._task)
            else:
                self.summary = self._go_on(watch, time, budget)
        finally:
            gc.unfreeze()  # a run freezes what is loaded; in a program that goes on this would never be collected
            view.close()
        return self.summary

    def _go_on(self, watch: engine.Watch, time: str | float | None, budget: int | None) -> Summary:
        """What `optimize` does for a run that is there."""
        there, config = read_run(self.folder), self.config
        if budget and time is None and there.endless and there.time:
            raise UsageError(f"{self.folder}: its time ends it, and no number of candidates; optimize(time=...) it")
        evaluated = there.evaluated
        total = max(there.budget, evaluated + (budget or 0)) if time is None or budget else configuration.NO_END
        longer = None
        if time is not None:
            run = Run.open(self.folder)
            given = longest_time(run)
            more = used_seconds(run.records()) + configuration.seconds(str(time))
            longer = f"{max(more, configuration.seconds(given) if given else 0.0):.3f}s"
        return engine.resume(
            self.folder, watch, budget=total, time=longer, layers=config.layers, operators=config.operators
        )

    def ask(self) -> Trial | None:
        """A candidate to evaluate; several may be out at a time. None where the budget is spent, or where the oldest of
        `search.lookahead` candidates must be told first. Raises SpaceExhausted, EvosearchError.
        """
        return self._trial(self.session.ask())

    def propose(self, text: str, parents: Sequence[int] = ()) -> Trial | None:
        """A candidate of your own, which counts as one that `ask` gave; None where that gives None.

        parents: the numbers of those that it was made from. Raises ArchitectureError where the text is none of the
        grammar's, CandidateRefused where this run has it already or it is over a limit; then nothing has changed.
        """
        return self._trial(self.session.propose(text, parents))

    def evaluate(self, *trials: Trial) -> list[Score]:
        """Have trials evaluated by the study's task, as `optimize` does it, and told; their scores.

        Raises UsageError for a trial that is not out, and where candidates are evaluated elsewhere.
        """
        if given.elsewhere(self.config.task):
            raise UsageError("candidates of this study are evaluated elsewhere; tell() what came of them")
        return self.session.evaluate([trial.number for trial in trials])

    def tell(self, trial: Trial, value: float | Mapping[str, float] | None, error: str = "") -> None:
        """What came of a trial: the objective, or several by name; None for a failure, which `error` may explain.

        It is on the disk when this returns. Raises UsageError for a trial that is not out.
        """
        session = self.session
        cost = trial.architecture.cost if trial.architecture is not None else Cost()
        sizes = {"params": float(cost.params), "flops": float(cost.flops)} if trial.architecture is not None else {}
        if value is None:
            score = Score(trial.key, "crashed", cost=cost, seed=trial.seed, error=error or "no value")
        else:
            found = value if isinstance(value, Mapping) else {session.search.objectives[0].name: value}
            objectives = {**sizes, **{name: float(number) for name, number in found.items()}}
            bad = [name for name, number in objectives.items() if not math.isfinite(number)]
            score = Score(trial.key, "ok", objectives, cost=cost, seed=trial.seed)
            if bad:
                said = f"{bad[0]} is {objectives[bad[0]]}"
                score = Score(trial.key, "nan", cost=cost, seed=trial.seed, error=said)
        session.tell(trial.number, score)

    def _trial(self, proposal: Proposal | None) -> Trial | None:
        if proposal is None:
            return None
        space = self.session.setup.space
        architecture = space.read(proposal.derivation) if space.input is not None else None
        return Trial(
            proposal.number,
            proposal.text,
            proposal.key,
            proposal.seed,
            architecture,
            proposal.operator,
            proposal.parents,
            proposal.fidelity,
        )

    @property
    def session(self) -> Session:
        """The work on the run that `ask` and `tell` are part of; begun by the first of them. Raises EvosearchError."""
        if self._session is None:
            silent = _Watch(self, _view(False), ())
            if self._begun:
                config = self.config
                own = Changes(layers=config.layers, operators=config.operators)
                context = lifecycle.reopened(self.folder, silent, own)
            else:
                context = lifecycle.begun(engine.prepare(self.config), self.folder, silent)
            self._session = self._open.enter_context(context)
            self._open.callback(self._session.close)
            self._open.callback(self._session.save)
        return self._session

    def close(self) -> None:
        """Let go of the run's folder, which `ask` holds; everything told is in it."""
        self._session = None
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what was found

    @property
    def _begun(self) -> bool:
        return (self.folder / JOURNAL_FILE).is_file()

    @property
    def best(self) -> Candidate:
        """The candidate in best/; before the first end of `optimize` the best so far. Raises RunError without one."""
        found = read_run(self.folder).best_candidate() if self._begun else None
        if found is None:
            raise RunError(f"{self.folder}: no candidate has succeeded yet")
        return found

    def pareto(self, against: str = "params") -> list[Candidate]:
        """The candidates that no other one beats in fitness and in `against`, the smallest first."""
        return read_run(self.folder).front(against) if self._begun else []

    def rows(self) -> list[dict[str, Any]]:
        """A flat mapping for each candidate in the order proposed: number, key, text, operator, parents, status, error,
        seconds; its objectives and its cost by their names.
        """
        return [_row(one) for one in read_run(self.folder).candidates] if self._begun else []

    def to_frame(self) -> Any:
        """`rows` as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def network(self) -> nn.Module:
        """The best network with its trained weights, which takes normalised examples; see `evosearch.load`."""
        from evosearch.results import load

        return load(self.folder, self.config.layers, self.config.operators)

    @property
    def labels(self) -> list[Any]:
        """The classes in their own type, in the order of `predict_proba`; empty where numbers are predicted."""
        return list(self._predictor().description["labels"])

    def predict(self, examples: Any) -> Array:
        """What the best network says of examples as the task's data have them: (N,) labels in their own type, numbers
        (N,) or (N, outputs).

        examples: of a table rows as a DataFrame, mappings by column, or cells in the file's order; else an array or a
        tensor (N, *input), or a list of examples. Raises RunError before the first end of `optimize`, TaskError with
        the row where an example is wrong.
        """
        columns = self._predictor().asked(examples)
        found = [values for name, values in columns.items() if name.startswith("prediction")]
        return np.asarray(found[0]) if len(found) == 1 else np.stack([np.asarray(values) for values in found], 1)

    def predict_proba(self, examples: Any) -> Array:
        """(N, classes), the probability of each of `labels`. Raises as `predict`; UsageError without classes."""
        columns = self._predictor().asked(examples)
        chances = [np.asarray(values) for name, values in columns.items() if name.startswith("p(")]
        if not chances:
            raise UsageError(f"{self.folder}: its task has no classes; predict() gives numbers")
        return np.stack(chances, 1)

    def _predictor(self) -> Predictor:
        from evosearch import inference

        return inference.load(self.folder, self.config.layers, self.config.operators)


def _row(candidate: Candidate) -> dict[str, Any]:
    score = candidate.score or {}
    return {
        "number": candidate.number,
        "key": candidate.key,
        "text": candidate.text,
        "operator": candidate.operator,
        "parents": list(candidate.parents),
        "status": candidate.status,
        "error": score.get("error", ""),
        "seconds": score.get("seconds"),
        **candidate.cost,
        **candidate.objectives,
    }


def _is_shape(input: object) -> bool:
    return isinstance(input, list | tuple) and all(isinstance(size, int | np.integer) for size in input)


def _objective(config: Config) -> str:
    """The first objective's name with its sign, as it is said; fitness where nothing is."""
    return config.search.objectives[0].lstrip("+-") if config.search.objectives else "fitness"


# --- who watches ----------------------------------------------------------------------------------------------------


class _View(engine.Watch, Protocol):
    """A Watch that draws."""

    def close(self) -> None: ...


@dataclass
class _Watch:
    """Tells a view and the callbacks."""

    study: Study
    view: _View
    callbacks: tuple[Callback, ...]
    describing: bool = True

    def started(self, info: Mapping[str, Any]) -> None:
        self.view.started(info)

    def described(self, lines: Sequence[str]) -> None:
        if self.describing:
            self.view.described([line for line in lines if self._tells(line)])

    def progress(self, progress: Progress) -> None:
        self.view.progress(progress)
        for callback in self.callbacks:
            callback(self.study, progress)

    def note(self, text: str) -> None:
        if self._tells(text):
            self.view.note(text)

    def finished(self, summary: Summary) -> None:
        self.view.finished(summary)

    def _tells(self, line: str) -> bool:
        return not any(part in line for part in self.study._untold)


def _view(wanted: bool) -> _View:
    """A bar in a notebook, a panel in a terminal; elsewhere what went otherwise than asked alone, on stderr."""
    from evosearch.report.live import LiveView, QuietView
    from evosearch.report.notebook import NotebookView, in_notebook

    if wanted and in_notebook():
        return NotebookView()
    if wanted and sys.stdout.isatty():
        from rich.console import Console

        return LiveView(Console())
    return QuietView(sys.stderr)


__all__ = ["Study", "Trial"]
