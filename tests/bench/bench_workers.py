"""What a thousand workers make of a search, in virtual time: candidates of 1 to 100 s, log-uniform. `make bench`.

The share of the ideal is the work that was done until the last candidate was handed out, by what the workers could have
done in that time.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pytest

from evosearch import grammar, operators
from evosearch.architecture import Space
from evosearch.search import Search, SearchSettings

WORDS = "// input: none\nstart: {}\nletter: " + " | ".join(f'"{one}" -> {one}' for one in "abcdefgh") + "\n"
WORKERS, CANDIDATES = 1_000, 20_000
LEAST, MOST = 1.0, 100.0  # seconds of a candidate


def share(settings: SearchSettings, workers: int = WORKERS) -> float:
    """The share of the ideal throughput. Nothing is evaluated: a candidate's score is a number from its seed."""
    space = Space(grammar.loads(WORDS.format(" ".join(["letter"] * 10))), None, None)
    search = Search(space, settings, operators.find())
    rng = np.random.default_rng(0)
    running: list[tuple[float, int, float]] = []
    now = done = 0.0
    while search.proposed < settings.budget:
        while len(running) < workers and (proposal := search.ask()) is not None:
            took = float(np.exp(rng.uniform(np.log(LEAST), np.log(MOST))))
            heapq.heappush(running, (now + took, proposal.number, took))
        if search.proposed >= settings.budget:
            break
        now, number, took = heapq.heappop(running)
        done += took
        search.tell(number, float(number % 1000))
    part = sum(took - (ends - now) for ends, _, took in running)
    return (done + part) / (workers * now)


@pytest.mark.parametrize(
    ("order", "lookahead"),
    [("arrival", 8), ("proposal", 8), ("proposal", 100), ("proposal", 1_000), ("proposal", 4_000)],
)
def test_a_thousand_workers(benchmark: Any, order: Any, lookahead: int) -> None:
    settings = SearchSettings(budget=CANDIDATES, population=100, order=order, lookahead=lookahead)
    found = benchmark.pedantic(share, (settings,), rounds=1)
    print(f"\n{WORKERS} workers, order {order}, look-ahead {lookahead}: {found:.3f} of the ideal")
    assert found > (0.9 if order == "arrival" else 0)
