"""Settings that nobody gave, chosen from the data, the machine and the time: what `grammar = "auto"` means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evosearch import config as configuration
from evosearch import plugins, workers
from evosearch.auto import facts_of, plan
from evosearch.engine.setup import task_of
from evosearch.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evosearch.auto import Plan
    from evosearch.config import Config
    from evosearch.tasks import AnyTask

AUTO = "auto"
USUAL_TIME = "10m"  # of a run that is told neither a time nor a number of candidates


@dataclass(frozen=True)
class Chosen:
    """A whole configuration, its task where that had to be loaded, and for people: what the data are, and each choice
    with its reason, a line each.
    """

    config: Config
    task: AnyTask | None = None
    data: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


def chosen(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Chosen:
    """The configuration of a file and of what is laid over it, as `config.load` has it; where no grammar is named, or
    "auto", what is not given follows from the data. A task that has no data, a function or a table, has the defaults.

    Raises EvosearchError.
    """
    given, where = configuration.read(path, overrides)
    if given.get("grammar", AUTO) != AUTO:
        return Chosen(configuration.validate(given, where))
    given.pop("grammar", None)
    known = configuration.validate(given, where)
    own = plugins.find(known.operators)
    task = task_of(known, own)
    if not isinstance(task, Task):
        return Chosen(known, task)
    keys = configuration.flat(given)
    timed = "search.budget" not in keys
    if timed:
        keys = {"time": USUAL_TIME, **keys}
    planned = _planned(task, known, keys)
    settings = {key: value for key, value in planned.settings().items() if not (timed and key == "search.budget")}
    config = configuration.validate(configuration.nested({**settings, **keys}), where)
    lines = [line for line in planned.lines() if not (timed and line.split()[0] == "search.budget")]
    if timed and "time" not in configuration.flat(given):
        lines.append(f"time  {USUAL_TIME}: none was said; --time or --budget says how long")
    if config.data != known.data:  # another share of the rows may have been chosen to judge on
        task = task_of(config, own)
        assert isinstance(task, Task)
    return Chosen(config, task, tuple(task.summary()), tuple(lines))


def _planned(task: Task, known: Config, keys: Mapping[str, Any]) -> Plan:
    device = workers.devices(known.workers)[0]
    seconds = {"seconds": configuration.seconds(str(keys["time"]))} if "time" in keys else {}
    facts = facts_of(task, device=device, cores=known.workers.workers or workers.cores(), **seconds)
    return plan(facts, {key: value for key, value in keys.items() if key != "time"})
