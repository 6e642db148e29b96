"""`python -m tests.bench.gallery`: write docs/gallery.md and its drawings; with --measure, search first."""

from __future__ import annotations

import argparse
import sys

from tests.bench.arena import rows
from tests.bench.gallery import page, searches


def main() -> int:
    """0 where all is written; 1 where a search came to no figure, which the last lines say."""
    parser = argparse.ArgumentParser(prog="gallery", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="search where there is no row yet: hours the first time")
    parser.add_argument("--sets", type=_listed, default=searches.SETS, metavar="NAMES")
    parser.add_argument("--grammars", type=_listed, default=searches.GRAMMARS, metavar="NAMES")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--time", default="3m", help="what each search is given (3m)")
    asked = parser.parse_args()
    failed = []
    if asked.measure:
        keys = searches.wanted(asked.sets, asked.seeds, asked.grammars, asked.time)
        failed = rows.append_missing(keys, searches.FILE, searches.measure, searches.load)
    page.write()
    print(f"{page.PAGE} is written", *failed, sep="\n", flush=True)
    return 1 if failed else 0


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
