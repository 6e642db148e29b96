"""Encodings of a table's columns: against plain loops and the paper's formulas, and through a whole run."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata
from torch.utils.flop_counter import FlopCounterMode

from evosearch import config as configuration
from evosearch import engine, network, results
from evosearch.architecture import Architecture, Space
from evosearch.errors import ShapeError
from evosearch.layers import vocabulary
from evosearch.layers.base import described
from evosearch.layers.columns import Columns, columns_of, usual
from evosearch.layers.library.encodings import FeatureTokens, PiecewiseLinear
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.node import Node
from evosearch.space import space_of
from evosearch.tasks import Split, Task, load, make_task
from tests.spaces import space
from tests.watch import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.tasks.base import Array


def table(rows: int = 400) -> Array:
    """Columns: normal numbers, a word, counts, one value alone, a heavy tail, a rare word; centred and scaled."""
    rng = np.random.default_rng(0)
    columns = [
        rng.normal(size=rows),
        rng.random(rows) < 0.4,
        rng.integers(0, 4, rows),
        np.full(rows, 7.0),
        np.exp(2 * rng.normal(size=rows)),
        np.arange(rows) % 50 == 0,
    ]
    x = np.stack(columns, 1).astype(np.float32)
    return np.asarray((x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1), np.float32)


def read(text: str, columns: Columns | None, width: int = 6, outputs: int | None = None) -> Architecture:
    grammar = space("tables").grammar
    head = MeanLinear(outputs) if outputs else None
    there = Space(grammar, vocabulary(grammar, columns=columns), (width,), head=head)
    return there.read(there.parse(text))


def encoded(text: str, x: Array, columns: Columns) -> torch.Tensor:
    """What the first layers of a network make of a table, before anything that has no encoding's name."""
    architecture = read(f"{text};dense(32,relu,0.1)", columns, x.shape[1])
    encoding = architecture.root.parts[0]
    alone = replace(architecture, root=encoding)
    found: torch.Tensor = network.build(alone)(torch.from_numpy(x))
    return found


def test_columns_are_told_by_what_they_hold() -> None:
    columns = columns_of(table())
    assert columns.numbers == (0, 2, 4)
    assert columns.words == (1, 5)
    assert Columns.unpacked(columns.packed()) == columns


def test_edges_part_the_rows_equally_and_never_meet() -> None:
    """In bins of numbers that are all different there are as many rows each; values that come often are edges."""
    x = table(3200)
    smooth, counts, _ = columns_of(x).edges(16)
    held = np.histogram(x[:, 0], smooth)[0]
    assert len(held) == 16
    assert held.min() >= 190
    assert held.max() <= 210
    assert len(counts) == 4
    for bins in (1, 3, 5, 32, 100):
        for edges in columns_of(x).edges(bins):
            assert 2 <= len(edges) <= max(bins, 3) + 1
            assert all(low < high for low, high in pairwise(edges))


def test_every_bin_holds_the_share_of_the_way_through_it() -> None:
    """One number at a time, as the paper's equation (1) says it; words are 0 or 1 however they were scaled."""
    x = table()
    columns = columns_of(x)
    expected = []
    for row in x:
        shares = [
            min(max((row[column] - low) / (high - low), 0.0), 1.0)
            for column, edges in zip(columns.numbers, columns.edges(8), strict=True)
            for low, high in pairwise(edges)
        ]
        expected.append([*shares, *(float(row[word] > 0) for word in columns.words)])
    assert torch.allclose(encoded("bins(8)", x, columns), torch.tensor(expected), atol=1e-5)


def test_plain_numbers_are_clipped() -> None:
    x = table()
    found = encoded("plain", x, columns_of(x))
    assert torch.allclose(found[:, :3], torch.from_numpy(x[:, [0, 2, 4]]).clamp(-4, 4))
    assert float(found[:, 2].max()) == 4.0
    assert torch.equal(found[:, 3:], torch.from_numpy(x[:, [1, 5]]) > 0)


def deviates(values: Array, known: Array) -> Array:
    """By scipy: the normal deviates of the mean ranks of the known values, linear between them."""
    ranks = norm.ppf(((rankdata(known) - 0.5) / len(known)).clip(0.001, 0.999))
    order = np.argsort(known)
    found: Array = np.interp(values, known[order], ranks[order])
    return found


def test_ranks_are_normal_deviates_of_mean_ranks() -> None:
    """Of values that come often exactly, of others nearly; a tail ends where the rows end."""
    x = table(4000)
    columns = columns_of(x)
    for column, ranked in zip(columns.numbers, columns.ranked(), strict=True):
        at, z = np.array(ranked).T
        assert (np.diff(at) > 0).all()
        assert (np.diff(z) >= 0).all()
        found = np.interp(x[:, column], at, z)
        off = np.abs(found - deviates(x[:, column], x[:, column]))
        assert off.max() < (1e-4 if column == 2 else 0.6)  # least known in the last 32nd of a tail
        assert off.mean() < 0.03
    mostly = np.where(np.arange(4000) % 12 > 0, 0.0, np.arange(4000.0))[:, None]
    assert len(columns_of(mostly).ranked()[0]) > 25
    zero, *others = columns_of(mostly).edges(32)[0]
    assert (zero, len(others)) == (0, 33)
    assert np.interp(0.0, *np.array(columns_of(mostly).ranked()[0]).T) == pytest.approx(norm.ppf(11 / 24), abs=0.01)


@pytest.mark.parametrize("text", ["waves(8,0.1,4)", "ranks(8,0.6,4)"])
def test_waves_are_a_linear_layer_of_cosines_and_sines(text: str) -> None:
    """By loops over examples, columns and outputs, from the built network's own factors and weights."""
    torch.manual_seed(0)
    x, columns = table(20), columns_of(table(20))
    architecture = read(f"{text};dense(32,relu,0.1)", columns)
    module = network.build(replace(architecture, root=architecture.root.parts[0]))
    state = {name: tensor.detach().double().numpy() for name, tensor in module.state_dict().items()}
    factors, mix, bias = state["factors1"], state["mix1"], state["bias1"]
    expected = []
    for row in x:
        out: list[float] = []
        for index, (column, ranked) in enumerate(zip(columns.numbers, columns.ranked(), strict=True)):
            ranks = np.interp(row[column], *np.array(ranked).T)
            angles = 2 * np.pi * factors[index] * (ranks if "ranks" in text else np.clip(row[column], -4, 4))
            waves = np.concatenate([np.cos(angles), np.sin(angles)])
            out += np.maximum(waves @ mix[index] + bias[index], 0).tolist()
        expected.append([*out, *(float(row[word] > 0) for word in columns.words)])
    found = module(torch.from_numpy(x)).detach()
    near = 1e-3 if "ranks" in text else 1e-5  # some values lie close together, and float32 does not tell how far
    assert torch.allclose(found.double(), torch.tensor(expected, dtype=torch.float64), atol=near)


def test_a_table_read_before_ranks_were_kept_has_those_of_its_quantiles() -> None:
    columns = columns_of(table())
    quantiles = tuple(tuple(np.quantile(column, np.linspace(0, 1, 33)).tolist()) for column in table()[:, [0, 2, 4]].T)
    old = Columns.unpacked({"numbers": columns.numbers, "quantiles": quantiles, "words": columns.words})
    assert (old.ranks, old.often) == ((), ())
    assert [len(edges) for edges in old.edges(8)] == [9, 4, 9]
    assert [column[0][0] for column in old.ranked()] == [pytest.approx(found[0], rel=1e-5) for found in quantiles]
    assert read("ranks(8,0.6,4);dense(32,relu,0.1)", old).key == read("ranks(8,0.6,4);dense(32,relu,0.1)", columns).key


@pytest.mark.parametrize("text", ["bins(8)", "waves(8,0.1,4)", "ranks(8,0.6,4)", "plain"])
@pytest.mark.parametrize("known", [True, False])
def test_networks_cost_and_put_out_what_was_predicted(text: str, known: bool) -> None:
    """For a table that is known, and for one that nobody has seen."""
    columns = columns_of(table()) if known else None
    architecture = read(f"{text};dense(64,relu,0.1)", columns, outputs=3)
    module = network.build(architecture).eval()
    assert sum(p.numel() for p in module.parameters()) == architecture.cost.params
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = module(torch.zeros(2, 6))
    assert output.shape == (2, 3)
    assert counter.get_total_flops() == 2 * architecture.cost.flops


def test_what_the_data_said_is_saved_with_the_weights_and_not_trained() -> None:
    module = network.build(read("bins(8);dense(64,relu,0.1)", columns_of(table()), outputs=3))
    assert {"lows1", "widths1", "numbers1", "words1"} <= set(module.state_dict())
    assert all(not name.startswith(("lows", "widths")) for name, _ in module.named_parameters())


def test_the_table_is_no_part_of_a_key() -> None:
    """A search has one table; two encodings differ by what their text says."""
    columns = columns_of(table())
    other = replace(columns, quantiles=tuple(tuple(q + 1 for q in found) for found in columns.quantiles))
    texts = ("bins(8);dense(64,relu,0.1)", "bins(16);dense(64,relu,0.1)", "plain;dense(64,relu,0.1)")
    assert read(texts[0], columns).key == read(texts[0], other).key
    assert len({read(text, columns).key for text in texts}) == 3


def worded(rows: int = 60) -> Array:
    """Columns: a number, a category of three words, one value alone, two flags that are often both there, a number."""
    rng = np.random.default_rng(1)
    letter, flags = rng.integers(0, 4, rows), rng.random((rows, 2)) < 0.6
    columns = [rng.normal(size=rows), *(letter == n for n in (1, 2, 3)), np.ones(rows), *flags.T, rng.normal(size=rows)]
    x = np.stack(columns, 1).astype(np.float32)
    return np.asarray((x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1), np.float32)


def test_a_reader_of_a_table_is_named_without_the_table() -> None:
    """`evolve show` of a run on 400 columns drew a line of 7 MB."""
    columns = columns_of(np.random.default_rng(0).normal(size=(50, 400)))
    for layer, said in ((PiecewiseLinear(8), "piecewise_linear 8"), (FeatureTokens(16), "feature_tokens 16")):
        assert described(layer.of(columns)) == said


def test_words_that_never_meet_are_one_category() -> None:
    columns = columns_of(worded())
    assert columns.words == (1, 2, 3, 5, 6)
    assert columns.categories == columns.parted == (3, 1, 1)
    assert Columns.unpacked(columns.packed()) == columns
    old = {name: value for name, value in columns.packed().items() if name != "categories"}
    assert Columns.unpacked(old).parted == (1, 1, 1, 1, 1)


@pytest.mark.parametrize("known", [True, False])
def test_each_column_of_a_table_is_a_token(known: bool) -> None:
    """A number times a row, or the row of the word that stands there, and a bias; by loops over rows and columns."""
    torch.manual_seed(0)
    x = worded()
    columns = columns_of(x) if known else usual(x.shape[1])
    tokens = FeatureTokens(4).of(columns)
    node = Node(tokens, (8,), tokens.shape((8,)))
    module = network.build(Architecture(node, (8,), "tokens", None))  # type: ignore[arg-type]
    state = {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}
    expected = []
    for row in x:
        out = [np.clip(row[column], -4, 4) * state["factors1"][n] for n, column in enumerate(columns.numbers)]
        word = 0
        for size in columns.parted:
            there = [n for n in range(word, word + size) if row[columns.words[n]] > 0]
            out.append(state["rows1"][there].sum(0))
            word += size
        expected.append(np.stack(out) + state["bias1"])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        found = module(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=1e-6)
    assert found.shape[1:] == node.output == ((5 if known else 8), 4)
    assert sum(p.numel() for p in module.parameters()) == node.cost.params
    assert counter.get_total_flops() == len(x) * node.cost.flops


def test_what_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(ShapeError, match="not the table that was read"):
        PiecewiseLinear(8).of(columns_of(table())).shape((3,))
    with pytest.raises(ShapeError, match="no column that varies"):
        PiecewiseLinear(8).of(Columns((), ())).shape((3,))
    with pytest.raises(ValueError, match="at least 1 bin"):
        PiecewiseLinear(0)


def test_where_no_table_is_known_columns_are_normal_numbers() -> None:
    found = np.array(usual(3).quantiles[0])
    drawn = columns_of(np.random.default_rng(0).normal(size=(20_000, 1)))
    assert np.abs(found[2:-2] - np.array(drawn.quantiles[0])[2:-2]).max() < 0.06


def made() -> Task:
    x, rng = table(300) * 3 + 10, np.random.default_rng(1)
    y = (x[:, 0] + x[:, 1] + rng.normal(size=300) > 20).astype(np.int64)
    parts = [Split(x[rows], y[rows]) for rows in np.split(np.arange(300), [200, 250])]
    return make_task("made", *parts, kind="classification")


def test_a_task_says_what_its_table_holds() -> None:
    there = space_of(made(), space("tables").grammar)
    assert there.vocabulary is not None
    columns = there.vocabulary.columns_read
    assert columns is not None
    assert (columns.numbers, columns.words) == ((0, 2, 4), (1, 5))


def test_a_run_keeps_what_its_network_needs_to_be_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that a run ends with is loaded from its folder alone, and has the accuracy that the run told."""
    monkeypatch.setenv("EVOSEARCH_CACHE", str(tmp_path / "ledger"))
    x = table(300)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    overrides = {
        "task": str(tmp_path / "rows.npz"),
        "grammar": "tables",
        "search.budget": 2,
        "search.population": 2,
        "recipe.epochs": 1,
        "recipe.batch": 32,
        "workers.workers": 1,
        "limits.max_params": 100_000,
    }
    summary = engine.start(configuration.load(None, overrides), tmp_path / "run", Silent())
    task = load(str(tmp_path / "rows.npz"))
    assert isinstance(task, Task)
    test = task.test_split()
    with torch.no_grad():
        answer = results.load(tmp_path / "run")(torch.from_numpy(task.normalise(test.x))).argmax(1).numpy()
    assert float((answer == test.y).mean()) == summary.test_metric["accuracy"]
