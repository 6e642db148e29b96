"""A run from its configuration to its best network: search, workers, journal and ledger put together.

    start    read everything a run needs, make its folder, go
    resume   the folder's own config, grammar and seeds; the state of its checkpoint; the rest of its journal replayed
    go on    ask -> journal -> known from another run, or a worker -> journal, fsync -> tell, until the budget is spent
    finish   the best one trained on train and validation, tested once, written to best/

Only this module knows all the parts; none of them knows it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import platform
import subprocess
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from evosearch import config as configuration
from evosearch import grammar as language
from evosearch import operators as operator_files
from evosearch import paths, tasks, training, workers
from evosearch.architecture import USUAL_INPUT, Space
from evosearch.cache import Ledger
from evosearch.errors import ArchitectureError, ConfigError, RunChanged, RunError, SpaceExhausted, UsageError
from evosearch.framing import decode, encode
from evosearch.layers import load_layers, vocabulary
from evosearch.logs import tables as logs
from evosearch.logs import tensorboard as board
from evosearch.results import Final, Finished, files
from evosearch.runs import CHECKPOINT_FILE, JOURNAL_FILE, Finding, Run
from evosearch.runs import repair as mend_files
from evosearch.runs import verify as check_files
from evosearch.score import Objective, Score
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.tasks import Task
from evosearch.workers.evaluator import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evosearch.config import Config
    from evosearch.grammar.core import Derivation, Grammar
    from evosearch.individual import Individual
    from evosearch.operators import Operators

CHECKPOINT_SCORES = 2_000  # scores after which a checkpoint is due: what a resume has to replay at the most
CHECKPOINT_SECONDS = 30.0
WAIT = 0.5  # seconds; how often progress is told while nothing comes in
SHOWN = 0.1  # seconds between two tellings of progress at the least
RECENT = 40  # scores shown as a sparkline
NOTHING = (0, "")  # what a checkpoint holds that is not there
FINALISTS = 5  # individuals tried for best/, where the final training of a better one fails


Saved = tuple[int, str]  # scores that a checkpoint holds, and why the space was exhausted, if it was


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever watches.

    rate: evaluations a second in this session. seconds_left: None until there is a rate.
    failures: by status. duplicates: redrawn before any work was done. known: scores that another run had paid for.
    recent: the latest fitnesses, NaN for failures. earned: by mutation, (trials, mean reward). phase: search or final.
    device: what candidates are trained on. memory: bytes that the workers take of its memory, and may take.
    """

    evaluated: int
    budget: int
    best_key: str | None
    best_fitness: float | None
    best_params: int | None
    rate: float
    seconds_left: float | None
    failures: Mapping[str, int]
    duplicates: int
    known: int
    recent: tuple[float, ...]
    earned: Mapping[str, tuple[int, float]]
    workers: int
    phase: str
    device: str = ""
    memory: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Summary:
    """What came of a run.

    fitness: the best candidate's on the validation split. test_metric: of the final network, by metric name; empty
    where the task has no network. baseline: likewise, of a linear model on the same splits.
    """

    folder: Path
    evaluated: int
    distinct: int
    best_key: str
    best_text: str
    fitness: float
    test_metric: Mapping[str, float]
    baseline: Mapping[str, float]
    seconds: float
    failures: Mapping[str, int]
    duplicates: int


class Watch(Protocol):
    """Who is told how a run goes."""

    def started(self, info: Mapping[str, Any]) -> None: ...
    def progress(self, progress: Progress) -> None: ...
    def note(self, text: str) -> None: ...
    def finished(self, summary: Summary) -> None: ...


@dataclass(frozen=True)
class Setup:
    """Everything a run is made of, read and checked; nothing is written yet."""

    config: Config
    grammar: Grammar
    grammar_file: Path
    space: Space
    task: Any
    operators: Operators
    seeds: Mapping[str, Derivation]
    seed_texts: Mapping[str, str]
    device_used: str | None = None

    @cached_property
    def device(self) -> str:
        """The device that candidates are trained on."""
        if self.device_used is not None:
            return self.device_used
        return workers.devices(self.config.workers)[0] if isinstance(self.task, Task) else "cpu"

    @cached_property
    def digests(self) -> dict[str, str]:
        """What a resumed run must find unchanged, by name."""
        layers = self.space.vocabulary.digest if self.space.vocabulary else ""
        return {
            "grammar": self.grammar.digest,
            "layers": layers,
            "operators": self.operators.digest,
            "task": self.task.digest,
            "recipe": self.config.recipe.digest(self.device, threads=self.config.workers.threads),
            "config": configuration.digest(self.config),
        }

    @property
    def settings(self) -> SearchSettings:
        """The search's settings, with the task's metric as objective where none is asked for."""
        settings = self.config.search
        if settings.objectives:
            return settings
        larger = getattr(self.task, "larger_is_better", True)
        return replace(settings, objectives=(f"{'+' if larger else '-'}{self.task.metric}",))

    def spec(self, grammar_file: Path) -> Spec:
        """What each worker is told."""
        config = self.config
        return Spec(
            grammar=str(grammar_file),
            task=config.task,
            layers=config.layers,
            limits=config.limits,
            data=config.data,
            recipe=config.recipe,
        )


def prepare(
    config: Config,
    grammar_file: Path | None = None,
    seed_folder: Path | None = None,
    seed_texts: Mapping[str, str] | None = None,
) -> Setup:
    """Read all that the configuration names. Raises EvosearchError; writes nothing.

    grammar_file, seed_folder: where a run's own copies lie, for a run that is resumed. seed_texts: seeds by name,
    in place of the config's.
    """
    file = grammar_file or paths.find("grammars", config.grammar, ".lark")
    read = language.load(file)
    task = tasks.load(config.task, config.data)
    own: dict[str, type] = {}
    for path in config.layers:
        own |= load_layers(path)
    if read.input == "none":
        if task.input_shape is not None:
            raise UsageError(f"{read.name} has no layers (`input: none`), and task {task.name} trains networks")
        space = Space(read, None, None, config.limits)
    elif task.input_shape is None:
        space = Space(read, vocabulary(read, own), USUAL_INPUT[read.input], config.limits)
    else:
        head = task.kind.head(task) if isinstance(task, Task) else None
        space = Space(read, vocabulary(read, own), task.input_shape, config.limits, head)
    if isinstance(task, Task):
        _check_for(task, config)
    texts = _seed_texts(config, seed_folder) if seed_texts is None else dict(seed_texts)
    seeds: dict[str, Derivation] = {}
    for name, text in texts.items():
        try:
            seeds[name] = space.parse(text)
        except ArchitectureError as error:
            raise ArchitectureError(f"seed {name}: {error}") from None
    return Setup(config, read, file, space, task, operator_files.find(config.operators), seeds, texts)


def _check_for(task: Task, config: Config) -> None:
    """Raise ConfigError where the recipes or the objectives are not for such a task."""
    training.check(task, config.recipe)
    try:
        training.check(task, config.final)
    except ConfigError as error:
        raise ConfigError(str(error).replace("recipe.", "final.", 1)) from None
    known = {task.metric, "params", "flops", "seconds", *(["error"] if task.measure.error else [])}
    for text in config.search.objectives:
        if Objective.parse(text).name not in known:
            raise ConfigError(f"search.objectives: {text}: {task.name} has {', '.join(sorted(known))}")


def _seed_texts(config: Config, folder: Path | None) -> dict[str, str]:
    found = {}
    for name in config.seeds:
        file = folder / f"{Path(name).stem}.arch" if folder else paths.find("grammars/seeds", name, ".arch")
        found[Path(name).stem] = paths.read_arch(file)
    return found


# --- start and resume -----------------------------------------------------------------------------------------------


def start(config: Config, folder: Path, watch: Watch) -> Summary:
    """A new run in `folder`, to its end. Raises EvosearchError; where nothing could begin, no folder is left."""
    return _begin(prepare(config), folder, watch)


def fork(parent: Path, config: Config, folder: Path, watch: Watch) -> Summary:
    """A new run in `folder` that starts from the population of another, under a configuration of its own.

    What the new grammar or limits do not admit is left out, and said. Raises UsageError where nothing is admitted.
    """
    texts = _population(Run.open(parent))
    empty = prepare(config, seed_texts={})
    admitted: dict[str, str] = {}
    for number, text in texts.items():
        name = f"fork-{number}"
        try:
            derivation = empty.space.parse(text)
            limit = empty.space.within(empty.space.read(derivation)) if empty.space.input else None
        except ArchitectureError as error:
            watch.note(f"{name} is left out: {error}")
            continue
        if limit is not None:
            watch.note(f"{name} is left out: it is over {limit}")
            continue
        admitted[name] = empty.space.render(derivation)
    if not admitted:
        raise UsageError(f"{parent}: none of the {len(texts)} individuals of its population can start the new run")
    config = config.model_copy(update={"seeds": tuple(admitted)})
    return _begin(prepare(config, seed_texts=admitted), folder, watch)


def _population(run: Run) -> dict[int, str]:
    """Texts of a run's population by proposal number: of its checkpoint, else the youngest that succeeded."""
    checkpoint = run.load_checkpoint()
    if checkpoint is not None and checkpoint.state["population"]:
        return {individual["born"]: individual["text"] for individual in checkpoint.state["population"]}
    texts: dict[int, str] = {}
    succeeded: list[int] = []
    for record in run.records():
        if record["kind"] == "proposal":
            texts[record["number"]] = record["text"]
        elif record["kind"] == "score" and record["status"] == "ok":
            succeeded.append(record["number"])
    kept = sorted(succeeded)[-_recorded(run).search.population :]
    return {number: texts[number] for number in kept}


def _begin(setup: Setup, folder: Path, watch: Watch) -> Summary:
    config = setup.config
    if "tensorboard" in config.log:
        board.require()
    search = Search(setup.space, setup.settings, setup.operators, seeds=setup.seeds)
    first = search.ask()  # before anything is written: limits that no architecture meets are found here
    files = {f"grammar/{name}": text for name, text in setup.grammar.source.items()}
    files |= {f"grammar/seeds/{name}.arch": text for name, text in setup.seed_texts.items()}
    files["config.toml"] = configuration.dumps(config)
    files["environment.json"] = json.dumps(_environment(setup), indent=2) + "\n"
    header = {
        "evosearch": metadata.version("evosearch"),
        "digests": setup.digests,
        "seed": config.seed,
        "grammar_file": next(iter(setup.grammar.source)),
        "task": setup.task.name,
        "metric": setup.task.metric,
        "input": list(setup.space.network_input) if setup.space.network_input else None,
        "outputs": setup.task.outputs if isinstance(setup.task, Task) else None,
        "started": time.time(),
    }
    with Run.create(folder, header=header, files=files) as run:
        watch.started({"run": folder, **_facts(setup)})
        session = _Session(setup, search, run, watch)
        if first is not None:
            session.submit(first, journal=True)
        return session.go_on()


def resume(
    folder: Path,
    watch: Watch,
    *,
    budget: int | None = None,
    workers: int | None = None,
    device: str | None = None,
    layers: Sequence[str] = (),
    operators: Sequence[str] = (),
    log: Sequence[str] | None = None,
) -> Summary:
    """Go on with a run, to the end it would have had. Raises EvosearchError and then leaves the folder as it was.

    budget: more candidates than the run was started with. workers, device: as in WorkerSettings.
    layers, operators: files and folders of the run's own code, which is never taken from the folder's word alone.
    log: as in Config; the run's own where it is None.
    """
    with Run.open(folder, write=True) as run:
        config = _resumed_config(run, budget, workers, device, layers, operators, log)
        if "tensorboard" in config.log:
            board.require()
        setup = _setup_of(run, config)
        if cut := run.cut_torn_tail():
            watch.note(f"{folder}: an incomplete last record of {cut} bytes was cut off; it was never acknowledged")
        watch.started({"run": folder, **_facts(setup)})
        search, saved, curves = _replayed(run, setup)
        if budget is not None and budget > _largest_budget(run):
            run.append_note({"budget": budget})
        session = _Session(setup, search, run, watch, saved, curves)
        for proposal in search.pending:
            session.submit(proposal, journal=False)
        return session.go_on()


def _resumed_config(
    run: Run,
    budget: int | None,
    workers: int | None,
    device: str | None,
    layers: Sequence[str],
    operators: Sequence[str],
    log: Sequence[str] | None = None,
) -> Config:
    """The run's config, with what a resume may change."""
    config = _recorded(run)
    asked = max(_largest_budget(run), config.search.budget)
    if budget is not None and budget < asked:
        raise UsageError(f"--budget {budget}: the run was given {asked} already; name a larger one")
    settings = config.workers
    if workers is not None:
        settings = replace(settings, workers=workers)
    if device is not None:
        settings = replace(settings, device=device)
    return config.model_copy(
        update={
            "search": replace(config.search, budget=budget or asked),
            "workers": settings,
            "layers": paths.own_code("layers", config.layers, layers, run=run.folder),
            "operators": paths.own_code("operators", config.operators, operators, run=run.folder),
            "log": config.log if log is None else tuple(log),
        }
    )


def _recorded(run: Run) -> Config:
    """The configuration that the run was started with."""
    return configuration.loads(run.text("config.toml"), str(run.folder / "config.toml"))


def _largest_budget(run: Run) -> int:
    """The largest budget that an earlier resume asked for, 0 where none did."""
    if run.proposals:  # open for writing: it has read its journal already
        notes = run.notes
    else:
        notes = [record for record in run.records() if record["kind"] == "note"]
    return max((int(note["budget"]) for note in notes if "budget" in note), default=0)


def _setup_of(run: Run, config: Config, device: str | None = None) -> Setup:
    """All that a run is made of, its grammar and seeds from its own folder. Raises RunChanged.

    device: the one to take its scores to be of; the config's by default.
    """
    grammar = run.folder / "grammar"
    setup = prepare(config, grammar / str(run.header["grammar_file"]), grammar / "seeds")
    if device is not None:
        setup = replace(setup, device_used=device)
    _refuse_changes(run, setup, config)
    return setup


def _refuse_changes(run: Run, setup: Setup, config: Config) -> None:
    """Raise RunChanged where the grammar, task, recipe, layers or operators are not those of the run."""
    now = replace(setup, config=_recorded(run).model_copy(update={"workers": config.workers})).digests
    changed = [name for name, digest in run.header["digests"].items() if now.get(name) != digest]
    if not changed:
        return
    if changed == ["recipe"] and (was := json.loads(run.text("environment.json")).get("device")):
        threads = _recorded(run).workers.threads
        raise RunChanged(
            f"{run.folder}: its scores were made on {was} with {threads} threads; resume it with --device {was}"
        )
    raise RunChanged(
        f"{run.folder}: the {' and the '.join(changed)} changed since the run was started, so it cannot go on as it was"
        "; put back what it was, or start a new run"
    )


def _replayed(run: Run, setup: Setup) -> tuple[Search, Saved, dict[int, tuple[float, ...]]]:
    """The search as it was when the run stopped, what its newest checkpoint holds, and all scores' curves by number."""
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        search = Search(setup.space, setup.settings, setup.operators, seeds=setup.seeds)
    else:
        search = Search.restore(setup.space, setup.settings, setup.operators, checkpoint.state, seeds=setup.seeds)
    saved = (search.evaluated, search.exhausted) if checkpoint and checkpoint.newest else NOTHING
    replay(search, run, checkpoint.offset if checkpoint else None)
    curves = {}
    if setup.config.recipe.stop == "median":
        curves = {r["number"]: tuple(r["curve"]) for r in run.records() if r["kind"] == "score"}
    return search, saved, curves


def replay(search: Search, run: Run, offset: int | None = None) -> None:
    """Do again what the journal says from an offset on. Raises RunChanged where the search would do otherwise."""
    for record in run.records(offset):
        _redo(search, record, run)


def _redo(search: Search, record: Mapping[str, Any], run: Run) -> None:
    if record["kind"] == "proposal":
        try:
            proposal = search.ask()
        except SpaceExhausted:
            proposal = None
        if proposal is None or proposal.text != record["text"] or proposal.number != record["number"]:
            raise RunChanged(
                f"{run.folder}: proposal {record['number']} comes out otherwise than the journal says; "
                "resume it with the evosearch and the packages in its environment.json"
            )
    elif record["kind"] == "score":
        search.tell(record["number"], Score.unpack(record))


def verify(folder: Path, layers: Sequence[str] = (), operators: Sequence[str] = ()) -> list[Finding]:
    """What does not check in a run: its files (runs.verify), its logs, and the search done again from its journal.

    The replay runs the operators and layers of the command line, the user's project or the bundle; where those are not
    the run's any more, a finding says that the replay was not made. Evaluates nothing; changes nothing.
    """
    findings = check_files(folder)
    if findings:
        return findings
    run = Run.open(folder)
    findings = logs.verify(run)
    try:
        search = _fresh(run, layers, operators)
        checkpoint = run.load_checkpoint()
        at = checkpoint.offset if checkpoint else None
        for offset, record in run.located():
            _redo(search, record, run)
            if checkpoint is None or offset != at:
                continue
            if checkpoint.state["exhausted"]:  # what ended the search is not journaled
                with contextlib.suppress(SpaceExhausted):
                    search.ask()
            if not _same_state(search.state(), checkpoint.state):
                cure = "run `evolve repair`"
                return [*findings, Finding(CHECKPOINT_FILE, "the journal replayed ends in another state", cure)]
    except (RunChanged, UsageError) as error:
        if isinstance(error, UsageError) and (layers or operators):
            raise  # what was given now is at fault, not the run
        message = f"its replay was not made or came out otherwise: {error}"
        return [*findings, Finding(JOURNAL_FILE, message, "see the message")]
    return findings


def repair(folder: Path, layers: Sequence[str] = (), operators: Sequence[str] = ()) -> list[str]:
    """What runs.repair does; checkpoint and logs written anew from the journal. Returns what was done, a line each."""
    done = mend_files(folder)
    with Run.open(folder, write=True) as run:
        search = _fresh(run, layers, operators)
        replay(search, run)
        run.write_checkpoint(search.state())
        done.append(f"{CHECKPOINT_FILE}: written anew from {search.evaluated} scores")
        return [*done, *logs.repair(run)]  # last: the run can do without them


def _fresh(run: Run, layers: Sequence[str], operators: Sequence[str]) -> Search:
    """The run's search before its first proposal. Raises RunChanged where what the run needs is not there any more."""
    # Nothing is evaluated: the device is the one that the scores were made on, whether it is here or not.
    device = str(json.loads(run.text("environment.json"))["device"])
    setup = _setup_of(run, _resumed_config(run, None, None, None, layers, operators), device)
    return Search(setup.space, setup.settings, setup.operators, seeds=setup.seeds)


def _same_state(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return encode(dict(a)) == encode(dict(b))


# --- the loop -------------------------------------------------------------------------------------------------------


@dataclass
class _Session:
    """One process's work on a run. saved: what its newest checkpoint holds."""

    setup: Setup
    search: Search
    run: Run
    watch: Watch
    saved: Saved = NOTHING
    curves: dict[int, tuple[float, ...]] = field(default_factory=dict)
    pool: workers.Pool | None = None
    known: int = 0
    arrived: list[tuple[int, Score]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begun = time.monotonic()
        self.evaluated_before = self.search.evaluated
        self.failures = Counter({status: n for status, n in self.run.statuses.items() if status != "ok"})
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.saved_at, self.shown_at = self.begun, 0.0
        # A score from elsewhere may be of a training that the medians of this run would have stopped.
        shared = isinstance(self.setup.task, Task) and self.setup.config.recipe.stop != "median"
        self.ledger = Ledger() if shared else None
        self.proposals: dict[int, Proposal] = {}
        self.logs = logs.Logs(self.run)
        self.board = self._board() if "tensorboard" in self.setup.config.log else None

    def _board(self) -> board.Board:
        first, best = self.search.objectives[0], self.search.best()
        before = self._fitness(best) if best else None
        done = self.search.evaluated
        return board.Board(self.run, first.name, first.sign, evaluated=done, best=before, failures=self.failures)

    def go_on(self) -> Summary:
        """To the end of the budget, then best/."""
        try:
            self._search()
            self._checkpoint()
        finally:
            if self.pool is not None:
                self.pool.close()
            if self.ledger is not None:
                self.ledger.close()
            self.logs.close()
            if self.board is not None:
                self.board.close()
        summary = self._finish()
        self.watch.finished(summary)
        return summary

    def submit(self, proposal: Proposal, *, journal: bool) -> None:
        """Journal a proposal; take its score from the ledger where another run has paid for it, else evaluate it."""
        if journal:
            self.run.append_proposal(proposal.pack())
        self.proposals[proposal.number] = proposal
        if self.ledger is not None:
            digests = self.setup.digests
            score = self.ledger.get(proposal.key, digests["task"], digests["recipe"], proposal.seed)
            if score is not None:
                self.known += 1
                self.arrived.append((proposal.number, replace(score, seconds=0.0)))
                return
        job = workers.Job(proposal.number, proposal.text, proposal.key, proposal.seed, self._medians(proposal.number))
        self._pool().submit(job)

    def _search(self) -> None:
        gc.freeze()  # what was loaded so far stays: no collection needs to look through torch and numba again
        while not self.search.done:
            if not self._propose() and not self.search.pending:
                break
            scores, self.arrived = self.arrived, []
            if not scores and self.search.pending:
                scores = self._pool().wait(WAIT)
            if scores:
                self._acknowledge(scores)
            if time.monotonic() - self.shown_at >= SHOWN or self.search.done:
                self.shown_at = time.monotonic()
                self.watch.progress(self._progress("search"))

    def _propose(self) -> bool:
        """Ask for as many candidates as the look-ahead allows and the workers can use. False where there are none."""
        asked = False
        while len(self.proposals) < self._capacity() and not self.search.exhausted:
            try:
                proposal = self.search.ask()
            except SpaceExhausted as end:
                if not self.search.proposed:
                    raise
                self.watch.note(f"{end}; the run ends with what it has")
                return asked
            if proposal is None:
                return asked
            self.submit(proposal, journal=True)
            asked = True
        return asked

    def _capacity(self) -> int:
        """Candidates in flight at a time: enough that no worker waits for the next one to be drawn."""
        return 2 * (self.pool.size if self.pool is not None else 1) + 6

    def _acknowledge(self, scores: Sequence[tuple[int, Score]]) -> None:
        """Journal scores, durably; then let the search and other runs know them."""
        scores = [(number, self._checked(score)) for number, score in scores]
        records = [{**score.pack(), "number": number, "at": time.time()} for number, score in scores]
        self.run.append_scores(records)
        records = [decode(encode(record)) for record in records]  # as whoever reads the journal will find them
        self.logs.add([(self.proposals[record["number"]].pack(), record) for record in records])
        digests = self.setup.digests
        for number, score in scores:
            del self.proposals[number]
            self.search.tell(number, score)
            if self.setup.config.recipe.stop == "median":
                self.curves[number] = score.curve
            if score.status != "ok":
                self.failures[score.status] += 1
            self.recent.append(score.objectives.get(self.search.objectives[0].name, float("nan")))
            if self.ledger is not None and score.seconds:
                self.ledger.put(score, task=digests["task"], recipe=digests["recipe"])
        if self.board is not None:
            self.board.add(records, self.search.policy.worth)
        unsaved = self.search.evaluated - self.saved[0]
        if unsaved >= CHECKPOINT_SCORES or time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
            self._checkpoint()

    def _checked(self, score: Score) -> Score:
        """The score, or a failure where it lacks what the search selects by: the search could not go on from it."""
        missing = self.search.lacks(score)
        if not missing:
            return score
        there = ", ".join(score.objectives) or "none"
        return replace(score, status="invalid", objectives={}, error=f"no objective {missing[0]!r}; there are: {there}")

    def _checkpoint(self) -> None:
        now = (self.search.evaluated, self.search.exhausted)
        if now != self.saved:
            self.run.write_checkpoint(self.search.state())
            self.saved, self.saved_at = now, time.monotonic()

    def _pool(self) -> workers.Pool:
        if self.pool is None:
            settings = self.setup.config.workers
            if not isinstance(self.setup.task, Task) and not settings.workers:
                settings = replace(settings, pool="inline")  # a table or a function gains nothing from a process
            spec = self.setup.spec(self.run.folder / "grammar" / str(self.run.header["grammar_file"]))
            self.pool = workers.open_pool(spec, settings, self.run.folder / "candidates")
        return self.pool

    def _medians(self, number: int) -> tuple[float, ...]:
        """The median curve of the scores folded when a proposal was made: those numbered below its window."""
        if self.setup.config.recipe.stop != "median":
            return ()
        settings = self.setup.settings
        below = number - settings.lookahead if settings.order == "proposal" else number
        return training.medians(self.curves[n] for n in sorted(self.curves) if n < below)

    def _progress(self, phase: str) -> Progress:
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
            rate=rate,
            seconds_left=(budget - search.evaluated) / rate if rate else None,
            failures=dict(self.failures),
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
            device=self.setup.device.partition(":")[0],
            memory=self.pool.memory if self.pool is not None else (0, 0),
        )

    def _fitness(self, individual: Individual) -> float:
        """The first objective as the task measures it, without the sign that selection gave it."""
        return individual.values[0] * self.search.objectives[0].sign

    def _params(self, individual: Individual) -> int | None:
        if self.setup.space.input is None:
            return None
        return self.setup.space.read(individual.derivation).cost.params

    # -- the end

    def _finish(self) -> Summary:
        best = self.search.best()
        if best is None:
            kinds = ", ".join(f"{count} {status}" for status, count in sorted(self.failures.items()))
            raise RunError(
                f"{self.run.folder}: none of {self.search.evaluated} candidates succeeded ({kinds}); "
                f"candidates/ in it holds their errors"
            )
        test: dict[str, float] = {}
        baseline: dict[str, float] = {}
        if isinstance(self.setup.task, Task):
            self.watch.progress(self._progress("final"))
            config = self.setup.config
            final = Final(self.setup.task, config.final, self.setup.device, config.workers.threads)
            best, trained = self._trained(final)
            test, baseline = dict(trained.test), final.baseline()
            fitness = {"fitness": self._fitness(best), "metric": self.setup.task.metric, "baseline": baseline}
            self.run.write_best(files(trained, self.setup.task, fitness))
        else:
            self.run.write_best(
                {
                    "architecture.arch": best.text + "\n",
                    "metrics.json": json.dumps({"key": best.key, "fitness": self._fitness(best), "test": {}}) + "\n",
                }
            )
        return Summary(
            folder=_near(self.run.folder),
            evaluated=self.search.evaluated,
            distinct=self.search.known,
            best_key=best.key,
            best_text=best.text,
            fitness=self._fitness(best),
            test_metric=test,
            baseline=baseline,
            seconds=time.monotonic() - self.begun,
            failures=dict(self.failures),
            duplicates=sum(tally.duplicates for tally in self.search.tallies.values()),
        )

    def _trained(self, final: Final) -> tuple[Individual, Finished]:
        """The best candidate that survives the final training, with what came of it."""
        for individual in self.search.front()[:FINALISTS]:
            finished = final.train(self.setup.space.read(individual.derivation))
            if finished.network is not None:
                return individual, finished
            self.watch.note(f"{individual.key[:8]}: final training failed ({finished.error}); trying the next best")
        raise RunError(f"{self.run.folder}: none of the best candidates survived the final training; see [final]")


def _near(folder: Path) -> Path:
    """A folder as a person would name it: from where they are, if it lies below."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _environment(setup: Setup) -> dict[str, Any]:
    """Versions, device and git commit: what a figure of this run depends on."""
    packages = ("evosearch", "torch", "numpy", "numba", "lark", "deap", "scikit-learn")
    try:
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        commit: str | None = git.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = None  # no git here, or no repository: a run needs neither
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": workers.cores(),
        "device": setup.device,
        "packages": {name: metadata.version(name) for name in packages},
        "commit": commit,
    }


def _facts(setup: Setup) -> dict[str, Any]:
    settings = setup.settings
    order = "; folded as they arrive, so not repeatable" if settings.order == "arrival" else ""
    return {
        "grammar": setup.grammar.name,
        "task": setup.task.name,
        "search": f"{settings.strategy}, {settings.budget} candidates, seed {setup.config.seed}{order}",
        "device": setup.device,
    }
