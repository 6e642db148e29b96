"""A run from its configuration to its best network: search, workers, journal and ledger put together.

    automatic  settings that nobody gave, chosen from the data, the machine and the time
    setup      read and check everything that a run needs
    lifecycle  start: its folder made. resume: the folder's own config, grammar and seeds, its checkpoint's state, the
               rest of its journal replayed. fork: a new run from the population of another
    session    ask -> journal -> known from another run, or a worker -> journal, fsync -> tell, until the budget is
               spent; then the best one trained on train and validation, tested once, written to best/
    ended      a finished run that gets no more: what it came to, told again
    working    one of many workers on a folder that machines share
    replay     what a run was: verified, repaired, done again from its journal

Only this package knows all the parts; none of them knows it.
"""

from evosearch.engine.automatic import Chosen, chosen
from evosearch.engine.lifecycle import fork, resume, start
from evosearch.engine.replay import Changes, repair, replay, verify
from evosearch.engine.setup import Setup, prepare
from evosearch.engine.working import work
from evosearch.watch import Progress, Summary, Watch

__all__ = [
    "Changes",
    "Chosen",
    "Progress",
    "Setup",
    "Summary",
    "Watch",
    "chosen",
    "fork",
    "prepare",
    "repair",
    "replay",
    "resume",
    "start",
    "verify",
    "work",
]
