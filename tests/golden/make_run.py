"""Makes the golden run of the present format version, once: `python -m tests.golden.make_run FOLDER`.

FOLDER is where the search's grammar and table lie while it is made; the run goes to tests/golden/run-format-N.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from evosearch import config as configuration
from evosearch.engine import session as sessions
from evosearch.store import framing
from evosearch.store.run import Run
from tests.chaos.sessions import session, words
from tests.journals import journal_digest

HERE = Path(__file__).parent


def main() -> None:
    table = words(Path(sys.argv[1]), letters=3)
    target = HERE / f"run-format-{framing.FORMAT}"
    made = table / "run"
    overrides = {
        "grammar": str(table / "words.lark"), "task": f"table:{table / 'words.csv'}", "seeds": [], "seed": 1,
        "search.budget": 12, "search.population": 4,
    }  # fmt: skip
    sessions.CHECKPOINT_SCORES = 5  # so that there is a previous one
    session(configuration.load(None, overrides), made)
    shutil.move(made, target)
    print(target, journal_digest(Run.open(target)))


if __name__ == "__main__":
    main()
