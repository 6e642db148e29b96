"""Learned grammars: counts are a Dirichlet posterior; a written one says what it samples; a search may learn."""

from __future__ import annotations

import itertools
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evosearch import engine, grammar, layers, learned, operators, tasks
from evosearch.architecture import Limits, Space
from evosearch.cli import main
from evosearch.config import load
from evosearch.errors import UsageError
from evosearch.grammar.core import Grammar
from evosearch.grammar.learning import Choices, learn
from evosearch.grammar.rewriting import rewritten
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.search.standing import best_first
from tests.conftest import ROOT
from tests.searching import run_out
from tests.spaces import EXPRESSIONS, space
from tests.watch import Silent

DATA = Path(os.environ.get("EVOSEARCH_DATA", ROOT.parent / "shared" / "data"))
LISTS = """
// input: none
start: item ("," item)* -> list   // more=0.6 // a list
item: WORD            -> word     // p=0.5 // short
    | "(" start ")"   -> nested   # p=0.1
    | pair{"x"}       -> a | pair{"y"} -> b
pair{end}: "<" end | ">" end
WORD: "a" | "b" | "c"
"""


def learned_from(language: Grammar, number: int = 30, seed: int = 0, **settings: Any) -> Any:
    there = Space(language, None, None, Limits(max_nodes=500)) if language.input == "none" else space(language.name)
    rng, choices = np.random.default_rng(seed), Choices(language)
    return learn(choices, choices.count(there.draw(rng) for _ in range(number)), **settings)


def test_probabilities_are_the_posterior_mean_mixed_with_the_files() -> None:
    language = grammar.loads(
        '// input: none\nstart: op op -> pair\nop: "a" // p=0.7\n  | "b" // p=0.3\n  | "c" // p=0\n'
    )
    choices = Choices(language)
    counts = choices.count(grammar.parse(language, text) for text in ("bb", "ab", "bc"))
    (found,) = learn(choices, counts, concentration=5, mix=0.2).probabilities
    posterior = (np.array([0.7, 0.3]) * 5 + [1, 4]) / (5 + 5)
    assert found == pytest.approx([*(0.8 * posterior + 0.2 * np.array([0.7, 0.3])), 0], abs=1e-4)
    assert sum(found) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    "name", ["LISTS", "einspace", "images", "mlp", "nasbench201", "ofa_mbv3", "sequence", "tiny_cnn", "vit"]
)
def test_the_file_says_what_was_learned_and_nothing_else_changes(name: str) -> None:
    language = grammar.loads(LISTS, "lists") if name == "LISTS" else space(name).grammar
    found = learned_from(language, 10)
    before, text = next(iter(language.source.values())), rewritten(found, ["a heading"])
    again = grammar.loads(text, name)
    for choice, after in zip(Choices(again).all, found.probabilities, strict=True):
        assert choice.prior == pytest.approx(after, abs=1e-9)
    known = {line.strip() for line in before.splitlines()}
    new = [line for line in text.splitlines()[1:] if line.strip() not in known]
    assert found.changed() == [] or new
    for line in new:
        assert "learned: " in line
        assert "p=" in line or "more=" in line
    assert {rule: len(all_) for rule, all_ in again.rules.items() if not rule.startswith("__")} == {
        rule: len(all_) for rule, all_ in language.rules.items() if not rule.startswith("__")
    }


def test_comments_settings_and_lines_are_kept() -> None:
    text = rewritten(learned_from(grammar.loads(LISTS, "lists")))
    assert "went on" in text
    assert "; a list\n" in text
    assert "; short\n" in text
    assert text.count("\n") > LISTS.count("\n"), "alternatives that shared a line have one each"


def test_memory_draws_by_what_the_file_says() -> None:
    """Weights in memory and those of the file that is written are the same, lists' lengths among them."""
    language = grammar.loads(LISTS, "lists")
    found = learned_from(language, seed=3)
    weights, terminals = found.choices.weights(found.probabilities)
    again = grammar.loads(rewritten(found), "lists")
    for rule, alternatives in language.rules.items():
        own = [weights.get(one, one.weight) for one in alternatives]
        others = again.rules.get(rule) or next(v for k, v in again.rules.items() if k.startswith(rule.split(" ")[0]))
        assert own == pytest.approx([one.weight for one in others], abs=1e-9), rule
    assert dict(terminals["WORD"].choices or ()) == pytest.approx(dict(again.terminals["WORD"].choices or ()), abs=1e-9)


@pytest.mark.parametrize("name", ["nasbench201", "LISTS"])
def test_a_written_grammar_samples_with_the_frequencies_that_it_states(name: str) -> None:
    language = grammar.loads(LISTS, "lists") if name == "LISTS" else space(name).grammar
    found = learned_from(language, seed=1)
    again = grammar.loads(rewritten(found), name)
    there = Space(again, layers.vocabulary(again) if again.input != "none" else None, None, Limits(max_nodes=100_000))
    rng, choices = np.random.default_rng(0), Choices(again)
    counts = choices.count(there.draw(rng) for _ in range(400))
    for index, choice in enumerate(choices.all):
        seen = np.array([counts[index, option] for option in range(len(choice.prior))], dtype=float)
        expected = np.array(choice.prior) * seen.sum()
        assert stats.chisquare(seen, expected).pvalue > 1e-4, choice.name


def test_the_last_option_of_a_choice_is_never_pruned() -> None:
    language = grammar.loads('// input: none\nstart: "a" | "b" | "c"\n')
    choices = Choices(language)
    assert learn(choices, {}, pruned=[(0, 1)]).probabilities == ((0.5, 0.0, 0.5),)
    found = learn(choices, {}, pruned=[(0, 0), (0, 1), (0, 2)])
    assert found.pruned == frozenset()
    assert sum(found.probabilities[0]) == pytest.approx(1)
    text = rewritten(learn(choices, {}, pruned=[(0, 1)]))
    assert "p=0 // learned" in text
    assert grammar.parse(grammar.loads(text), "b").size == 1, "it is still read"


def test_what_was_evaluated_further_stands_first() -> None:
    assert best_first([(0.5, [9]), (1.0, [1]), (1.0, [2]), (0.5, [9]), (0.1, [100])]) == [2, 1, 0, 3, 4]
    assert best_first([(1.0, [1, 1]), (1.0, [0, 3]), (1.0, [2, 2])]) == [1, 2, 0]


def value(proposal: Proposal) -> float | None:
    """A made-up fitness: sines are good, length is not. One sentence in seven is a failure."""
    return None if len(proposal.text) % 7 == 0 else proposal.text.count("sin") - 0.01 * len(proposal.text)


@pytest.mark.parametrize("strategy", ["aging", "random"])
def test_a_search_that_learns_is_the_same_in_any_order_and_restored(strategy: str) -> None:
    there = Space(grammar.loads(EXPRESSIONS), None, None, Limits(max_nodes=80))
    settings = SearchSettings(strategy=strategy, budget=120, population=20, learn=15, objectives=("+fitness",))
    plain = run_out(Search(there, settings, operators.find()), value)
    assert run_out(Search(there, settings, operators.find()), value, order=1) == plain
    assert run_out(Search(there, settings, operators.find()), value, order=2, restoring=True) == plain
    without = run_out(Search(there, replace(settings, learn=0), operators.find()), value)
    assert without[:15] == plain[:15]
    assert without != plain
    assert not there.is_learned, "the space that was given draws as before"


def test_a_search_that_learns_draws_more_of_what_is_good() -> None:
    there = Space(grammar.loads(EXPRESSIONS), None, None, Limits(max_nodes=80))
    texts = {}
    for learn_ in (0, 20):
        settings = SearchSettings(strategy="random", budget=200, learn=learn_, objectives=("+fitness",), draws=100_000)
        texts[learn_] = "".join(one.text for one in run_out(Search(there, settings, operators.find()), value)[100:])
    assert texts[20].count("sin") / texts[20].count("x") > 1.3 * texts[0].count("sin") / texts[0].count("x")


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a made-up table, in which `a` is good."""
    folder = tmp_path_factory.mktemp("cells")
    (folder / "cells.lark").write_text('// input: none\nstart: op op op -> cell\nop: "a" | "b" | "c"\n')
    texts = [a + b + c for a in "abc" for b in "abc" for c in "abc"]
    rows = "".join(f"{text},{text.count('a')}\n" for text in texts)
    (folder / "table.csv").write_text("key,+fitness\n" + rows)
    config = load(
        None,
        {"grammar": str(folder / "cells.lark"), "task": f"table:{folder / 'table.csv'},fitness=+fitness",
         "search.budget": 20, "search.population": 5, "search.objectives": ["+fitness"]},
    )  # fmt: skip
    engine.start(config, folder / "run", Silent())
    return folder / "run"


def test_evolve_learn_writes_a_grammar_and_says_what_changed(
    cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "better.lark"
    assert main(["learn", str(cells), "-o", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (op,) = told["changed"]
    assert op["name"] == "op"
    assert op["after"][0] > 0.4
    assert [one.weight for one in grammar.load(file).rules["op"]] == pytest.approx(op["after"])
    assert "best 10 of 20 candidates" in file.read_text()
    assert main(["learn", str(cells), "-o", str(file)]) == 0
    assert "best 10 of 20 candidates" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"ends in \.lark"):
        learned.write(cells, tmp_path / "better.txt")


def test_what_does_harm_is_pruned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a made-up table `d` is bad and the others make little difference: `d` alone gets p=0, and is read still."""
    pytest.importorskip("lightgbm", reason="an extra")
    (tmp_path / "cells.lark").write_text('// input: none\nstart: op op op -> cell\nop: "a" | "b" | "c" | "d"\n')
    texts = ["".join(text) for text in itertools.product("abcd", repeat=3)]
    rows = "".join(f"{text},{-3 * text.count('d') + 0.01 * index % 0.1}\n" for index, text in enumerate(texts))
    (tmp_path / "table.csv").write_text("key,+fitness\n" + rows)
    config = load(
        None,
        {"grammar": str(tmp_path / "cells.lark"), "task": f"table:{tmp_path / 'table.csv'},fitness=+fitness",
         "search.strategy": "random", "search.budget": 60, "search.objectives": ["+fitness"]},
    )  # fmt: skip
    engine.start(config, tmp_path / "run", Silent())
    file = tmp_path / "pruned.lark"
    assert main(["learn", str(tmp_path / "run"), "-o", str(file), "--prune", "1", "--json"]) == 0
    (op,) = json.loads(capsys.readouterr().out)["changed"]
    assert [weight == 0 for weight in op["after"]] == [False, False, False, True]
    assert "; pruned" in file.read_text()
    there = Space(grammar.load(file), None, None)
    rng = np.random.default_rng(0)
    assert "d" not in "".join(there.render(there.draw(rng)) for _ in range(300))
    assert there.render(there.parse("dad")) == "dad"


def test_pruning_says_what_it_needs(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(UsageError, match=r"--prune needs LightGBM: pip install 'evosearch\[lightgbm\]'"):
        learned.write(cells, tmp_path / "x.lark", prune=1)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "nasbench201_cifar10.csv.xz").is_file(), reason="the recorded benchmark is not here")
def test_samples_after_a_hundred_evaluations_are_far_better_than_uniform_ones() -> None:
    """NAS-Bench-201, CIFAR-10: samples of the learned grammar have a mean test accuracy over 87.06 + 5."""
    table = tasks.load(
        f"table:{DATA / 'nasbench201_cifar10.csv.xz'},fitness=val_accuracy_12ep,report=test_accuracy_200ep"
    )
    there = space("nasbench201")
    assert isinstance(table, tasks.DirectTask)
    means = []
    for seed in range(8):
        settings = SearchSettings(budget=100, seed=seed, objectives=("+val_accuracy_12ep",))
        search = Search(there, settings, operators.find())
        scored = []
        while not search.done:
            proposal = search.ask()
            assert proposal is not None
            score = table.evaluate(proposal.text, proposal.derivation, proposal.key, 0)
            scored.append((score.objectives["val_accuracy_12ep"], proposal.derivation))
            search.tell(proposal.number, score)
        scored.sort(key=lambda pair: -pair[0])
        choices = Choices(there.grammar)
        found = learn(choices, choices.count(derivation for _, derivation in scored[:10]))
        view = there.view()
        view.reweigh(*choices.weights(found.probabilities))
        rng = np.random.default_rng(seed)
        drawn = [table.evaluate(there.render(view.draw(rng)), None, "", 0).metrics for _ in range(1000)]
        means.append(np.mean([one["test_accuracy_200ep"] for one in drawn]))
    assert np.mean(means) > 87.06 + 5
