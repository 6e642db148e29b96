"""`python -m tests.bench.arena`: measure what has no row yet, then write docs/arena.md from all rows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tests.bench.arena import arms, rows, sets, table
from tests.bench.resumable import read


def main() -> int:
    """0 where every arm came to a figure; 1 where one did not, which the last lines say."""
    parser = argparse.ArgumentParser(prog="arena", description=__doc__)
    parser.add_argument("--sets", type=_some_of(sets.names()), default=sets.names(), metavar="NAMES")
    parser.add_argument("--arms", type=_some_of(arms.names()), default=arms.names(), metavar="NAMES")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--time", default="3m", help="what each search is given (3m)")
    parser.add_argument("--table", action="store_true", help="measure nothing; write docs/arena.md")
    asked = parser.parse_args()
    failed = [] if asked.table else rows.append_missing(rows.wanted(asked.sets, asked.seeds, asked.arms, asked.time))
    table.PAGE.write_text(table.page(read(rows.FILE)), encoding="utf-8")
    print(f"{table.PAGE} is written", *failed, sep="\n", flush=True)
    return 1 if failed else 0


def _some_of(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def chosen(text: str) -> list[str]:
        asked = [name.strip() for name in text.split(",")]
        if wrong := [name for name in asked if name not in known]:
            raise argparse.ArgumentTypeError(f"no {', '.join(wrong)}; there are: {', '.join(known)}")
        return asked

    return chosen


if __name__ == "__main__":
    sys.exit(main())
