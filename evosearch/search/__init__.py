"""The search: what to evaluate next, and what its score changes. `ask` and `tell`, nothing else.

search       the loop: look-ahead window, archive, admission
settings     the [search] table
proposal     what is handed out for evaluation, and its key
adaptive     which mutation is tried next
"""

from evosearch.search.proposal import Proposal, identify
from evosearch.search.search import Search, Tally
from evosearch.search.settings import SearchSettings

__all__ = ["Proposal", "Search", "SearchSettings", "Tally", "identify"]
