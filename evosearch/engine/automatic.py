"""Settings that nobody gave, chosen from the data, the machine and the time: what `grammar = "auto"` means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evosearch import config as configuration
from evosearch import plugins, workers
from evosearch.auto import facts_of, plan
from evosearch.engine.setup import task_of
from evosearch.tasks import Task

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.auto import Plan
    from evosearch.config import Config
    from evosearch.tasks import AnyTask

AUTO = "auto"
USUAL: Mapping[str, Any] = {"time": "10m"}  # of a run that is told neither a time nor a number of candidates
SIZE = ("time", "search.budget")
OWN_RECIPE = ("recipe.optimizer", "recipe.lr", "recipe.schedule")  # whoever says one of them means the rest as it is
# Not chosen for a grammar that somebody names: what it begins with and how it is searched, which is theirs to say; and
# no stop rule, under which a ledger could not be shared.
OWN_GRAMMAR = ("grammar", "seeds", "search.", "workers.", "recipe.stop")


@dataclass(frozen=True)
class Chosen:
    """A whole configuration, its task where that had to be loaded, and for people: what the data are, and each choice
    with its reason, a line each.
    """

    config: Config
    task: AnyTask | None = None
    data: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


def chosen(path: Path | None, overrides: Mapping[str, Any] | None = None, usual: Mapping[str, Any] = USUAL) -> Chosen:
    """The configuration of a file and of what is laid over it, as `config.load` has it, and what follows from the data.

    Where no grammar is named, or "auto", all that is not given follows. Where one is named: how its networks are
    trained and judged, and with a time the limit that keeps one training within its share of it; a recipe whose
    optimizer, learning rate or schedule is given is left as it is. A task that has no data, a function or a table, has
    the defaults. usual: how long a run goes on that is told neither a time nor a budget and names no grammar; USUAL.

    Raises EvosearchError.
    """
    given, where = configuration.read(path, overrides)
    named = given.get("grammar", AUTO) != AUTO
    if not named:
        given.pop("grammar", None)
    known = configuration.validate(given, where)
    own = plugins.find(known.operators)
    task = task_of(known, own)
    if not isinstance(task, Task):
        return Chosen(known, task)
    keys = configuration.flat(given)
    if named and any(key in keys for key in OWN_RECIPE):
        return Chosen(known, task, tuple(task.summary(known.recipe.folds)))
    said = {key: value for key, value in usual.items() if not named and not any(s in keys for s in SIZE)}
    keys = {**said, **keys}
    planned = _planned(task, known, keys)
    left_out = _left_out(keys, named)
    choices = {key: choice for key, choice in planned.choices.items() if not key.startswith(left_out)}
    config = configuration.validate(
        configuration.nested({**{key: choice.value for key, choice in choices.items()}, **keys}), where
    )
    lines = list(replace(planned, choices=choices).lines())
    lines += [f"{key}  {value}: none was said; --time or --budget says how long" for key, value in said.items()]
    if config.data != known.data:  # another share of the rows may have been chosen to judge on
        task = task_of(config, own)
        assert isinstance(task, Task)
    return Chosen(config, task, tuple(task.summary(config.recipe.folds)), tuple(lines))


def _left_out(keys: Mapping[str, Any], named: bool) -> tuple[str, ...]:
    """Beginnings of keys that stay as they are: not chosen, whatever the plan says of them."""
    found = OWN_GRAMMAR if named else ()
    if "time" in keys and "search.budget" not in keys:
        found = (*found, "search.budget")  # it has no end
    if named and ("time" not in keys or keys.get("seeds")):
        found = (*found, "limits.")
    if keys.get("recipe.optimizer", "adamw") != "adamw":
        found = (*found, "recipe.lr", "recipe.weight_decay")  # which are AdamW's
    return found


def _planned(task: Task, known: Config, keys: Mapping[str, Any]) -> Plan:
    device = workers.devices(known.workers)[0]
    seconds = {"seconds": max(1.0, configuration.seconds(str(keys["time"])))} if "time" in keys else {}
    cores = 1 if known.workers.pool == "inline" else known.workers.workers or workers.cores()
    facts = facts_of(task, share=known.data.validation, device=device, cores=cores, **seconds)
    return plan(facts, {key: value for key, value in keys.items() if key != "time"})
