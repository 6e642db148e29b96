"""One process writes a run at a time: the system's lock on a file in its folder, which dies with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import socket
import time
from pathlib import Path

from evosearch.errors import RunLocked
from evosearch.store.disk import Disk, refusal

log = logging.getLogger(__name__)

LOCK_FILE = "LOCK"


def take(folder: Path, disk: Disk) -> int:
    """The descriptor that holds the folder's lock until it is closed, by us or by our death.

    The system's lock on the file decides, not its content: a lock file without it is stale. Raises RunLocked.
    """
    path = folder / LOCK_FILE
    looks = 0
    while True:
        descriptor = disk.open(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(descriptor, path):  # else its holder removed it between our open and our lock
                break
        except BlockingIOError:
            looks += 1
            if looks < 10:  # a reader that looks whether anyone writes holds it for microseconds
                os.close(descriptor)
                time.sleep(0.01)
                continue
            holder = _holder(descriptor)
            os.close(descriptor)
            raise RunLocked(f"{folder}: {holder} is writing this run; wait until it ends, or stop it") from None
        except OSError as error:
            os.close(descriptor)
            raise refusal(path, error) from error
        os.close(descriptor)
    try:
        stale = os.pread(descriptor, 1000, 0)
        if stale:
            log.warning("%s: took over the lock left by %s, which runs no more", folder, _holder(descriptor, looks=1))
        disk.truncate(descriptor, path, 0)
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        disk.write(descriptor, path, f"pid {os.getpid()}\nhost {socket.gethostname()}\nstarted {started}\n".encode())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_written(folder: str | Path) -> bool:
    """Whether a living process has the run open for writing."""
    try:
        with (Path(folder) / LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, or none that this process may read
        return False
    return False


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(descriptor: int, looks: int = 20) -> str:
    """Who a lock file says holds it: "process 123 on host since ..."."""
    for _ in range(looks):  # its holder may have locked it and not yet written its name
        found = dict(
            line.partition(" ")[::2] for line in os.pread(descriptor, 1000, 0).decode("utf-8", "replace").split("\n")
        )
        if {"pid", "host", "started"} <= set(found):
            pid, host, started = (re.sub(r"[^\w.:-]", "?", found[name])[:80] for name in ("pid", "host", "started"))
            return f"process {pid} on {host} (since {started})"
        time.sleep(0.01)
    return "another process"


def give(folder: Path, descriptor: int) -> None:
    """Remove the lock file, then let go: who waits for this very file finds another one in its place."""
    with contextlib.suppress(OSError):  # a lock file that stays is a stale one: recognised and taken over
        (folder / LOCK_FILE).unlink()
    os.close(descriptor)
