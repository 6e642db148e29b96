"""Searches and keys in a form that can be compared between versions: digests of what was proposed, keys of texts."""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from evosearch import operators, tasks
from evosearch.architecture import Limits, Space
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.store import framing
from tests.spaces import SHAPES, seed, space

SEEDS = range(20)
BUDGET = 200
PREFIXES = (20, 50, 100, BUDGET)  # proposals after which a digest is taken: the first that differs says where
TEXTS = 200  # for each grammar
LONGEST = 700  # characters of a text whose key is recorded


def made_up(proposal: Proposal) -> float:
    """A fitness that needs no data: what the key's first bytes say."""
    return int(proposal.key[:8], 16) / 2**32


def recorded(table: Path, folder: Path) -> Callable[[Proposal], float]:
    """Validation accuracy in the recorded NAS-Bench-201, from the packed table. folder: where it may be unpacked."""
    unpacked = folder / "nasbench201.csv"
    if not unpacked.exists():
        unpacked.write_bytes(lzma.decompress(table.read_bytes()))
    task = tasks.load(f"table:{unpacked}")
    assert isinstance(task, tasks.DirectTask)

    def evaluate(proposal: Proposal) -> float:
        score = task.evaluate(proposal.text, proposal.derivation, proposal.key, proposal.seed)
        return score.objectives[task.metric]

    return evaluate


def searched() -> Space:
    """NAS-Bench-201's cells without a limit on modules, as comparisons have them."""
    there = space("nasbench201")
    return Space(there.grammar, there.vocabulary, there.input, Limits(max_nodes=1000, max_modules=None))


def proposals(there: Space, number: int, evaluate: Callable[[Proposal], float]) -> list[str]:
    """Digests of what the default search with this seed proposes, after each of PREFIXES."""
    search = Search(there, SearchSettings(seed=number, budget=BUDGET), operators.find())
    hashed, digests = hashlib.blake2b(digest_size=8), []
    while not search.done:
        proposal = search.ask()
        assert proposal is not None
        hashed.update(framing.encode(proposal.pack()))
        search.tell(proposal.number, evaluate(proposal))
        if proposal.number + 1 in PREFIXES:
            digests.append(hashed.hexdigest())
    return digests


def keys() -> Iterator[tuple[str, str, str]]:
    """(grammar, key, text) of samples of every bundled grammar and of the bundled seeds."""
    for name, shape in SHAPES.items():
        there, rng, found = space(name, shape), np.random.default_rng(11), 0
        while found < TEXTS:
            architecture = there.read(there.draw(rng))
            if len(architecture.text) <= LONGEST:
                found += 1
                yield name, architecture.key, architecture.text
    for name in ("small_cnn", "resnet10", "resnet18", "resnet34", "wrn16_4", "vit", "mlp_mixer"):
        architecture = seed(name)
        yield "einspace", architecture.key, architecture.text
