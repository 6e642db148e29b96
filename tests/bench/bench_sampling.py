"""Samples a second: einspace at three input shapes, and the key of a text. Processor time of one core."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from evosearch import grammar
from evosearch.architecture import Limits, Space
from evosearch.layers import vocabulary
from tests.spaces import GRAMMARS

SAMPLES = 1_000
SEEDS = range(5)


def measure(shape: tuple[int, ...], seed: int) -> dict[str, float]:
    """A new space, as a new process has it; the default limits of 1,000 nodes and depth 10."""
    read = grammar.load(GRAMMARS / "einspace.lark")
    space, rng = Space(read, vocabulary(read), shape, Limits()), np.random.default_rng(seed)
    seconds, drawn = [], []
    for _ in range(SAMPLES):
        before = time.process_time()
        drawn.append(space.draw(rng))
        seconds.append(time.process_time() - before)
    total, nodes = sum(seconds), sum(derivation.size for derivation in drawn)
    keys = {space.read(derivation).key for derivation in drawn}
    return {
        "samples a second": SAMPLES / total,
        "nodes a second": nodes / total,
        "mean nodes": nodes / SAMPLES,
        "99th percentile, ms": 1e3 * float(np.quantile(seconds, 0.99)),
        "slowest, ms": 1e3 * max(seconds),
        "distinct keys": len(keys) / SAMPLES,
        "dropped": space.stats.dropped,
    }


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 64, 64), (1, 24, 24)], ids=lambda shape: "x".join(map(str, shape)))
def test_drawing_a_thousand_samples(benchmark: Any, shape: tuple[int, ...]) -> None:
    """Seeds 0 to 4, the worst of them: at least 500 samples and 25,000 nodes a second at 3x32x32."""
    found = [measure(shape, seed) for seed in SEEDS]
    for seed, figures in zip(SEEDS, found, strict=True):
        print(f"\nseed {seed}: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()), end="")
    benchmark.extra_info["seeds 0..4"] = found
    benchmark.pedantic(measure, (shape, 0), rounds=1)
    if shape == (3, 32, 32):
        assert min(figures["samples a second"] for figures in found) >= 500
        assert min(figures["nodes a second"] for figures in found) >= 25_000
        assert min(figures["mean nodes"] for figures in found) >= 20
        assert max(figures["99th percentile, ms"] for figures in found) < 25
        assert max(figures["slowest, ms"] for figures in found) < 1_000
        assert min(figures["distinct keys"] for figures in found) >= 0.5


def test_the_key_of_a_kilobyte_of_text(benchmark: Any) -> None:
    """The text key: white space out, blake2b-128."""
    read = grammar.load(GRAMMARS / "einspace.lark")
    text = ("seq( linear(64), norm ),\n" * 60)[:1024]
    assert len(benchmark(grammar.text_key, read, text)) == 32
