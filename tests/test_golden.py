"""What commit 2588839 made is still what this version makes: its runs go on, its searches and keys come out the same.

tests/golden/make_project.py made it all, and says how. What is recorded is never changed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from evosearch import config as configuration
from evosearch import engine
from evosearch.cli import main
from evosearch.search import Proposal
from evosearch.store.run import Run
from tests.conftest import ROOT
from tests.golden.make_project import MORE, PROJECT, RUNS
from tests.golden.searches import made_up, proposals, recorded, searched
from tests.journals import journal_digest
from tests.spaces import space
from tests.watch import Silent

JOURNALS = json.loads((PROJECT / "journals.json").read_text())
SEARCHES = json.loads((PROJECT.parent / "searches.json").read_text())
DATA = Path(os.environ.get("EVOSEARCH_DATA", ROOT.parent / "shared" / "data"))  # the benchmark's table is not ours
# Fitness that no rounding of a processor reaches: such a run ends the same on every machine.
EXACT = ("table", "function", "unfinished-table")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden project with its runs, which we may write to and stand in."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder)
    monkeypatch.chdir(folder)
    return folder


def resumed(run: Path, more: int = 0) -> str:
    """The journal's digest after going on with a run, as its own project would."""
    config = configuration.loads((run / "config.toml").read_text())
    engine.resume(run, Silent(), budget=config.search.budget + more if more else None)
    return journal_digest(Run.open(run))


@pytest.mark.parametrize("name", RUNS)
def test_a_golden_run_is_read_and_verified(name: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its journal is what it was, and its search comes out again, proposal by proposal."""
    finished = not name.startswith("unfinished")
    assert journal_digest(Run.open(project / name)) == JOURNALS[name]["left"]
    findings = engine.verify(project / name)
    # Whoever pulled the plug left logs that are behind the journal.
    assert {finding.file for finding in findings} <= (set() if finished else {"evaluations.csv", "evaluations.jsonl"})
    for command in (["status", name], ["report", name], *([["verify", name], ["best", name]] if finished else [])):
        assert main(command) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", RUNS)
def test_a_golden_run_is_resumed(name: str, project: Path) -> None:
    """The unfinished ones to their end, all of them beyond it."""
    before = [record for record in Run.open(project / name).records() if record["kind"] == "proposal"]
    for more, expected in ((0, "finished"), (MORE, "extended")):
        digest = resumed(project / name, more)
        if name in EXACT:
            assert digest == JOURNALS[name][expected]
    records = list(Run.open(project / name).records())
    after = [record for record in records if record["kind"] == "proposal"]
    assert after[: len(before)] == before
    budget = RUNS[name][0]["search"]["budget"] + MORE
    assert len(after) == sum(record["kind"] == "score" for record in records) == budget
    assert engine.verify(project / name) == []


@pytest.mark.parametrize("number", range(20))
def test_the_default_search_proposes_what_it_proposed(number: int) -> None:
    """On the cells of NAS-Bench-201, with a fitness that every machine has."""
    _same(number, "made_up", made_up)


@pytest.mark.skipif(not (DATA / "nasbench201_cifar10.csv.xz").is_file(), reason="the recorded benchmark is not here")
def test_the_default_search_on_the_recorded_benchmark_proposes_what_it_proposed(tmp_path: Path) -> None:
    """Validation accuracies of the benchmark itself, where its table lies beside the checkout or in EVOSEARCH_DATA."""
    evaluate = recorded(DATA / "nasbench201_cifar10.csv.xz", tmp_path)
    for number in range(20):
        _same(number, "nasbench201", evaluate)


def _same(number: int, fitness: str, evaluate: Callable[[Proposal], float]) -> None:
    assert proposals(searched(), number, evaluate) == SEARCHES[fitness][str(number)]


def test_the_golden_searches_differ_in_their_seeds_and_fitness() -> None:
    """The tests above can fail."""
    digests = [tuple(digests) for fitness in SEARCHES.values() for digests in fitness.values()]
    assert len(digests) == len(set(digests)) == 40


@pytest.mark.parametrize("grammar", ["einspace", "einspace_1d", "nasbench201", "tiny_cnn", "mlp"])
def test_canonical_keys_are_what_they_were(grammar: str) -> None:
    """Keys name networks in ledgers and journals: a text's key never changes."""
    there = space(grammar)
    rows = (line.split("\t") for line in (PROJECT.parent / "keys.tsv").read_text().splitlines())
    recorded = [(key, text) for name, key, text in rows if name == grammar]
    assert len(recorded) >= 200
    assert [(there.read(there.parse(text)).key, text) for _, text in recorded] == recorded
