"""Strategies are files: found, given their own settings, asked for candidates, told results, restored."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch import config as configuration
from evosearch import engine, grammar, operators
from evosearch.architecture import Limits, Space
from evosearch.cost import Cost
from evosearch.errors import ConfigError, OperatorError, SpaceExhausted
from evosearch.score import Score, evaluation_seed
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.search.conformance import conform
from evosearch.search.history import Archive
from evosearch.search.proposal import identity
from evosearch.store.run import Run
from tests.conftest import ROOT
from tests.spaces import OF_ANY_NUMBER
from tests.watch import Silent

CELLS = """
// input: none
start: op op op op op op op op -> cell
op: "a" -> a | "b" -> b | "c" -> c
"""

# The one that the documents show.
HALVING = next(
    block
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/operators.md").read_text(encoding="utf-8"), re.DOTALL)
    if "class Halving" in block
)


def own(folder: Path, name: str, source: str) -> operators.Operators:
    path = folder / "operators" / "strategy" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return operators.find([folder])


@pytest.fixture(scope="module")
def expressions() -> Space:
    return Space(grammar.loads(OF_ANY_NUMBER), None, None, Limits(max_nodes=60))


def finish(search: Search, **score: Any) -> list[Proposal]:
    made = []
    while not search.done:
        proposal = search.ask()
        assert proposal is not None
        made.append(proposal)
        objectives = {"fitness": float(len(proposal.text) % 10)}
        search.tell(proposal.number, Score(proposal.key, "ok", objectives, **score))
    return made


@pytest.mark.parametrize("name", operators.find().of("strategy"))
def test_every_bundled_strategy_keeps_its_contract(expressions: Space, name: str) -> None:
    assert conform(name, expressions, operators.find()) == 60


def test_a_dropped_in_strategy_runs_with_its_own_settings(expressions: Space, tmp_path: Path) -> None:
    """Found by name; asks for the history, for fractions of evaluations, and for one network again and again."""
    found = own(tmp_path, "halving", HALVING)
    assert conform("halving", expressions, found) == 60
    settings = SearchSettings(strategy="halving", budget=40, lookahead=0)
    search = Search(expressions, settings, found, own={"bracket": 3, "repeats": 3})
    made = finish(search, cost=Cost(7), curve=(0.5, 0.75))
    full = [proposal for proposal in made if proposal.fidelity == 1]
    assert {proposal.fidelity for proposal in made} == {0.25, 1.0}
    assert [proposal.repeat for proposal in full[:3]] == [0, 1, 2]
    assert len({proposal.key for proposal in full[:3]}) == 1
    assert len({proposal.seed for proposal in full[:3]}) == 3
    first = next(proposal for proposal in made if proposal.key == full[0].key)
    assert (first.fidelity, first.seed == full[0].seed) == (0.25, False)
    assert all(individual.full for individual in search.front())
    row = search.history[-1]
    assert (row.text, row.key, row.number) == (made[-1].text, made[-1].key, 39)
    assert (row.cost["params"], row.curve, row.values) == (7, (0.5, 0.75), (float(len(row.text) % 10),))
    assert search.history.values.shape == (40, 1)


def test_a_fraction_of_an_evaluation_is_a_fraction_of_the_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the strategy to the training and back into the journal; replayed, it comes out the same."""
    own(tmp_path, "halving", HALVING)
    monkeypatch.setenv("EVOSEARCH_CACHE", str(tmp_path / "cache"))
    settings = {
        "grammar": "tiny_cnn", "task": "digits", "operators": [str(tmp_path / "operators")],
        "search.strategy": "halving", "strategy.bracket": 2, "strategy.repeats": 2, "search.budget": 6,
        "search.lookahead": 0, "recipe.epochs": 4, "final.epochs": 1, "workers.pool": "inline", "workers.device": "cpu",
        "limits.max_params": 50_000, "limits.max_flops": 2_000_000,
    }  # fmt: skip
    engine.start(configuration.load(None, settings), tmp_path / "run", Silent())
    records = list(Run.open(tmp_path / "run").records())
    proposals = {record["number"]: record for record in records if record["kind"] == "proposal"}
    scores = {record["number"]: record for record in records if record["kind"] == "score"}
    epochs = {number: len(scores[number]["curve"]) for number in scores if scores[number]["status"] == "ok"}
    assert set(epochs.values()) == {1, 4}
    assert all(epochs[number] == (1 if "fidelity" in proposals[number] and proposals[number]["fidelity"] < 1 else 4)
               for number in epochs)  # fmt: skip
    assert engine.verify(tmp_path / "run", operators=[str(tmp_path / "operators")]) == []


def test_at_neutral_values_keys_seeds_and_records_are_as_they_were(expressions: Space) -> None:
    """What is in no journal of earlier versions stays out of this one's; other values make another evaluation."""
    proposal = finish(Search(expressions, SearchSettings(budget=1), operators.find()))[0]
    assert list(proposal.pack()) == ["number", "key", "text", "parents", "operator", "seed", "state"]
    assert proposal.seed == evaluation_seed(0, proposal.key) == evaluation_seed(0, proposal.key, 1.0, 0)
    seeds = {evaluation_seed(0, proposal.key, fidelity, repeat) for fidelity in (0.5, 1.0) for repeat in (0, 1)}
    assert len(seeds) == 4


@pytest.mark.parametrize(("fidelity", "repeat"), [(0.0, 0), (1.5, 0), (float("nan"), 0), (1.0, -1)])
def test_a_fidelity_that_is_none_is_refused(fidelity: float, repeat: int) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        identity("0" * 32, fidelity, repeat)


def test_a_strategy_that_ends_ends_the_search(expressions: Space, tmp_path: Path) -> None:
    ends = HALVING.replace("        while True:\n", "        if len(history) < 5:\n")
    search = Search(
        expressions, SearchSettings(strategy="ends", lookahead=0), own(tmp_path, "ends", named(ends, "Ends"))
    )
    with pytest.raises(SpaceExhausted, match="strategy 'ends' ended: it has no candidate beyond"):
        finish(search)
    assert search.done


def named(source: str, name: str) -> str:
    return source.replace("Halving", name)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"brackets": 3}, r"strategy\.brackets: strategy 'halving' has no such setting; there are: bracket, fidelity"),
        ({"bracket": 1}, r"strategy\.bracket: input should be greater than or equal to 2, not 1"),
        ({"bracket": "x"}, r"strategy\.bracket: input should be a valid integer.*, not 'x'"),
    ],
)
def test_wrong_settings_of_a_strategy_are_named(
    expressions: Space, tmp_path: Path, table: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Search(expressions, SearchSettings(strategy="halving"), own(tmp_path, "halving", HALVING), own=table)


def test_settings_that_are_no_dataclass_are_refused(expressions: Space, tmp_path: Path) -> None:
    found = own(tmp_path, "halving", HALVING.replace("    @dataclass(frozen=True)\n", ""))
    with pytest.raises(OperatorError, match="Settings of strategy 'halving' is not a dataclass; make it one"):
        Search(expressions, SearchSettings(strategy="halving"), found)


def test_a_bundled_strategy_has_no_settings_of_its_own(expressions: Space) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.x: strategy 'aging' has no such setting; it has none of its own"):
        Search(expressions, SearchSettings(), operators.find(), own={"x": 1})


FORGETS = """
from evosearch.search import Candidate
from evosearch.search.evolution import Evolution

class Forgets(Evolution):
    \"\"\"Counts, and does not pack the count.\"\"\"
    select, survive = "tournament", "youngest"
    count = 0

    def candidates(self, history, rng):
        if self.count % 3 == 2:
            yield Candidate(self.context.space.draw(rng), "third")
        yield from super().candidates(history, rng)

    def fold(self, evaluated, rng):
        self.count += 1
        super().fold(evaluated, rng)
"""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (FORGETS, "'forgets' goes on otherwise from what `pack` gave"),
        (
            FORGETS.replace("        if self.count", "        self.count += 1\n        if self.count"),
            "goes on otherwise from what `pack` gave",
        ),
        (
            FORGETS.replace("self.count % 3 == 2", "__import__('random').random() < 0.5"),
            "proposed otherwise the second time",
        ),
        (
            FORGETS.replace("def fold", "def pack(self):\n        return {'x': object()}\n\n    def fold"),
            "plain values",
        ),
    ],
    ids=["forgets", "counts-draws", "global", "not-plain"],
)
def test_a_broken_promise_of_a_strategy_is_named(expressions: Space, tmp_path: Path, source: str, message: str) -> None:
    found = own(tmp_path, "forgets", source)
    with pytest.raises(OperatorError, match=message):
        conform("forgets", expressions, found)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", "no class named 'MyWay'; a strategy's file my_way.py defines one"),
        ("class MyWay:\n    'Mine.'\n", "MyWay has no Settings, needs_history, candidates, fold, pack, unpack"),
        (named(HALVING, "MyWay").replace('    """Of every', '    x = """Of every'), "MyWay has no docstring"),
    ],
)
def test_a_file_that_is_no_strategy_is_refused(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(OperatorError, match=message):
        own(tmp_path, "my_way", source).get("strategy", "my_way")


def test_an_archive_knows_what_it_was_given_in_its_order() -> None:
    """Against a dict, with identities that differ in their last bytes alone, and in their first alone."""
    rng = np.random.default_rng(0)
    identities = [rng.bytes(16) for _ in range(3000)] + [bytes(8) + i.to_bytes(8, "big") for i in range(500)]
    identities += [i.to_bytes(8, "big") + bytes(8) for i in range(50)]
    archive, known = Archive(), dict.fromkeys(identities[::2])
    for one in [*identities[::2], *identities[:100:2]]:
        archive.add(one)
    assert [one in archive for one in identities] == [one in known for one in identities]
    assert bytes(archive) == b"".join(known) == bytes(Archive(bytes(archive)))
    assert len(archive) == len(known)


def test_a_search_without_a_history_takes_at_most_100_bytes_a_key() -> None:
    """What the search's own modules and DEAP's log book hold more, after 3,000 more evaluations; caches are bounded."""
    cells = Space(grammar.loads(CELLS), None, None)
    search = Search(cells, SearchSettings(budget=10_000), operators.find())
    owned = [tracemalloc.Filter(True, f"*/{part}/*") for part in ("evosearch/search", "deap")]

    def step(count: int) -> None:
        for _ in range(count):
            proposal = search.ask()
            assert proposal is not None
            search.tell(proposal.number, float(proposal.seed % 1000))
        search._identities.clear()

    step(200)
    tracemalloc.start()
    before = tracemalloc.take_snapshot().filter_traces(owned)
    step(3000)
    after = tracemalloc.take_snapshot().filter_traces(owned)
    tracemalloc.stop()
    spent = sum(difference.size_diff for difference in after.compare_to(before, "filename")) / 3000
    assert 16 <= spent <= 100  # an identity alone is 16
