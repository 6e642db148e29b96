"""Where evaluations run: in this process, or in a pool of processes that each candidate may ruin only for itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from evosearch import ranges
from evosearch.errors import ConfigError
from evosearch.evaluation.job import Evaluation, Job, Resources
from evosearch.ranges import Amount, Natural, Positive

if TYPE_CHECKING:
    from collections.abc import Callable

    from evosearch.score import Score

GIB = 1 << 30
SHARE = 0.8  # of the machine's main memory, that workers may have together
LOCAL = "local"  # the executor that is this machine


@dataclass(frozen=True)
class WorkerSettings:
    """How many evaluations run at a time, where, and what one may take.

    workers: processes; 0 for one per core on CPU, `per_device` for each GPU.
    device: auto (CUDA where there is one, else cpu), cpu, cuda (all GPUs) or one of them, as cuda:1.
    per_device: candidates at a time on one GPU; 0 chooses by its memory and the cores.
    memory: GiB of main memory for a worker, and for what a candidate is estimated to need on CPU; 0 for an equal share
        of 80 % of the machine's, and an estimate of at most all of those 80 %.
    time_limit: seconds for a candidate; 0 for no limit.
    threads: of each evaluation. Scores are reproducible at one number of threads.
    pool: processes, or inline: in evosearch's own process, one at a time and without containment.
    executor: where evaluations run: local, on this machine; ray, on a Ray cluster; folder, in processes `evolve work`
        on machines that share the run's folder; slurm, in jobs that do that; module:factory, wherever the
        `concurrent.futures.Executor` runs them that a function of one's own returns (`evosearch.workers.executors`).
    silence: seconds without a sign of life after which a process that shares the folder counts as dead.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    workers: Natural = 0
    device: str = "auto"
    per_device: Natural = 0
    memory: Amount = 0.0
    time_limit: Amount = 3600.0
    threads: Positive = 1
    pool: Literal["processes", "inline"] = "processes"
    executor: str = field(default=LOCAL, metadata={"neutral": LOCAL})
    silence: float = field(default=20.0, metadata={"neutral": 20.0})

    @property
    def own_executor(self) -> bool:
        """Whether the executor is a function of one's own: code."""
        return ":" in self.executor

    def __post_init__(self) -> None:
        ranges.check(self, "workers")
        kind, _, number = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
            raise ConfigError(f"workers.device is '{self.device}'; use auto, cpu, cuda or cuda:N")


class EvaluatorSpec(Protocol):
    """What a worker needs to evaluate. Crosses to worker processes, so it holds plain values only."""

    def build(self, resources: Resources) -> Callable[[Job], Evaluation]:
        """Load grammar, layers and data; called once in each worker. Raises EvosearchError."""


class Pool(Protocol):
    """Evaluates jobs. Every job submitted is answered exactly once, unless the pool is closed before."""

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes that its workers take of their devices' memory, and that they may take; zeros where nobody looks.

        On CPU that is main memory, as last seen at work; on a GPU what each one's last candidate took at most.
        """

    def submit(self, job: Job) -> None: ...

    def wait(self, timeout: float | None = None) -> list[tuple[int, Score]]:
        """Scores that came since the last call, by their jobs' numbers; waits for the first up to `timeout` seconds.

        Empty where none came in time, and at once where no job is out. Raises WorkerError where no worker can start.
        """

    @property
    def size(self) -> int:
        """Jobs that run at the same time."""

    def close(self) -> None:
        """End every worker at once; what they were evaluating is lost."""


def open_pool(spec: EvaluatorSpec, settings: WorkerSettings, candidates: Path | None = None) -> Pool:
    """The pool that the settings ask for, its workers starting.

    candidates: the folder that keeps error.txt and log of failed candidates, in a folder named by their keys.
    """
    if settings.executor != LOCAL:
        from evosearch.workers import executors

        return executors.pool(spec, settings, candidates)
    if settings.pool == "inline":
        from evosearch.workers.inline import InlinePool

        return InlinePool(spec, settings, candidates)
    from evosearch.workers.processes import ProcessPool

    return ProcessPool(spec, settings, candidates)


def devices(settings: WorkerSettings) -> tuple[str, ...]:
    """The devices to use; of another executor than local, those that its workers find, unless the kind is named.

    Raises ConfigError where CUDA is asked for and not there.
    """
    if settings.executor != LOCAL:
        from evosearch.workers import executors

        return executors.devices(settings) if settings.device == "auto" else (settings.device,)
    if settings.device == "cpu" or (settings.device == "auto" and not _may_have_cuda()):
        return ("cpu",)
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if settings.device == "auto" and not count:
        return ("cpu",)
    number = settings.device.partition(":")[2]
    if not count or (number and int(number) >= count):
        raise ConfigError(
            f"workers.device is '{settings.device}', and torch {torch.__version__} sees {count} CUDA devices; use cpu"
        )
    return (settings.device,) if number else tuple(f"cuda:{index}" for index in range(count))


def seats(settings: WorkerSettings) -> tuple[Resources, ...]:
    """What each worker gets; devices are assigned round-robin."""
    places = devices(settings)
    on_gpu = places[0] != "cpu"
    per_device = settings.per_device or (_per_gpu(places) if on_gpu else 1)
    count = settings.workers or (len(places) * per_device if on_gpu else max(1, cores() // settings.threads))
    room = int(settings.memory * GIB) if settings.memory else int(SHARE * machine_memory())
    memory = room if settings.memory else room // count
    found = []
    for index in range(count):
        device = places[index % len(places)]
        sharing = len(range(index % len(places), count, len(places)))
        own = int(0.9 * _gpu_memory(device) / sharing) if on_gpu else room
        found.append(Resources(device, settings.threads, memory, own, settings.time_limit))
    return tuple(found)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_memory() -> int:
    """Bytes of main memory: the machine's, or its container's limit."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(name)
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            total = min(total, int(text))
    return total


def _may_have_cuda() -> bool:
    """False where surely no CUDA device is: asking torch costs seconds."""
    return os.name != "posix" or any(Path(name).exists() for name in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"))


def _gpu_memory(device: str) -> int:
    import torch

    return int(torch.cuda.get_device_properties(device).total_memory)


def _per_gpu(places: tuple[str, ...]) -> int:
    """Small networks leave a GPU idle between kernels: as many candidates as cores can feed, with 8 GiB each."""
    return max(1, min(8, cores() // len(places), _gpu_memory(places[0]) // (8 * GIB)))


__all__ = [
    "GIB",
    "LOCAL",
    "Evaluation",
    "EvaluatorSpec",
    "Job",
    "Pool",
    "Resources",
    "WorkerSettings",
    "cores",
    "devices",
    "machine_memory",
    "open_pool",
    "seats",
]
