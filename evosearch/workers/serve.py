"""What runs in a worker process, started by `evosearch.workers.processes` with modules found as they are there.

It reads jobs from the connection at a file descriptor and answers each with a score. It ends when that connection
does, so no worker outlives the process that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from evosearch.workers.records import LONGEST_LOG, UNEVENTFUL, contained

if TYPE_CHECKING:
    from evosearch.workers import Resources

LEAVE_ABOVE = 0.5  # share of its memory that an idle worker may hold on to before it is replaced
PR_SET_PDEATHSIG = 1  # prctl(2)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # mallopt(3)


def main(descriptor: int) -> None:
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    spec, resources = connection.recv()
    _contain()
    release = _keep_pages()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(resources.threads)
    try:
        _share(resources)
        evaluate = spec.build(resources)
    except BaseException as error:  # noqa: BLE001 - told to the parent, which raises it there
        traceback.print_exc()
        connection.send(("broken", f"{error}" if _own(error) else f"{type(error).__name__}: {error}"))
        return
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, jobs), daemon=True).start()
    gc.collect()
    gc.freeze()  # what is loaded now stays: collections after each candidate need not walk through it
    connection.send(("ready",))
    printed = _Printed()
    while True:
        batch = jobs.get()
        answers = []
        for job in batch:
            printed.forget()
            score, log = contained(evaluate, job)
            answers.append((job.number, score, "" if score.status in UNEVENTFUL else f"{log}{printed.tail()}"))
        gc.collect()
        if release is not None:
            release(0)
        held, broken = _held(resources.device) if resources.device != "cpu" else (0, False)
        ruined = broken or any("CUDA error" in score.error for _, score, _ in answers)
        leave = ruined or _resident() > LEAVE_ABOVE * resources.memory > 0
        connection.send(("done", answers, leave, held))
        if leave:
            return


class _Printed:
    """What a candidate prints: this process's stdout and stderr are one file, begun anew for each.

    A candidate may close them, or put others in their place: they are there again for the next.
    """

    def __init__(self) -> None:
        self.file = os.dup(1)
        self.streams = sys.stdout, sys.stderr

    def forget(self) -> None:
        for descriptor in (1, 2):
            os.dup2(self.file, descriptor)
        sys.stdout, sys.stderr = (stream if not stream.closed else _stream() for stream in self.streams)
        self.streams = sys.stdout, sys.stderr
        os.ftruncate(self.file, 0)

    def tail(self) -> str:
        """The end of it, with what Python's own streams hold still."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a candidate may have put anything in their place
                stream.flush()
        size = os.fstat(self.file).st_size
        return os.pread(self.file, LONGEST_LOG, max(0, size - LONGEST_LOG)).decode("utf-8", "replace")


def _stream() -> TextIO:
    """What stands for stdout or stderr where a candidate has closed it."""
    return os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _own(error: BaseException) -> bool:
    from evosearch.errors import EvosearchError

    return isinstance(error, EvosearchError)


def _contain() -> None:
    """See to it that this process ends with its parent, that a crash leaves its stack, and that the system's
    out-of-memory killer takes a worker before anything else.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    if sys.platform == "linux":
        # Even where a candidate holds Python's lock for ever and _listen cannot run.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("1000")


def _keep_pages() -> Callable[[int], int] | None:
    """Have the C library keep what a training step frees for the next one, and return what gives it back (malloc_trim).

    By default it takes every large tensor from the system anew, page by page, and hands it back: of a training on CPU
    that moves much memory this was up to half of the time (docs/decisions.md). None where there is no mallopt.
    """
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if library is None or not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        return None
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    trim: Callable[[int], int] = library.malloc_trim
    return trim


def _share(resources: Resources) -> None:
    """Hold this worker to its share of a GPU: a candidate that takes more fails, and no other worker's with it."""
    if resources.device == "cpu" or not resources.device_memory:
        return
    import torch

    total = torch.cuda.get_device_properties(resources.device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, resources.device_memory / total), resources.device)


def _listen(connection: Connection, jobs: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)  # the parent is gone: with everything that candidates have started


def _held(device: str) -> tuple[int, bool]:
    """Bytes that the last candidate took at most of a GPU's memory, which is given back; whether it broke something."""
    import torch

    from evosearch.evaluation.step import cuda_graph_capture_failed

    try:
        held = int(torch.cuda.max_memory_reserved(device))
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    except RuntimeError:  # the device does not answer this process any more
        return 0, True
    return held, cuda_graph_capture_failed()


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
