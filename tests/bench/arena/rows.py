"""What was measured: one row of JSON a line, appended as soon as it is known and never changed."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.arena import arms, sets
from tests.bench.resumable import append, read

FILE = Path(__file__).with_name("rows.jsonl")
Measure = Callable[[str, sets.DataSet, int, str, Path], arms.Result]  # as `arms.measure`
Load = Callable[[str, int, Path], sets.DataSet]  # as `sets.load`
PACKAGES = ("evosearch", "torch", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Key:
    """What is measured once. time: what a search is given, empty for what is not a search."""

    set: str
    seed: int
    arm: str
    time: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> Key:
        return cls(row["set"], row["seed"], row["arm"], row["time"])


def wanted(names: Iterable[str], seeds: Sequence[int], chosen: Sequence[str], time: str) -> list[Key]:
    """What there is to measure, cheap arms first, and all sets of a seed before the next seed."""
    return [
        Key(name, seed, arm, time if arm in arms.SEARCHES else "") for arm in chosen for seed in seeds for name in names
    ]


def append_missing(
    keys: Sequence[Key], file: Path = FILE, measure: Measure = arms.measure, load: Load = sets.load
) -> list[str]:
    """Measure what has no row yet, and append each row as it comes. Returns why arms came to no figure."""
    there = {Key.of(row) for row in read(file)}
    failed: list[str] = []
    absent: set[str] = set()
    for key in keys:
        if key in there or key.set in absent:
            continue
        try:
            row = measured(key, measure, load)
        except sets.NotHereError as error:
            absent.add(key.set)
            print(f"{key.set}: skipped, {error}", flush=True)
            continue
        except arms.ArmError as error:
            failed.append(f"{key.set}, seed {key.seed}, {key.arm}: {error}")
            print(failed[-1], flush=True)
            continue
        append(row, file)
        print(
            f"{key.set}, seed {key.seed}, {key.arm}: {row['metric']} {row['value']:.4f}, {row['seconds']} s", flush=True
        )
    return failed


def measured(key: Key, measure: Measure = arms.measure, load: Load = sets.load) -> dict[str, Any]:
    """The row of a key. seconds: by the clock; cpu_seconds: of all cores; load: the machine's, as it began."""
    with TemporaryDirectory(prefix="arena-") as name:
        folder = Path(name)
        data = load(key.set, key.seed, folder / "data")
        busy, begun, used = os.getloadavg()[0], time.monotonic(), _cpu_seconds()
        result = measure(key.arm, data, key.seed, key.time, folder)
        seconds, cpu = time.monotonic() - begun, _cpu_seconds() - used
    return {
        "set": key.set,
        "seed": key.seed,
        "arm": key.arm,
        "time": key.time,
        "metric": data.metric,
        "value": round(result.value, 6),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "rows": [len(data.y_train), len(data.y_test)],
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "machine": {"processor": _processor(), "cores": _cores(), "load": round(busy, 1)},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        **({"more": dict(result.more)} if result.more else {}),
    }


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _commit() -> str:
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
