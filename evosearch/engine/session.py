"""One process's work on a run: ask, journal, evaluate, journal durably, tell, until the budget is spent; then best/."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from evosearch import logs, workers
from evosearch.config import NO_END
from evosearch.engine import timing, waiting
from evosearch.engine.contenders import contenders
from evosearch.engine.curves import Curves
from evosearch.engine.ended import SUMMARY, kept
from evosearch.engine.finishing import STARTING, Finishing, drawn_parts, share_of_rows, wanted
from evosearch.engine.lineage import Lineages
from evosearch.engine.replay import NOTHING, Saved
from evosearch.engine.timing import Durations, TimeBudget
from evosearch.errors import RunError, SpaceExhausted, StorageError, UsageError
from evosearch.evaluation import lineage
from evosearch.individual import Individual, fitness_class
from evosearch.report.standing import standing
from evosearch.report.text import near
from evosearch.results import Final, Finished, files
from evosearch.score import Score, evaluation_seed
from evosearch.search.proposal import FULL
from evosearch.search.standing import best_first
from evosearch.search.strategy import Seeking
from evosearch.store.framing import decode, encode
from evosearch.store.ledger import Ledger
from evosearch.tasks import Task
from evosearch.tasks.baseline import linear_baseline
from evosearch.watch import Progress, Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evosearch.engine.setup import Setup
    from evosearch.evaluation.evaluators import Spec
    from evosearch.search import Proposal, Search
    from evosearch.store.run import Run
    from evosearch.watch import Watch

CHECKPOINT_SCORES = 2_000  # scores after which a checkpoint is due: what a resume has to replay at the most ...
CHECKPOINT_SHARE = 50  # ... or one in so many of all, since a checkpoint's log book grows with the run
CHECKPOINT_SECONDS = 30.0
BUSY = 4  # look-ahead for each worker: of 1,000 with candidates of 1 to 100 s, 88 % are busy (docs/decisions.md)
SYNC = 0.05  # seconds in which scores that come one upon another share an fsync; none is shown before it
WAIT = 0.5  # seconds; how often progress is told while nothing comes in
SHOWN = 0.1  # seconds between two tellings of progress at the least
RECENT = 40  # scores shown as a sparkline
FINALISTS = 5  # individuals tried for best/, where the final training of a better one fails
SHORT = 0.5  # of a final training done, below which it is said that time was short


class Aside:
    """A figure that is worked out beside the search, on one thread; nothing where it has not come when it is wanted."""

    def __init__(self, work: Callable[[], dict[str, float]]) -> None:
        self._work = work
        self.result: dict[str, float] = {}
        threading.Thread(target=self._run, name="evosearch-baseline", daemon=True).start()

    def _run(self) -> None:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # the other cores are the workers'
            self.result = self._work()


@dataclass
class Session:
    """One process's work on a run. saved: what its newest checkpoint holds."""

    setup: Setup
    search: Search
    run: Run
    watch: Watch
    log_makers: Mapping[str, logs.Maker]
    time: TimeBudget = field(default_factory=lambda: TimeBudget(begun=time.monotonic()))
    saved: Saved = NOTHING
    pool: workers.Pool | None = None
    known: int = 0
    baseline: Aside | None = None
    finishing: Finishing | None = None
    arrived: list[tuple[int, Score]] = field(default_factory=list)
    ranked: list[Individual] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begun = self.time.begun
        self.durations = Durations(self.setup.config.recipe)
        if self.time.limited:
            self.run.append_note(timing.opened(time.time() - (time.monotonic() - self.begun)))
            for record in self.run.records():
                self.durations.add(record)
        self.standing = standing(self.run, tuple(map(str, self.search.objectives)))
        self.evaluated_before = self.search.evaluated
        self.failed: dict[str, str] = {}  # the first candidate of each status in this session, by its key
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.saved_at, self.shown_at, self.synced_at = self.begun, 0.0, 0.0
        self.unsettled: list[tuple[logs.Scored, Score | None]] = []  # journaled and told to the search, not durable yet
        self.inline = False  # whether the pool evaluates in this process
        # A score from elsewhere may be of a training that a rule would have stopped in this run.
        rule = self.setup.rule
        shared = isinstance(self.setup.task, Task) and not (rule is not None and rule.relative)
        self.ledger = Ledger.shared() if shared else None
        self.lineages = self._lineages()
        self.curves = Curves(rule, self.search) if rule is not None else None
        self.proposals: dict[int, Proposal] = {}
        first, best = self.search.objectives[0], self.search.best()
        stands = logs.Session(
            self.run,
            first.name,
            first.sign,
            evaluated=self.search.evaluated,
            best=self._fitness(best) if best and best.full else None,
            failures=self.standing.failures,
            worth=self.search.policy.worth,
        )
        self.logs = logs.Logs(stands, self.log_makers)

    def go_on(self) -> Summary:
        """To the end of the budget, then best/."""
        told = waiting.at_start(self.setup, self.search)
        try:
            for line in told.values():
                self.watch.note(line)
            self._to_the_end()
            for setting, line in waiting.at_end(self.setup, self.search).items():
                if setting not in told:
                    self.watch.note(line)
            summary = self._finish()
            if self.time.limited:  # at once: a run that is killed without it would train once more, for less time
                self.run.append_note(timing.closed(time.time()))
        finally:
            if self.finishing is not None:
                self.finishing.close()
        self.watch.finished(summary)
        return summary

    def _to_the_end(self) -> None:
        """The search, until its budget or its time is spent."""
        try:
            for proposal in self.search.pending:
                self.submit(proposal)
            if self.time.limited and isinstance(self.setup.task, Task):
                self.baseline = Aside(functools.partial(linear_baseline, self.setup.task))
            self._search()
            self.save()
            self.ranked = self._ranked_in_full()
        finally:
            self.close()

    def ask(self) -> Proposal | None:
        """The next candidate, for whoever evaluates it elsewhere; those that nobody was given since the run was opened
        come first. None where the budget is spent, or the look-ahead window waits for a score.
        """
        waiting = [proposal for proposal in self.search.pending if proposal.number not in self.proposals]
        if waiting:
            self.proposals[waiting[0].number] = waiting[0]
            return waiting[0]
        return self._next()

    def propose(self, text: str, parents: Sequence[int] = ()) -> Proposal | None:
        """A sentence of somebody else's as the next candidate, as if `ask` had given it; None where that gives None.

        Raises ArchitectureError where it is none of the space's, CandidateRefused where the search does not take it.
        """
        derivation = self.search.space.parse(text)
        if self.lineages is not None:
            self.lineages.look(self.search)
        return self._handed_out(self.search.propose(derivation, parents))

    def _next(self) -> Proposal | None:
        """The search's next candidate, journaled."""
        if self.lineages is not None:
            self.lineages.look(self.search)
        return self._handed_out(self.search.ask())

    def _handed_out(self, proposal: Proposal | None) -> Proposal | None:
        """Journal a proposal."""
        if proposal is not None:
            record = proposal.pack() | (self.lineages.propose(proposal) if self.lineages is not None else {})
            self.run.append_proposal(record)
            self._count({**record, "kind": "proposal"})
            self.proposals[proposal.number] = proposal
        return proposal

    def tell(self, number: int, score: Score) -> None:
        """What came of a candidate that was given out; on the disk when it returns. Raises UsageError for another."""
        self._refuse_unknown(number)
        self._acknowledge([(number, score)])
        self._settle()

    def evaluate(self, numbers: Sequence[int]) -> list[Score]:
        """Have candidates that were given out evaluated as the run does it; on the disk when it returns.

        Raises UsageError for one that was not given out, or has its score.
        """
        for number in numbers:
            self._refuse_unknown(number)
        found: dict[int, Score] = {}
        for number in (wanted := dict.fromkeys(numbers)):
            self.submit(self.proposals[number])
        while len(found) < len(wanted):
            scores, self.arrived = self.arrived or self._pool().wait(WAIT), []
            if scores:
                self._acknowledge(scores)
            found.update((number, self._checked(score)) for number, score in scores)
        self._settle()
        return [found[number] for number in numbers]

    def _refuse_unknown(self, number: int) -> None:
        if number not in self.proposals:
            raise UsageError(f"candidate {number} waits for no score: it was never asked for, or has one already")

    def close(self) -> None:
        """Let go of workers, ledger and logs."""
        if self.pool is not None:
            self.pool.close()
        with contextlib.suppress(StorageError):  # raised where it first happened
            self._settle()
        if self.ledger is not None:
            self.ledger.close()
        self.logs.close()

    def save(self) -> None:
        """Write a checkpoint where something is new since the last one."""
        self._settle()
        now = (self.search.evaluated, self.search.exhausted)
        if now != self.saved:
            self.run.write_checkpoint(self.search.state(), self.standing.pack())
            self.saved, self.saved_at = now, time.monotonic()

    def submit(self, proposal: Proposal) -> None:
        """Take a journaled proposal's score from the ledger where another run paid for it, else have it evaluated."""
        lineages = self.lineages
        self.proposals[proposal.number] = proposal
        if self.ledger is not None and lineages is None:  # a known score has no weights that children could begin with
            score = self.ledger.get(proposal.key, *self.setup.known_as, proposal.seed)
            if score is not None:
                self.known += 1
                self.arrived.append((proposal.number, replace(score, seconds=0.0)))
                return
        seed = lineages.seed(proposal) if lineages else proposal.seed
        job = workers.Job(
            proposal.number, proposal.text, proposal.key, seed, self.curves.brief(proposal) if self.curves else None,
            proposal.fidelity, proposal.repeat, lineages.parent(proposal) if lineages else None,
        )  # fmt: skip
        pool = self._pool()
        pool.submit(replace(job, derivation=proposal.derivation) if self.inline else job)

    def _count(self, record: Mapping[str, Any]) -> None:
        """Keep up what follows from the journal with a record of it."""
        self.standing.add(record)
        if self.time.limited:
            self.durations.add(record)

    def _search(self) -> None:
        gc.freeze()  # what was loaded so far stays: no collection needs to look through torch and numba again
        while not self.search.done and time.monotonic() < (ends := self.time.search_end(self._final_seconds())):
            if not self._propose() and not self.search.pending:
                break
            if self.finishing is None and ends - time.monotonic() < STARTING and isinstance(self.setup.task, Task):
                self.finishing = self._finishing()
            scores, self.arrived = self.arrived, []
            if not scores and self.search.pending:
                wait = min(WAIT, max(0.0, ends - time.monotonic()))
                scores = self._pool().wait(min(wait, SYNC) if self.unsettled else wait)
            if scores:
                self._acknowledge(scores)
            if time.monotonic() - self.synced_at >= SYNC:
                self._settle()
            if time.monotonic() - self.shown_at >= SHOWN or self.search.done:
                self.shown_at = time.monotonic()
                self._settle()
                self.watch.progress(self._progress("search"))

    def _propose(self) -> bool:
        """Ask for as many candidates as the look-ahead allows and the workers can use. False where there are none."""
        asked = False
        while len(self.proposals) < self._capacity() and not self.search.exhausted:
            try:
                proposal = self._next()
            except SpaceExhausted as end:
                if not self.search.proposed:
                    raise
                self.watch.note(f"{end}; the run ends with what it has")
                return asked
            if proposal is None:
                return asked
            self.submit(proposal)
            asked = True
        return asked

    def _capacity(self) -> int:
        """Candidates in flight at a time: enough that no worker waits for the next one to be drawn."""
        return 2 * (self.pool.size if self.pool is not None else 1) + 6

    def _acknowledge(self, scores: Sequence[tuple[int, Score]]) -> None:
        """Journal scores and let the search know them; everybody else hears of them when they are durable."""
        scores = [(number, self._checked(score)) for number, score in scores]
        records = [{**score.pack(), "number": number, "at": time.time()} for number, score in scores]
        self.run.write_scores(records)
        for record in records:
            self._count({**record, "kind": "score"})
        records = [decode(encode(record)) for record in records]  # as whoever reads the journal will find them
        for (number, score), record in zip(scores, records, strict=True):
            scored = logs.Scored(self.proposals.pop(number).pack(), record)
            self.search.tell(number, score)
            if score.status != "ok":
                self.failed.setdefault(score.status, score.key)
            self.recent.append(score.figures.get(self.search.objectives[0].name, float("nan")))
            inherited = self.lineages is not None and self.lineages.inherits(number)
            if self.lineages is not None:
                self.lineages.scored(number, score.metrics)
            self.unsettled.append((scored, score if score.seconds and not inherited else None))
        if time.monotonic() - self.synced_at >= SYNC:
            self._settle()
        unsaved = self.search.evaluated - self.saved[0]
        due = max(CHECKPOINT_SCORES, self.search.evaluated // CHECKPOINT_SHARE)
        if unsaved >= due or time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
            self.save()

    def _lineages(self) -> Lineages | None:
        """Who begins with whose weights, from the journal on; None where nobody does."""
        if self.setup.config.recipe.inherit == "off" or not isinstance(self.setup.task, Task):
            return None
        lineages = Lineages(self.run.folder, self.setup.config.recipe.inherit == "parent")
        lineages.recall(self.run.records(), self.search)
        return lineages

    def _settle(self) -> None:
        """Make durable what was journaled, then let logs and other runs know it."""
        if not self.unsettled:
            return
        self.run.sync()
        self.synced_at = time.monotonic()
        settled, self.unsettled = self.unsettled, []
        task, recipe = self.setup.known_as
        for _, score in settled:
            if self.ledger is not None and score is not None:
                self.ledger.put(score, task=task, recipe=recipe)
        self.logs.add([scored for scored, _ in settled])
        if self.lineages is not None:
            self.lineages.collect(self.search)

    def _checked(self, score: Score) -> Score:
        """The score, or a failure where it lacks what the search selects by: the search could not go on from it."""
        missing = self.search.lacks(score)
        if not missing:
            return score
        there = ", ".join(score.figures) or "none"
        return replace(score, status="invalid", objectives={}, error=f"no objective {missing[0]!r}; there are: {there}")

    def _pool(self) -> workers.Pool:
        if self.pool is None:
            settings = self.setup.worker_settings
            if settings.executor != workers.LOCAL:
                settings = replace(settings, device=self.setup.device.partition(":")[0])  # what they were asked for
            self.inline = settings.pool == "inline" and settings.executor == workers.LOCAL
            self.pool = workers.open_pool(self._spec(), settings, self.run.folder / "candidates")
            self._say_window(max(settings.workers, self.pool.size))
        return self.pool

    def _spec(self) -> Spec:
        """What each worker is told."""
        return self.setup.spec(self.run.folder / "grammar" / str(self.run.header["grammar_file"]), self.run.folder)

    def _say_window(self, count: int) -> None:
        """Say where workers will wait for the look-ahead window."""
        settings = self.setup.settings
        if settings.order == "proposal" and count > settings.lookahead + 1:
            self.watch.note(
                f"{count} workers, and search.lookahead={settings.lookahead} lets {settings.lookahead + 1} candidates "
                f"be under way; search.lookahead={BUSY * count} keeps most of them busy, --order arrival all"
            )

    def _final_seconds(self) -> float:
        """What the final training of the best candidate is estimated to take, by what its evaluation took."""
        if not (self.time.limited and isinstance(self.setup.task, Task)):
            return 0.0
        if not self.durations.seconds:  # whatever is being trained takes as long as it has already
            return time.monotonic() - self.begun
        best, config = self.search.best(), self.setup.config
        took = self.durations.of(best.key if best else "") * config.final.epochs / config.recipe.epochs
        folds = config.recipe.folds
        whole = took / folds / share_of_rows(self.setup.task, folds)
        size = self.pool.size if self.pool else 1
        return wanted(took, whole, self.time.total, self._members(), size, self._drawn_parts)

    @functools.cached_property
    def _drawn_parts(self) -> int:
        """Of the rows, as the final phase will draw them; groups of many rows take a while to count."""
        task = self.setup.task
        return drawn_parts(task, self.setup.config.recipe.folds) if isinstance(task, Task) else 1

    def _members(self) -> int:
        """Networks that the one that is kept is chosen from, as EnsembleSettings says it; 1 of several objectives."""
        members = self.setup.config.ensemble.members
        return 1 if len(self.search.objectives) > 1 or not (members or self.time.limited) else members

    def _progress(self, phase: str, doing: str = "") -> Progress:
        search, seconds = self.search, time.monotonic() - self.begun
        done = search.evaluated - self.evaluated_before
        rate = done / seconds if seconds > 0 else 0.0
        best = search.best()
        budget = search.settings.budget
        tallies = search.tallies
        return Progress(
            evaluated=search.evaluated,
            budget=budget,
            best_key=best.key if best else None,
            best_fitness=self._fitness(best) if best else None,
            best_params=self._params(best) if best else None,
            best_by=self._part(best) if best else "",
            rate=rate,
            seconds_left=self._seconds_left(budget - search.evaluated, rate),
            failures=dict(self.standing.failures),
            duplicates=sum(tally.duplicates for tally in tallies.values()),
            known=self.known,
            recent=tuple(self.recent),
            earned={
                name: (tally.proposed, tally.reward / tally.proposed)
                for name, tally in tallies.items()
                if tally.proposed and name in self.setup.operators.of("mutate")
            },
            workers=self.pool.size if self.pool is not None else 0,
            phase=phase,
            doing=doing,
            device=self.setup.device.partition(":")[0],
            memory=self.pool.memory if self.pool is not None else (0, 0),
            time=self.time.total if self.time.limited else 0.0,
            endless=budget >= NO_END,
        )

    def _seconds_left(self, candidates: int, rate: float) -> float | None:
        """Until the budget is spent, as fast as so far, or the time is over."""
        by_rate = candidates / rate if rate else math.inf
        left = min(by_rate, max(0.0, self.time.end - time.monotonic())) if self.time.limited else by_rate
        return left if math.isfinite(left) else None

    def _fitness(self, individual: Individual) -> float:
        """The first objective as the task measures it, without the sign that selection gave it."""
        return individual.values[0] * self.search.objectives[0].sign

    def _part(self, individual: Individual) -> str:
        """What part of an evaluation a fitness is of, in words; empty where all have whole ones."""
        config = self.setup.config
        if self.search.rungs is None:
            return ""
        counted = isinstance(self.setup.task, Task) and not config.evaluator and config.recipe.inherit == "off"
        if not counted or config.recipe.shorten != "epochs":
            return f"{individual.fidelity:.3g} of an evaluation"
        whole = config.recipe.said(self.setup.space.read(individual.derivation).trained_with)
        return f"{whole.at(individual.fidelity).epochs} of {whole.epochs} epochs"

    def _params(self, individual: Individual) -> int | None:
        if self.setup.space.input is None:
            return None
        return self.setup.space.read(individual.derivation).cost.params

    # -- the end

    def _finish(self) -> Summary:
        finalists = self._finalists()
        if not finalists:
            if not self.search.evaluated:
                raise RunError(
                    f"{self.run.folder}: the time was over before any candidate had a score; "
                    f"give it more: evolve resume {near(self.run.folder)} --time 10m"
                )
            kinds = ", ".join(f"{count} {status}" for status, count in sorted(self.standing.failures.items()))
            raise RunError(
                f"{self.run.folder}: none of {self.search.evaluated} candidates succeeded ({kinds}); "
                f"evolve why {near(self.run.folder)} {self._failed_key()[:8] or 'KEY'} says why"
            )
        test: dict[str, float] = {}
        baseline: Mapping[str, float] = {}
        single: dict[str, float] = {}
        joined, again = 0, None
        trained: Finished | None = None
        if isinstance(self.setup.task, Task):
            self.watch.progress(self._progress("final"))
            config = self.setup.config
            final = Final(self.setup.task, config.final, config.recipe, self.setup.final_device, config.workers.threads)
            best, trained = self._trained(final, finalists)
            if trained.cut < SHORT:
                self.watch.note(
                    f"the time was over when {trained.cut:.2g} of the final training was done, so the network is "
                    "trained too little; a longer --time gives a better one"
                )
            test = dict(trained.test)
            baseline = final.baseline() if self.baseline is None else self.baseline.result  # that has come by now
            if self._is_behind(test, baseline, trained):
                self.watch.note(
                    f"{self.setup.task.kind.baseline_name} is better than this network on the test rows by more than "
                    "chance: use that, or give the search more time"
                )
            single = dict(trained.metrics.get("single", {}).get("test", {}))
            if self.search.objectives[0].name == self.setup.task.metric:
                held_out = trained.metrics.get("held_out", {})
                again = held_out["again"] if held_out.get("winner") == best.key else None
            joined = len(trained.metrics.get("members", ()))
        else:
            best = finalists[0]
        summary = Summary(
            folder=near(self.run.folder),
            evaluated=self.search.evaluated,
            distinct=min(self.search.known, self.search.evaluated),  # of those that are out nobody knows a score yet
            best_key=best.key,
            best_text=best.text,
            fitness=self._fitness(best) if isinstance(best, Individual) else None,
            test_metric=test,
            baseline=baseline,
            single=single,
            networks=joined,
            again=again,
            seconds=self.time.used + time.monotonic() - self.begun,
            failures=dict(self.standing.failures),
            failed_key=self._failed_key(),
            duplicates=sum(tally.duplicates for tally in self.search.tallies.values()),
            baseline_name=self.setup.task.kind.baseline_name if isinstance(self.setup.task, Task) else "",
            searched=self._searched(best.key) if trained is not None and "held_out" in trained.metrics else "",
            at_random=self.standing.at_random(trained.metrics if trained is not None else {}),
        )
        self.run.write_best(self._best(summary, trained))
        return summary

    def _is_behind(self, test: Mapping[str, float], baseline: Mapping[str, float], trained: Finished) -> bool:
        """Whether the linear model is ahead of the network by more than two standard errors of its figure."""
        name, sign = self.setup.task.metric, self.setup.task.measure.sign
        error = trained.metrics.get("metrics", {}).get(f"{name}_se", math.nan)
        return name in baseline and sign * (baseline[name] - test[name]) > 2 * error

    def _searched(self, kept: str) -> str:
        """What is said of the candidate that the search liked best, where the final training kept another one."""
        best = self.search.best()
        if best is None or best.key == kept:
            return ""
        return f"{best.key[:8]} with {self._fitness(best):.4f}; the final trainings preferred the best one above"

    def _best(self, summary: Summary, trained: Finished | None) -> Mapping[str, str | bytes]:
        """The files of best/, with what the run says at its end: whoever resumes it then is told the same."""
        told: dict[str, Any] = {"fitness": summary.fitness, SUMMARY: kept(summary)}
        if trained is None:
            metrics = {"key": summary.best_key, "test": {}, **told}
            return {"architecture.arch": summary.best_text + "\n", "metrics.json": json.dumps(metrics) + "\n"}
        more = {"metric": self.setup.task.metric, "baseline": summary.baseline, "baseline_name": summary.baseline_name}
        return files(trained, self.setup.task, {**told, **more})

    def _failed_key(self) -> str:
        """A candidate that shows why others failed: of what happened most often; empty where this session saw none."""
        kind = max(self.failed, key=lambda kind: (kind != "stopped", self.standing.failures[kind]), default="")
        return self.failed.get(kind, "")

    def _finalists(self) -> list[Individual | Proposal]:
        """What may become the best network, the best first: the front; where the time was over before any candidate had
        a score, the candidates that were under way, in the order proposed: what the run starts from comes first. Of a
        strategy that is after one network, that one; raises RunError where it did not come to it.
        """
        if isinstance(self.search.strategy, Seeking):
            if self.search.strategy.winner is None:
                spent = f"not there after {self.search.evaluated} candidates; give it more: evolve resume --budget N"
                raise RunError(f"{self.run.folder}: {self.search.exhausted or spent}")
            return [self.search.strategy.winner]
        front = self.ranked or self.search.front()[:FINALISTS]
        if front or not (self.time.limited and isinstance(self.setup.task, Task)):
            return list(front)
        under_way: list[Individual | Proposal] = list(self.search.pending[:FINALISTS])
        if under_way:
            self.watch.note("the time was over before any candidate had a score; the first one is trained")
        return under_way

    def _ranked_in_full(self) -> list[Individual]:
        """The best candidates by whole evaluations, where the search's rungs left some of them without one.

        Nothing of it is in the journal: a run that ends within it does it again, from the ledger where that knows them.
        Empty where a final phase with a time, or one that makes an ensemble, trains them all in full by itself.
        """
        best = self.search.front()[:FINALISTS]
        if all(one.full for one in best) or self._members() != 1 or self.time.limited:
            return []
        self.watch.note(f"the best {len(best)} candidates are evaluated in full")
        short = {self.search.proposed + place: one for place, one in enumerate(best) if not one.full}
        brief = self.setup.rule.brief(()) if self.setup.rule is not None else None  # beside no other candidate
        found: list[tuple[int, Score]] = []
        for number, one in short.items():
            seed = evaluation_seed(self.setup.settings.seed, one.key)
            score = self.ledger.get(one.key, *self.setup.known_as, seed) if self.ledger is not None else None
            if score is not None:
                found.append((number, score))
            else:
                self._pool().submit(workers.Job(number, one.text, one.key, seed, brief))
        while len(found) < len(short):
            found += (came := self._pool().wait(WAIT))
            for _, score in came:
                if self.ledger is not None and score.seconds:
                    self.ledger.put(score, task=self.setup.known_as[0], recipe=self.setup.known_as[1])
        full = [one for one in best if one.full]
        for number, score in sorted(found, key=lambda pair: pair[0]):
            values = self.search.signed(self._checked(score))
            if values is not None:
                full.append(replace(short[number], fitness=fitness_class(len(values))(values), fidelity=FULL))
        order = best_first([(FULL, one.values) for one in full])
        return [full[at] for at in order]

    def _trained(
        self, final: Final, finalists: Sequence[Individual | Proposal]
    ) -> tuple[Individual | Proposal, Finished]:
        """The best candidate that survives the final training, with the result: a single network, or an ensemble."""
        if self._members() != 1 or self.time.limited:
            if self.finishing is None:
                self.finishing = self._finishing()
            compared, given = self._contenders(finalists)
            architectures = [self.setup.space.read(one.derivation) for one in compared]
            seconds = [self.durations.of(one.key) for one in compared]
            finished = self.finishing.run(architectures, seconds, self.time.final_end, given)
            if finished.network is not None:
                return next(one for one in compared if one.key == finished.architecture.key), finished
            self.watch.note(f"the final trainings failed ({finished.error}); trying one by one")
        for one in finalists:
            weights = self._own_weights(one) if isinstance(self.search.strategy, Seeking) else None
            finished = final.train(self.setup.space.read(one.derivation), self.time.final_end, weights)
            if finished.network is not None:
                return one, finished
            self.watch.note(f"{one.key[:8]}: final training failed ({finished.error}); trying the next best")
        raise RunError(f"{self.run.folder}: none of the best candidates survived the final training; see [final]")

    def _own_weights(self, one: Individual | Proposal) -> Mapping[str, Any] | None:
        """The weights that a candidate came to in the search, where weights pass on and it was trained there."""
        if self.lineages is None or not isinstance(one, Individual) or not self.lineages.leaves_weights(one.born):
            return None
        return lineage.read(lineage.file_of(self.run.folder, one.born)).states[0]

    def _contenders(self, finalists: Sequence[Individual | Proposal]) -> tuple[list[Individual | Proposal], list[int]]:
        """What the final phase compares, the best first, and the places of known networks among them."""
        if not self.time.limited or len(self.search.objectives) > 1 or not isinstance(finalists[0], Individual):
            return list(finalists), []
        return contenders(
            finalists, self.setup.seeds.values(), self.search.pending, self.run.records(), self.search.objectives[0],
            self.setup.space,
        )  # fmt: skip

    def _finishing(self) -> Finishing:
        """The final phase, its processes starting."""
        setup, config = self.setup, self.setup.config
        return Finishing(
            setup.task,
            self._spec(),
            config.final,
            replace(config.ensemble, members=self._members()),
            replace(config.workers, device=setup.final_device) if setup.elsewhere else config.workers,
            setup.final_device,
            lambda doing: self.watch.progress(self._progress("final", doing)),
        )
