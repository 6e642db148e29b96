"""A run's beginning, and its going on: start, fork, resume."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch import config as configuration
from evosearch import given
from evosearch import workers as pools
from evosearch.engine import timing
from evosearch.engine.ended import told_again
from evosearch.engine.prior import PRIOR_FILE, written
from evosearch.engine.replay import (
    UNCHANGED,
    Changes,
    largest_budget,
    longest_time,
    recorded,
    replayed,
    resumed_config,
    search_of,
    setup_of,
)
from evosearch.engine.session import Session
from evosearch.engine.setup import prepare
from evosearch.engine.timing import TimeBudget
from evosearch.errors import ArchitectureError, UsageError
from evosearch.space import described
from evosearch.store.run import Run
from evosearch.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evosearch.config import Config
    from evosearch.engine.setup import Setup
    from evosearch.tasks import AnyTask
    from evosearch.watch import Summary, Watch


def start(
    config: Config,
    folder: Path,
    watch: Watch,
    why: Sequence[str] = (),
    task: AnyTask | None = None,
    began: float | None = None,
) -> Summary:
    """A new run in `folder`, to its end. Raises EvosearchError; where nothing could begin, no folder is left.

    why: what is to be told of the configuration, a line each. task: the config's, where it is loaded already. began: a
    time.monotonic() from which the run's time counts; now by default.
    """
    began = time.monotonic() if began is None else began
    return begin(prepare(config, task=task), folder, watch, began, why)


def fork(parent: Path, config: Config, folder: Path, watch: Watch) -> Summary:
    """A new run in `folder` that starts from the population of another, under a configuration of its own.

    What the new grammar or limits do not admit is left out, and said. Raises UsageError where nothing is admitted.
    """
    began = time.monotonic()
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
    return begin(prepare(config, seed_texts=admitted), folder, watch, began)


def _population(run: Run) -> dict[int, str]:
    """Texts of a run's population by proposal number: of its checkpoint, else the youngest that succeeded."""
    checkpoint = run.load_checkpoint(archive=False)
    if checkpoint is not None and checkpoint.state["population"]:
        return {individual["born"]: individual["text"] for individual in checkpoint.state["population"]}
    texts: dict[int, str] = {}
    succeeded: list[int] = []
    for record in run.records():
        if record["kind"] == "proposal":
            texts[record["number"]] = record["text"]
        elif record["kind"] == "score" and record["status"] == "ok":
            succeeded.append(record["number"])
    kept = sorted(succeeded)[-recorded(run).search.population :]
    return {number: texts[number] for number in kept}


def begin(setup: Setup, folder: Path, watch: Watch, began: float, why: Sequence[str] = ()) -> Summary:
    with begun(setup, folder, watch, began) as session:
        for line in why:
            watch.note(line)
        return session.go_on()


@contextlib.contextmanager
def begun(setup: Setup, folder: Path, watch: Watch, began: float | None = None) -> Iterator[Session]:
    """A new run in `folder`, open for work, its first candidate proposed. Raises EvosearchError.

    began: a time.monotonic() from which the run's time counts; now by default.
    """
    began = time.monotonic() if began is None else began
    config = setup.config
    logs = setup.logs
    search = setup.search()
    used = setup.operators.used
    first = search.ask()  # before anything is written: limits that no architecture meets are found here
    files = {f"grammar/{name}": text for name, text in setup.grammar.source.items()}
    files |= {f"grammar/seeds/{name}.arch": f"{text}\n" for name, text in setup.seed_texts.items()}
    if config.learn_from:
        files[PRIOR_FILE] = written(setup.prior, setup.space)
    files["config.toml"] = configuration.dumps(config)
    files["environment.json"] = json.dumps(_environment(setup), indent=2) + "\n"
    header = {
        "evosearch": metadata.version("evosearch"),
        "digests": setup.digests,
        "operators": used,
        "code": setup.code,
        "seed": config.seed,
        "grammar_file": next(iter(setup.grammar.source)),
        "task": setup.task.name,
        "metric": setup.task.metric,
        "objectives": [str(one) for one in setup.objectives],
        "started": time.time(),
        **described(setup.space, setup.task, used),
    }
    with Run.create(folder, header=header, files=files) as run:
        watch.started({"run": folder, **_facts(setup)})
        if isinstance(setup.task, Task):
            watch.described(setup.task.summary(setup.config.recipe.folds))
        if first is not None:
            run.append_proposal(first.pack())
        yield Session(setup, search, run, watch, logs, _time_of(config, 0.0, began))


def resume(
    folder: Path,
    watch: Watch,
    *,
    budget: int | None = None,
    time: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    layers: Sequence[str] = (),
    operators: Sequence[str] = (),
    log: Sequence[str] | None = None,
    task: str | None = None,
    executor: str | None = None,
) -> Summary:
    """Go on with a run, to the end it would have had. Raises EvosearchError and then leaves the folder as it was.

    A run that is finished and gets no more is left as it is, too: what it came to is told again.

    budget: more candidates than the run was started with. time: longer than it was given, as "10m".
    workers, device, executor: as in WorkerSettings; an executor of one's own is not taken from the folder's word alone.
    layers, operators: files and folders of the run's own code, which is never taken from the folder's word alone.
    log: as in Config; the run's own where it is None. task: where its data lies, or its function is, now.
    """
    changes = Changes(budget, time, workers, device, layers, operators, log, task, executor)
    if (summary := told_again(folder, watch, changes)) is not None:
        return summary
    with Run.open(folder) as run:
        if given.elsewhere(recorded(run).task):
            raise UsageError(
                f"{folder}: its candidates are evaluated elsewhere; go on with Study.resume({str(folder)!r}), ask and "
                "tell in Python, or with evolve serve"
            )
    with reopened(folder, watch, changes) as session:
        return session.go_on()


@contextlib.contextmanager
def reopened(folder: Path, watch: Watch, changes: Changes = UNCHANGED) -> Iterator[Session]:
    """A run as it was when it stopped, open for work; errors as of `resume`."""
    began = time.monotonic()
    with Run.open(folder, write=True) as run:
        config = resumed_config(run, changes)
        setup = setup_of(run, config)
        logs = setup.logs
        search = search_of(run, setup)
        if cut := run.cut_torn_tail():
            watch.note(f"{folder}: an incomplete last record of {cut} bytes was cut off; it was never acknowledged")
        watch.started({"run": folder, **_facts(setup)})
        search, saved = replayed(run, setup, search)
        if changes.budget is not None and changes.budget > largest_budget(run):
            run.append_note({"budget": changes.budget})
        used = timing.used_seconds(run.records()) if config.time else 0.0
        if changes.time is not None and changes.time != longest_time(run):
            run.append_note({"time": changes.time})
        yield Session(setup, search, run, watch, logs, _time_of(config, used, began), saved)


def _time_of(config: Config, used: float, began: float) -> TimeBudget:
    return TimeBudget(configuration.seconds(config.time) if config.time else math.inf, used, began)


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
        "cores": pools.cores(),
        "device": setup.device,
        "packages": {name: metadata.version(name) for name in packages},
        "commit": commit,
    }


def _facts(setup: Setup) -> dict[str, Any]:
    settings = setup.settings
    size = f"for {settings_time}" if (settings_time := setup.config.time) else ""
    if settings.budget < configuration.NO_END:
        size = f"{settings.budget} candidates{', at most ' + size if size else ''}"
    order = "; folded as they arrive, so not repeatable" if settings.order == "arrival" else ""
    return {
        "grammar": setup.grammar.name,
        "task": setup.task.name,
        "search": f"{settings.strategy}, {size}, seed {setup.config.seed}{order}",
        "device": setup.device,
    }
