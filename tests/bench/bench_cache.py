"""The fitness table against a Python dict, and the ledger: nanoseconds for each key."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch.score import Score
from evosearch.store.ledger import FitnessTable, Keys, Ledger

KEYS = 1_000_000
BATCH = 1_000


@pytest.fixture(scope="module")
def keys() -> Keys:
    return np.random.default_rng(0).integers(0, 2**64, (KEYS, 2), dtype=np.uint64)


@pytest.fixture(scope="module")
def table(keys: Keys) -> FitnessTable:
    table = FitnessTable()
    table.put(keys, np.arange(KEYS))
    return table


def nanoseconds(function: Callable[[], object], per: int) -> float:
    """Of the median call, for each of `per` things."""
    start = time.perf_counter_ns()
    function()
    return (time.perf_counter_ns() - start) / per


def test_looking_up_a_batch_of_random_keys(benchmark: Any, keys: Keys, table: FitnessTable) -> None:
    """1,000 random keys in a million, against a dict from 16 bytes to int: at least 10 times faster."""
    reference = {row.tobytes(): number for number, row in enumerate(keys)}
    rng = np.random.default_rng(1)
    ours, theirs = [], []
    for _ in range(200):
        chosen = rng.integers(0, KEYS, BATCH)
        batch = keys[chosen].copy()
        texts = [row.tobytes() for row in batch]  # fresh bytes, as a digest is: their hash is not known yet
        ours.append(nanoseconds(lambda batch=batch: table.get(batch), BATCH))  # type: ignore[misc]
        theirs.append(nanoseconds(lambda texts=texts: [reference.get(text) for text in texts], BATCH))  # type: ignore[misc]
    fast, slow = statistics.median(ours), statistics.median(theirs)
    print(f"\ntable {fast:.0f} ns a key, dict {slow:.0f} ns a key: {slow / fast:.1f} times faster")
    batches = iter([keys[rng.integers(0, KEYS, BATCH)] for _ in range(1000)] * 1000)
    found, _ = benchmark(lambda: table.get(next(batches)))
    assert found.all()
    assert slow / fast >= 10


def test_putting_a_batch(benchmark: Any, keys: Keys) -> None:
    """A million new keys, growth included."""

    def fill() -> None:
        table = FitnessTable()
        for start in range(0, KEYS, BATCH):
            table.put(keys[start : start + BATCH], np.arange(start, start + BATCH))

    benchmark.pedantic(fill, rounds=3, warmup_rounds=1)
    print(f"\n{benchmark.stats.stats.median / KEYS * 1e9:.0f} ns a new key")


def test_hashing_a_kilobyte_of_text(benchmark: Any) -> None:
    """The hash itself, blake2b-128; the text key adds the removal of white space."""
    text = ("conv(64,3)," * 100)[:1024]
    benchmark(lambda: hashlib.blake2b(text.encode(), digest_size=16).hexdigest())


def test_putting_a_score_in_the_ledger(benchmark: Any, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.msgpack") as ledger:
        scores = (Score(f"{number:032x}", "ok", {"accuracy": 0.5}) for number in range(10_000_000))
        benchmark(lambda: ledger.put(next(scores), task="t", recipe="r"))


def test_opening_a_ledger_of_100_000_scores(benchmark: Any, tmp_path: Path) -> None:
    path = tmp_path / "ledger.msgpack"
    with Ledger(path) as ledger:
        for number in range(100_000):
            ledger.put(Score(f"{number:032x}", "ok", {"accuracy": 0.5}), task="t", recipe="r")
    assert len(benchmark.pedantic(lambda: Ledger(path), rounds=3, warmup_rounds=1)) == 100_000
