"""What is known of a task and a machine before anything is trained, as far as settings depend on it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evosearch.errors import ConfigError
from evosearch.layers.base import mode

if TYPE_CHECKING:
    from evosearch.layers.base import Shape
    from evosearch.layers.columns import Columns
    from evosearch.tasks.base import Task

FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")  # processors that multiply bfloat16 faster than float32


@dataclass(frozen=True)
class Facts:
    """All that a plan depends on; equal facts make equal plans.

    shape: of one example. rows: examples that may be trained on, validation among them. whole: rows of which a share is
    held out to judge on, those for the test among them where they are cut from the same; 0: rows. held: rows that the
    data set itself has to judge on; 0: none. groups: that the rows belong to; 0: each is by itself.
    outputs: classes, or numbers to predict; classes: which of the two.
    images: whether the examples are some that may be shifted. mirror: what of their meaning their mirror images keep,
    from 0 to 1 (`auto.mirror`). scales: of series, how many times the deviation of some is that of others
    (`auto.scales`). masked: of these, whether the last number of a step says that it is there, as in Task.
    seconds: for all of it, search and final training. columns: of a table. fast_bfloat16: whether the processor
    multiplies it faster.
    """

    shape: Shape
    rows: int
    outputs: int
    classes: bool
    whole: int = 0
    held: int = 0
    groups: int = 0
    images: bool = False
    mirror: float = 1.0
    scales: float = 1.0
    masked: bool = False
    device: str = "cpu"
    cores: int = 1
    seconds: float = 600.0
    columns: Columns | None = None
    fast_bfloat16: bool = False

    def __post_init__(self) -> None:
        for name, least in (("rows", 4), ("outputs", 1), ("cores", 1), ("seconds", 1), ("scales", 1)):
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}")

    @property
    def mode(self) -> str:
        """image, column (a series) or vector (a row of a table)."""
        return mode(self.shape)


def facts_of(task: Task, *, share: float = 0.2, device: str = "cpu", cores: int = 0, seconds: float = 600.0) -> Facts:
    """The facts of a task on this machine. share: `data.validation`, by which its rows to judge on were cut where the
    data set has none. cores: 0 for all that this process may use.
    """
    from evosearch.auto import mirror, scales
    from evosearch.space import table_of
    from evosearch.tasks.folds import most_folds

    return Facts(
        shape=task.input_shape,
        rows=len(task.train) + len(task.validation),
        whole=round(len(task.validation) / share) if task.drawn else 0,
        held=0 if task.drawn else len(task.validation),
        groups=0 if task.train.groups is None else most_folds(task),
        outputs=task.outputs,
        classes=task.kind.classes,
        images=task.images,
        mirror=mirror.kept(task) if task.images else 1.0,
        scales=scales.apart(task) if mode(task.input_shape) == "column" else 1.0,
        masked=task.masked,
        device=device,
        cores=cores or len(os.sched_getaffinity(0)),
        seconds=seconds,
        columns=table_of(task),
        fast_bfloat16=_fast_bfloat16(),
    )


def _fast_bfloat16() -> bool:
    """As Linux tells the processor's flags; where it does not, False."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    flags = next((line.split() for line in told.splitlines() if line.startswith("flags")), [])
    return any(flag in flags for flag in FAST_BFLOAT16)
