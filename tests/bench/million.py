"""What a run of very many evaluations costs: itself, its resume, its `status` and its report.

`python -m tests.bench.million [EVALUATIONS ...]`: a row of JSON for each size in million.jsonl, appended as it is
measured; what has a row is not measured again, and a run that was interrupted goes on. Then the table, in Markdown.

The run is aging evolution over words of ten letters from six (a bounded grammar of 60 million) in one process; a
function scores them. Processor time is that of user and system together, memory the largest resident set.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from evosearch import config as configuration
from evosearch import engine
from evosearch.report.html import REPORT_FILE
from evosearch.store.run import JOURNAL_FILE, Run
from tests.bench.resumable import completed, read
from tests.watch import Silent

FILE = Path(__file__).with_name("million.jsonl")
RUNS = Path("runs") / "million"
SIZES = (10_000, 100_000, 1_000_000)
MORE = 100  # evaluations that the resume adds
LETTERS = """\
// input: none
start: letter letter letter letter letter letter letter letter letter letter
letter: "a" -> a | "b" -> b | "c" -> c | "d" -> d | "e" -> e | "f" -> f
"""
NOTED = 10.0  # seconds between two notes of what a session has used


class Used(Silent):
    """Writes down what this process has used, so that a session that is killed counts too."""

    def __init__(self, file: Path) -> None:
        self.file, self.begun, self.noted = file, time.monotonic(), 0.0

    def progress(self, progress: engine.Progress) -> None:
        if time.monotonic() - self.noted > NOTED:
            self.write()

    def write(self) -> None:
        self.noted = time.monotonic()
        found = resource.getrusage(resource.RUSAGE_SELF)
        spent = {"processor": found.ru_utime + found.ru_stime, "wall": self.noted - self.begun, "peak": found.ru_maxrss}
        self.file.write_text(json.dumps(spent))


def session(folder: Path, evaluations: int) -> None:
    """Start the run, or go on with it, to its end."""
    grammar = folder.parent / "letters.lark"
    grammar.parent.mkdir(parents=True, exist_ok=True)
    grammar.write_text(LETTERS)
    used = Used(folder.with_name(f"{folder.name}.used-{os.getpid()}.json"))
    if folder.is_dir():
        engine.resume(folder, used)
    else:
        settings = {"grammar": str(grammar), "task": "tests.bench.problems:ordered", "seeds": []}
        engine.start(
            configuration.load(None, {**settings, "search.budget": evaluations, "workers.pool": "inline"}), folder, used
        )
    used.write()


def command(*words: str) -> dict[str, float]:
    """What a command takes: seconds of processor time and on the clock, and its memory in kilobytes."""
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL)
    _, status, found = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: ended with {status}")
    return {"processor": found.ru_utime + found.ru_stime, "wall": time.monotonic() - begun, "peak": found.ru_maxrss}


def measured(evaluations: int) -> dict[str, Any]:
    """The row of one size."""
    folder = RUNS / str(evaluations)
    while not (folder / "best").is_dir():
        command("tests.bench.million", "--session", str(evaluations))
    sessions = [json.loads(file.read_text()) for file in RUNS.glob(f"{evaluations}.used-*.json")]
    run = {name: sum(one[name] for one in sessions) for name in ("processor", "wall")}
    row: dict[str, Any] = {
        "evaluations": evaluations,
        "sessions": len(sessions),
        "journal": (folder / JOURNAL_FILE).stat().st_size,
        "run": {**run, "peak": max(one["peak"] for one in sessions)},
        "status": command("evosearch", "status", str(folder)),
        "report": command("evosearch", "report", str(folder)),
        "page": (folder / REPORT_FILE).stat().st_size,
    }
    more = str(evaluations + MORE)
    row["resume"] = command("evosearch", "resume", str(folder), "--quiet", "--budget", more)
    assert Run.open(folder).load_checkpoint() is not None
    return row


def rows() -> list[dict[str, Any]]:
    return sorted(read(FILE), key=lambda row: int(row["evaluations"]))


def table() -> str:
    lines = ["| evaluations | step | processor | wall | peak memory |", "|---|---|---|---|---|"]
    for row in rows():
        for step in ("run", "resume", "status", "report"):
            used = row[step]
            lines.append(
                f"| {row['evaluations']:,} | {step} | {used['processor']:.1f} s | {used['wall']:.1f} s "
                f"| {used['peak'] / 1000:.0f} MB |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="million", description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--session", type=int, help="one session of the run of a size, in this process")
    asked = parser.parse_args()
    if asked.session is not None:
        session(RUNS / str(asked.session), asked.session)
        return
    completed(({"evaluations": size} for size in asked.sizes), measured, FILE)
    print(table())


if __name__ == "__main__":
    main()
