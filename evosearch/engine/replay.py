"""What a run was: its recorded configuration, all it is made of read anew, its search done again from the journal."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from evosearch import config as configuration
from evosearch import logs, paths
from evosearch.engine import former
from evosearch.engine.prior import PRIOR_FILE
from evosearch.engine.setup import prepare
from evosearch.errors import CandidateRefused, RunChanged, SpaceExhausted, TaskError, UsageError
from evosearch.report.standing import standing
from evosearch.report.text import near
from evosearch.score import Score
from evosearch.search.proposal import OUTSIDE
from evosearch.store.framing import encode
from evosearch.store.run import CHECKPOINT_FILE, JOURNAL_FILE, Run
from evosearch.store.verify import Finding
from evosearch.store.verify import repair as mend_files
from evosearch.store.verify import verify as check_files
from evosearch.workers import LOCAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evosearch.config import Config
    from evosearch.engine.setup import Setup
    from evosearch.search import Proposal, Search
    from evosearch.workers import WorkerSettings

REPLAYED = ("number", "text", "fidelity", "repeat")  # of a proposal: what has to come out as the journal says
NOTHING = (0, "")  # what a checkpoint holds that is not there

Saved = tuple[int, str]  # scores that a checkpoint holds, and why the space was exhausted, if it was


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
        stands = standing(run, tuple(map(str, search.objectives)), whole=True)
        run.write_checkpoint(search.state(), stands.pack())
        done.append(f"{CHECKPOINT_FILE}: written anew from {search.evaluated} scores")
        return [*done, *logs.repair(run)]  # last: the run can do without them


def recorded(run: Run) -> Config:
    """The configuration that the run was started with."""
    return configuration.recorded(run.text("config.toml"), str(run.folder / "config.toml"))


def largest_budget(run: Run) -> int:
    """The largest budget that an earlier resume asked for, 0 where none did."""
    return max((int(note["budget"]) for note in _notes(run) if "budget" in note), default=0)


def longest_time(run: Run) -> str:
    """The longest time that an earlier resume gave it, else the one it was started with; empty where it has none."""
    given = [recorded(run).time, *(note["time"] for note in _notes(run) if "time" in note)]
    return max(filter(None, given), key=configuration.seconds, default="")


def _notes(run: Run) -> list[dict[str, Any]]:
    """Of a run that is open for writing, those that it has read already; else read now."""
    return run.notes if run.proposals else [record for record in run.records() if record["kind"] == "note"]


@dataclass(frozen=True)
class Changes:
    """What a resume may change; None and empty change nothing. The fields are the arguments of `engine.resume`.

    Raises UsageError for a time that is none.
    """

    budget: int | None = None
    time: str | None = None
    workers: int | None = None
    device: str | None = None
    layers: Sequence[str] = ()
    operators: Sequence[str] = ()
    log: Sequence[str] | None = None
    task: str | None = None
    executor: str | None = None

    def __post_init__(self) -> None:
        if self.time is not None:
            try:
                configuration.seconds(self.time)
            except ValueError as error:
                raise UsageError(f"--time {self.time}: {error}") from None


UNCHANGED = Changes()


def resumed_config(run: Run, changes: Changes) -> Config:
    """The run's config with the changes. Raises UsageError where one gives it less than it had."""
    config = recorded(run)
    asked = max(largest_budget(run), config.search.budget)
    if changes.budget is not None and changes.budget < asked and asked >= configuration.NO_END:
        longer = "; a longer --time gives it more" if longest_time(run) else ""
        raise UsageError(f"--budget {changes.budget}: the run has no number of candidates to end with{longer}")
    if changes.budget is not None and changes.budget < asked:
        raise UsageError(f"--budget {changes.budget}: the run was given {asked} already; name a larger one")
    given = longest_time(run)
    if changes.time is not None and given and configuration.seconds(changes.time) < configuration.seconds(given):
        raise UsageError(f"--time {changes.time}: the run was given {given} already; say a longer one")
    settings = config.workers
    if changes.workers is not None:
        settings = replace(settings, workers=changes.workers)
    if changes.device is not None:
        settings = replace(settings, device=changes.device)
    if changes.executor is not None:
        settings = replace(settings, executor=changes.executor)
    elif settings.own_executor:
        raise own_executor(run.folder, settings)
    return config.model_copy(
        update={
            "search": replace(config.search, budget=changes.budget or asked),
            "workers": settings,
            "layers": paths.own_code("layers", config.layers, changes.layers, run=run.folder),
            "operators": paths.own_code("operators", config.operators, changes.operators, run=run.folder),
            "log": config.log if changes.log is None else tuple(changes.log),
            "time": changes.time or given,
            "task": config.task if changes.task is None else configuration.load(None, {"task": changes.task}).task,
        }
    )


def own_executor(folder: Path, settings: WorkerSettings) -> UsageError:
    """The error of a run whose executor is a function of one's own: code is never taken from a folder's word alone."""
    return UsageError(
        f"{folder}: it was evaluated where {settings.executor} says, which is code; "
        f"say --executor {settings.executor} again, or --executor local"
    )


def setup_of(run: Run, config: Config, device: str | None = None) -> Setup:
    """All that a run is made of, its grammar and seeds from its own folder. Raises RunChanged where it is another.

    device: the one to take its scores to be of; the config's by default.
    """
    grammar = run.folder / "grammar"
    try:
        prior = run.text(PRIOR_FILE) if config.learn_from else None
        file = grammar / str(run.header["grammar_file"])
        setup = prepare(config, file, grammar / "seeds", header=run.header, prior=prior)
    except TaskError as error:
        raise TaskError(f"{error}; where the run's data lies elsewhere now, resume it with --task") from None
    if device is not None:
        setup = replace(setup, device_used=device)
    _refuse_changes(run, setup, config)
    return setup


def _refuse_changes(run: Run, setup: Setup, config: Config) -> None:
    """Raise RunChanged where the grammar, task, recipe, layers or configuration are not those of the run."""
    was = recorded(run)
    now = replace(setup, config=was.model_copy(update={"workers": config.workers}), device_used=setup.device).digests
    changed = [name for name, digest in now.items() if run.header["digests"].get(name) != digest]
    if changed == ["recipe"] and (device := json.loads(run.text("environment.json")).get("device")):
        raise RunChanged(
            f"{run.folder}: its scores were made on {device} with {was.workers.threads} threads; "
            f"resume it with --device {device}"
        )
    if files := _other_files(run.header.get("code", setup.code), setup.code):
        _changed(run, f"{' and '.join(files)} changed")
    if changed:
        _changed(run, f"the {' and the '.join(changed)} changed", forks="grammar" not in changed)
    if found := configuration.differences(run.text("config.toml"), config):
        _changed(run, f"its configuration changed: {'; '.join(found)}", forks=False)


def _other_files(was: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The files of own code that are not what they were, or are not used on one of the sides."""
    pairs = [(was.get(part, {}), files) for part, files in now.items()]
    return sorted({name for then, files in pairs for name in {*then, *files} if then.get(name) != files.get(name)})


def search_of(run: Run, setup: Setup) -> Search:
    """The run's search before its first proposal. Raises RunChanged where it uses other operators."""
    search = setup.search()
    used, was = setup.operators.used, run.header.get("operators")
    if was is None:  # a run of before
        if not former.operators_are(run.header["digests"]["operators"], setup.operators):
            _changed(run, "the operators changed")
    elif used != was:
        names = sorted(name for name in {*used, *was} if used.get(name) != was.get(name))
        how = {True: "changed", False: "is gone or not used"}
        said = [f"{name} {how[name in used] if name in was else 'is new'}" for name in names]
        _changed(run, f"the operators changed: {', '.join(said)}")
    return search


def _changed(run: Run, what: str, *, forks: bool = True) -> NoReturn:
    """forks: whether a fork takes it as it is now; grammar and configuration are the run's own, in its folder."""
    anew = f"go on from its population: evolve resume {near(run.folder)} --fork NAME" if forks else "start a new run"
    raise RunChanged(
        f"{run.folder}: {what} since the run was started, so it cannot go on as it was; put back what it was, or {anew}"
    )


def replayed(run: Run, setup: Setup, search: Search) -> tuple[Search, Saved]:
    """The search as it was when the run stopped, and what its newest checkpoint holds.

    search: the run's before its first proposal.
    """
    checkpoint = run.load_checkpoint()
    if checkpoint is not None:
        search = setup.restored(checkpoint.state, run.records())
    saved = (search.evaluated, search.exhausted) if checkpoint and checkpoint.newest else NOTHING
    replay(search, run, checkpoint.offset if checkpoint else None)
    return search, saved


def replay(search: Search, run: Run, offset: int | None = None) -> None:
    """Do again what the journal says from an offset on. Raises RunChanged where the search would do otherwise."""
    for record in run.records(offset):
        _redo(search, record, run)


def _redo(search: Search, record: Mapping[str, Any], run: Run) -> None:
    if record["kind"] == "proposal":
        try:
            proposal = _proposed(search, record)
        except (SpaceExhausted, CandidateRefused):
            proposal = None
        if proposal is None or any(proposal.pack().get(key) != record.get(key) for key in REPLAYED):
            raise RunChanged(
                f"{run.folder}: proposal {record['number']} comes out otherwise than the journal says; "
                "resume it with the evosearch and the packages in its environment.json"
            )
    elif record["kind"] == "score":
        search.tell(record["number"], Score.unpack(record))


def _proposed(search: Search, record: Mapping[str, Any]) -> Proposal | None:
    """The next proposal: the search's own, or the one that the record has from outside."""
    if record["operator"] != OUTSIDE:
        return search.ask()
    return search.propose(search.space.parse(record["text"]), record["parents"])


def _fresh(run: Run, layers: Sequence[str], operators: Sequence[str]) -> Search:
    """The run's search before its first proposal. Raises RunChanged where what the run needs is not there any more."""
    # Nothing is evaluated: the device is the one that the scores were made on, whether it is here or not.
    device = str(json.loads(run.text("environment.json"))["device"])
    setup = setup_of(run, resumed_config(run, Changes(layers=layers, operators=operators, executor=LOCAL)), device)
    return search_of(run, setup)


def _same_state(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return encode(dict(a)) == encode(dict(b))
