"""Memories of what was used lately."""

from __future__ import annotations

import numpy as np

from evosearch.recent import Recent, Weighed


def test_what_is_used_stays_and_what_is_not_goes() -> None:
    memory: Recent[int, int] = Recent(10)
    memory[0] = 100
    for key in range(1, 1_000):
        assert memory[key] is None
        memory[key] = 100 + key
        if key % 5 == 0:
            assert memory[0] == 100
    assert all(memory[key] == 100 + key for key in range(995, 1_000))
    assert all(memory[key] is None for key in range(1, 970))


def test_it_holds_two_generations_at_most_and_never_a_wrong_value() -> None:
    rng, memory = np.random.default_rng(0), Recent[int, int](50)
    for key in rng.integers(300, size=5_000).tolist():
        found = memory[key]
        assert found in (None, key * key)
        memory[key] = key * key
        assert len(memory) + len(memory._older) <= 2 * 50
    memory.clear()
    assert all(memory[key] is None for key in range(300))


def test_entries_count_as_much_as_they_weigh() -> None:
    memory: Weighed[str, int] = Weighed(100, len)
    for number in range(100):
        key = f"{number:030}"
        assert memory[key] is None
        memory[key] = number
    known = [number for number in range(100) if memory[f"{number:030}"] is not None]
    assert known == list(range(known[0], 100))
    assert 3 <= len(known) <= 6
