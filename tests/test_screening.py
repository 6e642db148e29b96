"""Surrogates are files; of several drafts the most promising one is proposed, in a search that stays exact."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from evosearch import check, grammar, operators, plugins
from evosearch.architecture import Limits, Space
from evosearch.errors import ConfigError, OperatorError
from evosearch.features import Features, paths, subsets
from evosearch.individual import Individual
from evosearch.layers.library.nasbench201 import Cell
from evosearch.search import Search, SearchSettings
from evosearch.search.conformance import conform
from evosearch.search.history import History
from evosearch.search.proposal import Proposal
from evosearch.search.screening import FIRST, Model, due, quantiles
from evosearch.store.run import Run
from tests.chaos.sessions import config, kills, session, words
from tests.conftest import ROOT
from tests.spaces import OF_ANY_NUMBER, SHAPES, space

CELLS = """
// input: none
start: op op op op op op op op -> cell
op: "a" -> a | "b" -> b | "c" -> c
"""
BUNDLED = plugins.find()
SURROGATES = [
    pytest.param(name, marks=pytest.mark.skipif(name == "gbdt" and find_spec("lightgbm") is None, reason="an extra"))
    for name in BUNDLED.of("surrogate")
]


@pytest.fixture(scope="module")
def cells() -> Space:
    return Space(grammar.loads(CELLS), None, None, Limits(max_nodes=60))


@pytest.fixture(scope="module")
def expressions() -> Space:
    return Space(grammar.loads(OF_ANY_NUMBER), None, None, Limits(max_nodes=60))


def worth(text: str) -> float:
    """Of a cell: letters by their places, so that whoever counts what stands where can learn it."""
    return sum((at + 1) * "bca".index(letter) for at, letter in enumerate(text.replace(" ", "")))


def history_of(there: Space, count: int, values: int = 1) -> History:
    """Rows of samples; each seventh is a failure."""
    history, rng = History(values, kept=True), np.random.default_rng(3)
    for number in range(count):
        derivation = there.draw(rng)
        text = there.render(derivation)
        proposal = Proposal(number, derivation, f"{number:032x}", text, (), "sample", number)
        scores = (worth(text), -float(len(set(text))))[:values]
        history.add(proposal, None if number % 7 == 6 else scores, None)
    return history


def model_of(there: Space, surrogate: str = "ridge", objectives: int = 1) -> Model:
    return Model(there, BUNDLED.get("surrogate", surrogate), objectives, np.random.default_rng)


# --- figures of candidates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_figures_count_alternatives_and_are_the_same_for_the_same_text(name: str) -> None:
    """In any grammar: one column for each alternative, the rest of fixed width; another Features gives the same."""
    there, rng = space(name), np.random.default_rng(0)
    features, again = Features(there), Features(there)
    for _ in range(10):
        derivation = there.draw(rng)
        row = features(derivation)
        assert row.shape == (len(features.names),)
        assert np.isfinite(row).all()
        counts = Counter(f"{one.alternative.rule}[{one.alternative.index}]" for one in derivation.walk())
        counted = dict(zip(features.names, row, strict=True))
        assert all(counted[one] == counts[one] for one in features.names if one.endswith("]") and ":" not in one)
        assert (again(there.parse(there.render(derivation))) == row).all()
        cost = there.read(derivation).cost
        assert counted["log params"] == pytest.approx(np.log2(1 + cost.params), rel=1e-6)
        assert counted["log flops"] == pytest.approx(np.log2(1 + cost.flops), rel=1e-6)


def test_paths_of_a_cell_are_those_that_enumeration_finds() -> None:
    """GRAF's figures of NAS-Bench-201 cells, by walking every path."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        chosen = tuple(int(kind) for kind in rng.integers(0, 5, 6))
        found = iter(paths(Cell.edges, 5, chosen))
        for subset in subsets(5):
            edges = [edge for edge, kind in zip(Cell.edges, chosen, strict=True) if kind in subset]
            routes = [[0, *middle, 3] for count in (0, 1, 2) for middle in itertools.combinations((1, 2), count)]
            lengths = [len(route) - 1 for route in routes if all(pair in edges for pair in itertools.pairwise(route))]
            wanted = (
                min(lengths, default=4), max(lengths, default=0),
                sum(start == 0 for start, _ in edges), sum(end == 3 for _, end in edges),
            )  # fmt: skip
            assert tuple(itertools.islice(found, 4)) == wanted


# --- surrogates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SURROGATES)
def test_every_bundled_surrogate_keeps_its_contract(name: str, cells: Space) -> None:
    check.check_plugin(BUNDLED, BUNDLED.get("surrogate", name), cells)


@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_learns_a_sum_over_places(name: str, cells: Space) -> None:
    """From 90 cells, Kendall's tau of 0.5 and more on cells that it has not seen."""
    model = model_of(cells, name)
    model.follow(history_of(cells, 105))
    rng = np.random.default_rng(9)
    fresh = [cells.draw(rng) for _ in range(100)]
    mean, deviation = model.predict(np.stack([model.features(one) for one in fresh]))
    assert kendalltau(mean[:, 0], [worth(cells.render(one)) for one in fresh]).statistic > 0.5
    assert mean.shape == deviation.shape == (100, 1)


WRONG = {
    "none": ("return None", "it gave None; a surrogate operator gives a function predict"),
    "shape": ("return lambda x: (x[:, 0] * 0, 1.0)", "give a finite number for each row"),
    "nan": ("return lambda x: (x[:, 0] * float('nan'), x[:, 0])", "give a finite number for each row"),
    "raises": ("return lambda x: 1 / 0", "raised ZeroDivisionError"),
    "worse": ("return lambda x: (-x[:, 0] - x[:, 1], x[:, 0])", "does not learn the sum"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_surrogate_that_breaks_its_contract_is_refused(case: str, cells: Space, tmp_path: Path) -> None:
    body, message = WRONG[case]
    file = tmp_path / "estimators" / "surrogate" / "mine.py"
    file.parent.mkdir(parents=True)
    file.write_text(f'def mine(x, y, rng):\n    """Mine."""\n    {body}\n')
    found = operators.find([tmp_path])
    with pytest.raises(OperatorError, match=message):
        check.check_plugin(found, found.get("surrogate", "mine"), cells)


def test_a_fit_is_due_ever_more_rarely() -> None:
    """From 32 scores on after 16 more, later after a twelfth more; it depends on nothing but the number of scores."""
    fits = sorted({due(scored) for scored in range(2_000)})
    assert fits[:4] == [0, 32, 48, 64]
    assert all(after - before == max(16, before // 12) for before, after in itertools.pairwise(fits[1:]))
    assert due(FIRST - 1) == 0


@pytest.mark.parametrize("objectives", [1, 2])
def test_a_model_is_a_function_of_the_rows(objectives: int, cells: Space) -> None:
    """Whether it followed the search or was made anew from its history: equal to the bit, and no younger row counts."""
    rng = np.random.default_rng(1)
    steady, history = model_of(cells, "extra_trees", objectives), History(objectives, kept=True)
    x = np.stack([steady.features(cells.draw(rng)) for _ in range(5)])
    whole = history_of(cells, 80, objectives)
    for row in whole:
        proposal = Proposal(row.number, cells.parse(row.text), row.key, row.text, (), "sample", row.number)
        history.add(proposal, row.values, None)
        steady.follow(history)
        if row.number in (40, 61):
            assert steady.ready
            steady.predict(x)
    anew = model_of(cells, "extra_trees", objectives)
    anew.follow(whole)
    for one, other in zip(steady.predict(x), anew.predict(x), strict=True):
        assert (one == other).all()


def test_targets_are_quantiles_and_failures_the_lowest() -> None:
    assert quantiles(np.array([5.0, -np.inf, 7.0, 5.0, -np.inf])) == pytest.approx([0.6, 0.2, 0.9, 0.6, 0.2])


def test_scores_of_different_fidelities_are_not_mixed(cells: Space) -> None:
    """The rows are those of the highest fidelity that has enough: low ones that say the opposite change nothing."""
    mixed, plain = History(1, kept=True), History(1, kept=True)
    for row in history_of(cells, 60):
        derivation = cells.parse(row.text)
        full = Proposal(row.number, derivation, row.key, row.text, (), "sample", row.number)
        low = Proposal(row.number, derivation, row.key, row.text, (), "sample", row.number, fidelity=0.25)
        mixed.add(low, None if row.values is None else (-row.values[0],), None)
        mixed.add(full, row.values, None)
        plain.add(full, row.values, None)
    x = np.stack([Features(cells)(cells.parse("abcabcab"))])
    predictions = []
    for history in (mixed, plain):
        model = model_of(cells)
        model.follow(history)
        predictions.append(model.predict(x)[0])
    assert (predictions[0] == predictions[1]).all()


# --- the search -----------------------------------------------------------------------------------------------------


def run(there: Space, **settings: object) -> tuple[Search, list[Proposal]]:
    search, made = Search(there, SearchSettings(**settings), BUNDLED), []  # type: ignore[arg-type]
    while not search.done:
        proposal = search.ask()
        assert proposal is not None
        made.append(proposal)
        search.tell(proposal.number, worth(proposal.text))
    return search, made


@pytest.mark.parametrize("strategy", ["aging", "nsga2"])
def test_a_screened_search_is_the_same_in_any_order_and_restored(strategy: str, expressions: Space) -> None:
    """Results late and out of order, state packed and restored all the while: the very same proposals, expected values
    included."""
    assert conform(strategy, expressions, BUNDLED, screen=5) == 60


@pytest.mark.slow
def test_a_screened_run_that_is_killed_ends_as_the_one_that_nobody_killed(tmp_path: Path) -> None:
    """Processes killed at random moments and resumed: the same journal, expected values included."""
    table = words(tmp_path / "table", letters=4)

    def screened(seed: int, folder: Path, acknowledged: Any = None) -> None:
        usual = config(table, 60, seed)
        search = replace(usual.search, screen=6, surrogate="ridge", population=10)
        session(usual.model_copy(update={"search": search}), folder, acknowledged)

    screened(0, tmp_path / "warm")  # the forked sessions need not import everything anew
    records = list(Run.open(tmp_path / "warm").records())
    assert sum("expected" in record for record in records) > 10
    kills(screened, tmp_path, runs=2, seeds=1, times=3, rng=np.random.default_rng(7))


def test_screened_proposals_say_what_was_expected(cells: Space) -> None:
    """From 32 folded scores on; the policy has no trial that nobody will ever tell it about."""
    search, made = run(cells, budget=120, screen=8, surrogate="ridge", lookahead=4)
    expected = [proposal for proposal in made if proposal.expected is not None]
    assert [proposal.number for proposal in expected] == list(range(FIRST + 4, 120))
    assert {Proposal.unpack(one.pack(), cells) for one in expected} == set(expected)
    waiting = Counter(
        entry.proposal.operator for entry in search._inflight.values() if entry.proposal.state is not None
    )
    for arms in search.policy.table.values():
        assert {action: arm.pending for action, arm in arms.items() if arm.pending} == dict(waiting)
    tallies = search.tallies.values()
    assert sum(tally.screened for tally in tallies) > 300
    assert sum(tally.proposed for tally in tallies) == 120
    assert all(
        tally.calls == tally.inapplicable + tally.invalid + tally.duplicates + tally.over_limit + tally.screened
        + tally.proposed for tally in tallies
    )  # fmt: skip
    drawn = search.tallies["sample"]
    assert drawn.calls > 80  # every fifth draft


def test_screening_finds_better_cells_with_as_many_evaluations(cells: Space) -> None:
    """Where the values can be learned, the best of 48 is better in the mean of 8 seeds, by three errors."""
    settings = {"strategy": "random", "budget": 48, "lookahead": 0, "surrogate": "ridge"}
    pairs = [
        [max(worth(one.text) for one in run(cells, seed=seed, screen=screen, **settings)[1]) for screen in (1, 12)]
        for seed in range(8)
    ]
    gain = np.diff(np.array(pairs), axis=1)[:, 0]
    assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(len(gain))


def test_explore_is_the_share_that_is_drawn(cells: Space) -> None:
    """With 1, each of the drafts is equally likely, whatever is expected of it."""
    search = Search(cells, SearchSettings(screen=4, explore=1.0, surrogate="ridge"), BUNDLED)
    assert search.screen is not None
    search.screen.model.follow(history_of(cells, 40))
    rng = np.random.default_rng(0)
    drafts = [cells.parse(text) for text in ("aaaaaaaa", "bbbbbbbb", "cccccccc", "abcabcab")]
    counts = np.bincount([search.screen.choose(drafts, rng)[0] for _ in range(400)], minlength=4)
    assert ((counts - 100) ** 2 / 100).sum() < 16.3  # chi-squared, 3 degrees of freedom, p = 0.001


def test_a_small_space_is_searched_to_its_end(cells: Space) -> None:
    """Where fewer drafts are left than are wanted, those that are found have to do."""
    there = Space(grammar.loads(CELLS.replace("op op op op op op op op", "op op op op")), None, None)
    _, made = run(there, budget=81, screen=10, surrogate="ridge")
    assert len({proposal.key for proposal in made}) == 81


def test_without_screening_no_surrogate_is_used(cells: Space) -> None:
    """So what an old run uses is what it used."""
    found = plugins.find()
    Search(cells, SearchSettings(), found)
    assert not any(name.startswith("surrogate/") for name in found.used)
    Search(cells, SearchSettings(screen=2), found)
    assert found.used["surrogate/extra_trees"] == "version 2"


def test_settings_out_of_range_are_refused(cells: Space) -> None:
    with pytest.raises(ConfigError, match=r"search\.screen is 0; it must be at least 1"):
        SearchSettings(screen=0)
    with pytest.raises(ConfigError, match=r"search\.explore is 2; it must be at least 0 and at most 1"):
        SearchSettings(explore=2)
    with pytest.raises(OperatorError, match="no surrogate operator named 'extra_tree'; did you mean extra_trees"):
        Search(cells, SearchSettings(screen=2, surrogate="extra_tree"), plugins.find())


# --- strategies that rank -------------------------------------------------------------------------------------------


def test_the_walk_goes_down_the_sizes() -> None:
    there = space("tiny_cnn")
    search = Search(there, SearchSettings(strategy="walk", budget=30), BUNDLED, own={"by": "params", "pool": 200})
    sizes = []
    while (proposal := search.ask()) is not None:
        sizes.append(there.read(proposal.derivation).cost.params)
        search.tell(proposal.number, 0.0)
    assert len(sizes) == 30
    assert sizes == sorted(sizes, reverse=True)


def test_a_walk_by_what_a_language_has_not_is_refused(cells: Space) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.by: a language without layers has no flops; set it to 'nodes'"):
        Search(cells, SearchSettings(strategy="walk"), BUNDLED, own={"by": "flops"})


def test_local_search_climbs_and_starts_anew(cells: Space) -> None:
    """It never goes back while it climbs; after so many mutants in vain comes a start from a sample."""
    search = Search(cells, SearchSettings(strategy="local", budget=300, lookahead=0), BUNDLED, own={"patience": 20})
    values: list[float] = []
    while (proposal := search.ask()) is not None:
        held = search.population[0] if search.population else None
        search.tell(proposal.number, worth(proposal.text))
        values.append(worth(proposal.text))
        if held is not None and search.population:
            now: Individual = search.population[0]
            assert now.values >= held.values
    assert max(values) == worth("a" * 8)
    assert search.tallies["early_exit"].proposed > 1


def test_the_predictor_takes_batches_of_what_it_ranks_highest(cells: Space) -> None:
    _, made = run(cells, strategy="predictor", surrogate="ridge", budget=120, lookahead=0)
    first = [one for one in made if one.operator != "predicted"]
    later = [worth(one.text) for one in made if one.operator == "predicted"]
    assert len(first) == FIRST
    assert np.mean(later) > np.mean([worth(one.text) for one in first]) + 10


def test_the_estimators_that_the_page_shows_keep_their_contract(cells: Space, tmp_path: Path) -> None:
    page = (ROOT / "docs/estimators.md").read_text(encoding="utf-8")
    files = re.findall(r'```python title="([^"]+)"\n(.*?)```', page, re.DOTALL)
    assert [Path(name).parent.name for name, _ in files] == list(plugins.ESTIMATORS)
    for name, source in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(source, encoding="utf-8")
    found = operators.find([tmp_path])
    for name, _ in files:
        check.check_plugin(found, found.get(Path(name).parent.name, Path(name).stem), cells)
