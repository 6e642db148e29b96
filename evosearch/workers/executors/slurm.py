"""Slurm: so many pilot jobs, each of which runs `evolve work RUN`. A job for each candidate would wait for minutes.

Pilots are submitted by submitit and cancelled at the run's end. What else a pilot needs is said as Slurm has it, in the
variables that sbatch reads: SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT. The folder must be on every node.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module, util
from typing import TYPE_CHECKING, Any, cast

from evosearch.errors import ConfigError
from evosearch.workers.folder import FolderPool

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.evaluation.evaluators import Spec
    from evosearch.workers import EvaluatorSpec, WorkerSettings

CLUSTER = "EVOSEARCH_SLURM"  # submitit's name of where jobs go, where it is not Slurm: "local" for this machine
A_DAY = 24 * 60  # minutes that a pilot may take where SBATCH_TIMELIMIT does not say


def pool(spec: EvaluatorSpec, settings: WorkerSettings, candidates: Path | None) -> Pilots:
    """See `evosearch.workers.open_pool`. Raises ConfigError where there is no submitit, or no number of pilots."""
    return Pilots(spec, settings, candidates)


class Pilots(FolderPool):
    """A FolderPool whose workers are pilot jobs, `settings.workers` of them."""

    def __init__(self, spec: EvaluatorSpec, settings: WorkerSettings, candidates: Path | None) -> None:
        if util.find_spec("submitit") is None:
            raise ConfigError("workers.executor: submitit is not installed; pip install 'evosearch[slurm]'")
        if not settings.workers:
            raise ConfigError("workers.workers: how many pilot jobs? say --workers N")
        super().__init__(spec, settings, candidates)
        submitit: Any = import_module("submitit")
        executor = submitit.AutoExecutor(folder=self.folder / "slurm", cluster=os.environ.get(CLUSTER))
        gpus = {} if settings.device == "cpu" else {"gpus_per_node": 1}
        minutes = {} if "SBATCH_TIMELIMIT" in os.environ else {"timeout_min": A_DAY}
        executor.update_parameters(name="evosearch", cpus_per_task=settings.threads, **minutes, **gpus)
        own = [("--layers", path) for path in cast("Spec", spec).layers]
        own += [("--operators", path) for path in cast("Spec", spec).operators]
        told = cast("Spec", spec).task  # where the data lies now, which a resume may have said
        command = [sys.executable, "-m", "evosearch", "work", str(self.folder.parent), "--workers", "1"]
        command += ["--device", settings.device, "--task", told]
        command += [word for pair in own for word in pair]
        self.size = settings.workers
        with executor.batch():
            self._jobs = [executor.submit(submitit.helpers.CommandFunction(command)) for _ in range(settings.workers)]

    def close(self) -> None:
        super().close()
        for job in self._jobs:
            job.cancel()
