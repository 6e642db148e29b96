"""Where evaluations run, by name: each place is a file here with a `concurrent.futures.Executor` of its name (`ray.py`:
`Ray`), made with the settings; or with `pool(spec, settings, candidates)`, where workers look into the run's folder.

ray              a Ray cluster
folder           processes `evolve work RUN`, on whatever machines share the run's folder
slurm            the same as jobs of Slurm, by submitit
module:factory   a function of one's own that returns any `concurrent.futures.Executor`
"""

from __future__ import annotations

import pkgutil
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from evosearch import paths
from evosearch.errors import ConfigError, TaskError
from evosearch.plugins import class_name
from evosearch.store.framing import decode, encode
from evosearch.tasks.function import imported
from evosearch.workers import LOCAL
from evosearch.workers import devices as local_devices
from evosearch.workers.executor import ExecutorPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evosearch.workers import EvaluatorSpec, Pool, WorkerSettings


def bundled() -> tuple[str, ...]:
    """The places that come with evosearch."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def pool(spec: EvaluatorSpec, settings: WorkerSettings, candidates: Path | None = None) -> Pool:
    """The pool of `settings.executor`. Raises ConfigError where there is no such executor."""
    if (shared := _by_folder(settings)) is not None:
        made: Pool = shared.pool(spec, settings, candidates)
        return made
    return ExecutorPool(spec, settings, candidates, _opener(settings))


def devices(settings: WorkerSettings) -> tuple[str, ...]:
    """The devices that the workers of `settings.executor` find: `evosearch.workers.devices`, asked there."""
    from evosearch.workers import remote

    if _by_folder(settings) is not None:  # their processes are asked by nobody: what they need stands in the run
        return local_devices(replace(settings, executor=LOCAL))
    executor = _opener(settings)()
    try:
        return tuple(decode(executor.submit(remote.devices, encode({"device": settings.device})).result()))
    finally:
        executor.shutdown(wait=False)


def _opener(settings: WorkerSettings) -> Callable[[], Executor]:
    if settings.own_executor:
        return own(settings.executor)
    return partial(getattr(_bundled(settings.executor), class_name(settings.executor)), settings)


def _by_folder(settings: WorkerSettings) -> ModuleType | None:
    """The module of a place whose workers look into the run's folder, and are called by nobody."""
    module = None if settings.own_executor else _bundled(settings.executor)
    return module if hasattr(module, "pool") else None


def _bundled(name: str) -> ModuleType:
    if name not in bundled():
        known = (LOCAL, *bundled(), "module:factory")
        raise ConfigError(f"workers.executor: no executor {name!r}; {paths.offer(name, known)}")
    return import_module(f"{__name__}.{name}")


def own(name: str) -> Callable[[], Executor]:
    """The function that `module:factory` names. Runs the module, looked for as a task's function is."""
    try:
        _, factory = imported(name)
    except TaskError as error:
        raise ConfigError(f"workers.executor: {error}") from error

    def opened() -> Executor:
        made = factory()
        if not hasattr(made, "submit") or not hasattr(made, "shutdown"):
            said = f"{name} returned a {type(made).__name__}; return a concurrent.futures.Executor"
            raise ConfigError(f"workers.executor: {said}")
        found: Executor = made
        return found

    return opened


__all__ = ["bundled", "devices", "own", "pool"]
