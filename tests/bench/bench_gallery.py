"""The gallery: samples a second of each grammar, how long reading a seed and its key take. Processor time, one core."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from evosearch import grammar
from evosearch.architecture import Limits, Space
from evosearch.layers import vocabulary
from tests.published import PUBLISHED, Published
from tests.spaces import GRAMMARS, SHAPES
from tests.test_gallery import SEEDS, space_of
from tests.test_grammars_gallery import GALLERY

SAMPLES = 500


@pytest.mark.parametrize("name", GALLERY)
def test_drawing_samples(benchmark: Any, name: str) -> None:
    """At least 300 a second at the grammar's usual input, in a space as a new process has it."""

    def draw() -> float:
        read = grammar.load(GRAMMARS / f"{name}.lark")
        space, rng = Space(read, vocabulary(read), SHAPES[name], Limits()), np.random.default_rng(0)
        before = time.process_time()
        for _ in range(SAMPLES):
            space.draw(rng)
        return SAMPLES / (time.process_time() - before)

    rate = benchmark.pedantic(draw, rounds=1)
    benchmark.extra_info["samples a second"] = rate
    print(f"\n{name}: {rate:.0f} samples a second", end="")
    assert rate >= 300


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.seed)
def test_reading_a_seed_and_its_key(benchmark: Any, row: Published) -> None:
    """Parsing and reading in under 50 ms, the key in under 10: the first time, when no block has been looked at yet."""
    text = (SEEDS / row.grammar / f"{row.seed}.arch").read_text()
    read: list[float] = []
    keys: list[float] = []

    def once() -> None:
        there = space_of.__wrapped__(row.grammar, row.shape, row.outputs)
        before = time.process_time()
        architecture = there.read(there.parse(text))
        between = time.process_time()
        assert architecture.key
        read.append(between - before)
        keys.append(time.process_time() - between)

    benchmark.pedantic(once, rounds=1)
    print(f"\n{row.seed}: read in {1e3 * read[0]:.1f} ms, its key in {1e3 * keys[0]:.1f} ms", end="")
    assert read[0] < 0.05
    assert keys[0] < 0.01
