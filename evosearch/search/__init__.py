"""The search: what to evaluate next, and what its score changes. `ask` and `tell`, nothing else.

search       the loop: look-ahead window, archive, admission, folding
settings     the [search] table
strategy     what a strategy is and what it is given; operators/strategy/ has them
evolution    what the bundled strategies with a population are made of
proposal     a candidate on its way to its evaluation and back
history      what is remembered: identities, and where it is needed, everything
credit       what operators earned; adaptive: which mutation is tried next
"""

from evosearch.search.credit import Tally
from evosearch.search.proposal import Candidate, Evaluated, Proposal, identify
from evosearch.search.search import Search
from evosearch.search.settings import SearchSettings
from evosearch.search.strategy import Context, Strategy

__all__ = [
    "Candidate", "Context", "Evaluated", "Proposal", "Search", "SearchSettings", "Strategy", "Tally", "identify",
]  # fmt: skip
