"""What of a run's folder does not check, and what can be mended."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evosearch.errors import EvosearchError, RunCorrupt
from evosearch.store import framing
from evosearch.store.disk import content, unused
from evosearch.store.framing import Frames
from evosearch.store.lock import is_written
from evosearch.store.run import (
    CHECKPOINT_FILE,
    JOURNAL_FILE,
    PREVIOUS_FILE,
    SUMS_FILE,
    Contents,
    Record,
    Run,
    hashed,
    read_checkpoint,
    reading,
    sums,
)


@dataclass(frozen=True)
class Finding:
    """One thing in a run folder that does not check. `cure` says what to do; `file` is relative to the folder."""

    file: str
    message: str
    cure: str = "restore the file from a copy"

    def __str__(self) -> str:
        return f"{self.file}: {self.message}; {self.cure}"


def verify(folder: str | Path) -> list[Finding]:
    """Check a run's files without changing or running anything: frames, checksums, digests, order and numbering.

    Returns what does not check, empty where all does. Raises RunError where the folder is no run, or of a newer format.
    """
    folder = Path(folder).absolute()
    try:
        run = Run.open(folder)
    except RunCorrupt as error:
        return [_finding(JOURNAL_FILE, error, folder)]
    return [*_verify_records(run), *(Finding(*wrong) for wrong in run.altered()), *verify_best(folder)]


def _finding(name: str, error: EvosearchError, folder: Path, cure: str = Finding.cure) -> Finding:
    """The error without the path and the advice that a Finding states itself."""
    message = str(error).removeprefix(f"{folder / name}: ")
    return Finding(name, message.removesuffix(framing.ADVICE).removesuffix(framing.RESTORE), cure)


def _verify_records(run: Run) -> Iterator[Finding]:
    """The journal, read once, and the checkpoints against it."""
    cure = "`evolve repair` sets it aside and rebuilds it from the journal"
    checkpoints: dict[str, Record] = {}
    for name in (CHECKPOINT_FILE, PREVIOUS_FILE):
        try:
            checkpoint = read_checkpoint(run.folder / name, run.header)
        except EvosearchError as error:
            yield _finding(name, error, run.folder, cure)
        else:
            if checkpoint is not None:
                checkpoints[name] = checkpoint
    wanted = {checkpoint["offset"] for checkpoint in checkpoints.values()}
    there: dict[int, Record] = {}
    journal = run.folder / JOURNAL_FILE
    try:
        with reading(journal) as file:
            frames, contents = Frames(file, journal, run.end), Contents()
            for end, _ in itertools.chain([(run.end, {})], contents.read(frames)):
                if end in wanted:
                    there[end] = {"records": contents.records, **contents.pack()}
            for end, found in there.items():
                found["digest"] = hashed(file, end).digest()
    except EvosearchError as error:
        yield _finding(JOURNAL_FILE, error, run.folder)
        return
    if frames.torn and not is_written(run.folder):
        message = f"offset {frames.end}: an incomplete last record of {frames.torn} bytes, never acknowledged"
        yield Finding(JOURNAL_FILE, message, "`evolve resume` or `evolve repair` cuts it off")
    for name, checkpoint in checkpoints.items():
        offset, records = checkpoint["offset"], checkpoint["records"]
        if offset > frames.end:
            message = f"it ends at offset {frames.end}, but {name} reflects it up to {offset}: records are missing"
            yield Finding(JOURNAL_FILE, message, "restore the journal from a copy")
        elif offset not in there or there[offset]["records"] != records:
            message = f"it reflects {records} records up to offset {offset}, where the journal has "
            yield Finding(name, message + (str(there[offset]["records"]) if offset in there else "no boundary"), cure)
        elif {"records": records, **checkpoint.get("journal", there[offset])} != there[offset]:
            yield Finding(name, f"it reflects other records than the journal has up to offset {offset}", cure)


def verify_best(folder: Path) -> Iterator[Finding]:
    """Where best/ is not what its SHA256SUMS say; nothing where there is none."""
    cure = "`evolve resume` writes best/ anew"
    best = folder / "best"
    if not best.exists():
        return
    stated = content(best / SUMS_FILE) or b""
    names = [path.name for path in best.iterdir() if path.name != SUMS_FILE] if best.is_dir() else []
    contents = {name: content(best / name) or b"" for name in names}
    for line in sorted(set(sums(contents).splitlines()) ^ set(stated.splitlines())):
        name = line.partition(b"  ")[2].decode("utf-8", "replace") or SUMS_FILE
        yield Finding(f"best/{name}", f"it does not match best/{SUMS_FILE}", cure)
    if not stated:
        yield Finding(f"best/{SUMS_FILE}", "it is missing", cure)


def repair(folder: str | Path) -> list[str]:
    """Cut a torn tail off the journal and set unreadable checkpoints aside. Returns what was done, a line each.

    Nothing is deleted: what is cut or set aside lies in `.torn` files. A journal damaged elsewhere raises RunCorrupt,
    and is left alone. Rebuilding the checkpoint is the search's part: it replays the journal.
    """
    done = []
    with Run.open(folder, write=True) as run:
        size, end = run.cut_torn_tail(), run.end
        if size:
            done.append(f"{JOURNAL_FILE}: cut off an incomplete last record of {size} bytes at offset {end}")
        for name in (CHECKPOINT_FILE, PREVIOUS_FILE):
            path = run.folder / name
            try:
                read_checkpoint(path, run.header)
            except RunCorrupt as error:
                aside = unused(path.with_suffix(".torn"))
                run.disk.rename(path, aside)
                run.disk.fsync_folder(run.folder)
                done.append(f"{name}: set aside as {aside.name} ({_finding(name, error, run.folder).message})")
    return done
