"""Stems: the encodings of a table's columns, against plain loops, and the networks behind them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from evosearch import network
from evosearch.architecture import Architecture, Space
from evosearch.errors import ShapeError
from evosearch.layers.heads import MeanLinear
from evosearch.layers.node import Node
from evosearch.layers.stems import PiecewiseLinear
from tests.spaces import space

EDGES = ((2, (-1.0, 0.0, 0.5, 2.0)), (0, (-0.25, 0.25)))
STEM = PiecewiseLinear(EDGES, words=(1, 4))


def behind(stem: PiecewiseLinear, columns: int) -> Architecture:
    tables = space("tables")
    there = Space(tables.grammar, tables.vocabulary, (columns,), head=MeanLinear(3), stem=stem)
    return there.read(there.parse("dense(32,relu,0.1)"))


def test_every_bin_holds_the_share_of_the_way_through_it() -> None:
    """As the paper's equation says it, one number at a time; words are 0 or 1 however they were scaled."""
    rows = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    expected = []
    for row in rows:
        shares = []
        for column, edges in EDGES:
            for low, high in pairwise(edges):
                shares.append(min(max((row[column] - low) / (high - low), 0.0), 1.0))
        expected.append([*shares, *(float(row[word] > 0) for word in STEM.words)])
    alone = Architecture(Node(STEM, (5,), STEM.shape((5,))), (5,), "", space("tables").parse("dense(32,relu,0.1)"))
    assert torch.allclose(network.build(alone)(torch.from_numpy(rows)), torch.tensor(expected), atol=1e-6)


def test_a_network_behind_a_stem_costs_and_puts_out_what_was_predicted() -> None:
    architecture = behind(STEM, 5)
    module = network.build(architecture)
    assert sum(p.numel() for p in module.parameters()) == architecture.cost.params == (6 + 1) * 32 + 33 * 3
    assert module(torch.zeros(7, 5)).shape == (7, 3)


def test_edges_are_saved_with_the_weights_and_not_trained() -> None:
    module = network.build(behind(STEM, 5))
    assert {"lows1", "widths1", "columns1", "words1"} <= set(module.state_dict())
    assert all("lows" not in name for name, _ in module.named_parameters())


def test_another_stem_is_another_network() -> None:
    other = PiecewiseLinear(((2, (-1.0, 0.0, 0.4, 2.0)), EDGES[1]), words=(1, 4))
    assert behind(STEM, 5).key != behind(other, 5).key
    assert behind(STEM, 5).key == behind(PiecewiseLinear(EDGES, (1, 4)), 5).key


def test_what_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(ValueError, match="do not ascend"):
        PiecewiseLinear(((0, (1.0, 1.0)),))
    with pytest.raises(ValueError, match="at least one column"):
        PiecewiseLinear(())
    with pytest.raises(ShapeError, match="column 4 of 3"):
        STEM.shape((3,))
