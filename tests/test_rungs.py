"""Successive halving within any strategy: who is promoted, and that figures of different rungs never meet."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch import config as configuration
from evosearch import engine, grammar, operators, tasks
from evosearch.architecture import Limits, Space
from evosearch.errors import ConfigError, TaskError
from evosearch.evaluation.evaluators import evaluator
from evosearch.evaluation.job import EvaluationContext, Job, Resources
from evosearch.individual import Individual, fitness_class
from evosearch.report.reading import read_run
from evosearch.score import evaluation_seed
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.store.run import Run
from evosearch.tasks.share import share_of, share_rows
from tests.chaos.sessions import child, config, killed, logged, session
from tests.chaos.sessions import words as table_of_words
from tests.journals import journal_digest
from tests.searching import run_out
from tests.test_engine import Watching
from tests.test_engine import config as trained
from tests.watch import Silent

WORDS = '// input: none\nstart: letter letter letter letter\nletter: "a" | "b" | "c" | "d" | "e"\n'
RUNGS = (0.1, 0.3)


@pytest.fixture(scope="module")
def words() -> Space:
    return Space(grammar.loads(WORDS), None, None, Limits(max_nodes=80))


def settings(**more: Any) -> SearchSettings:
    return SearchSettings(
        **{"strategy": "random", "budget": 150, "population": 10, "rungs": RUNGS, "objectives": ("+fitness",), **more}
    )


def value(proposal: Proposal) -> float | None:
    """What a shorter evaluation says differs from what a longer one says, and is far larger. One in nine fails."""
    seed = proposal.seed
    return None if seed % 9 == 0 else proposal.text.count("a") + (seed % 1000) / 1000 + 100 * (1 - proposal.fidelity)


def halved(proposals: list[Proposal], eta: int) -> list[tuple[str, float]]:
    """Li et al. 2020, algorithm 2, as it is written: what each job would be, when every job is done before the next."""
    shares = (*RUNGS, 1.0)
    done: dict[float, dict[str, tuple[float, int]]] = {share: {} for share in shares}
    jobs = []
    for proposal in proposals:
        job: tuple[str, float] | None = None
        for low, high in reversed(list(pairwise(shares))):
            able = sorted((-score, number, key) for key, (score, number) in done[low].items() if score > -np.inf)
            best = [key for *_, key in able[: len(done[low]) // eta]]
            waiting = [key for key in best if key not in done[high]]
            if waiting:
                job = waiting[0], high
                break
        jobs.append(job or (proposal.key, shares[0]))
        found = value(proposal)
        done[proposal.fidelity][proposal.key] = (-np.inf if found is None else found, proposal.number)
    return jobs


@pytest.mark.parametrize("eta", [2, 3, 4])
def test_random_search_with_rungs_is_asynchronous_successive_halving(words: Space, eta: int) -> None:
    search = Search(words, settings(lookahead=0, eta=eta), operators.find())
    proposals = run_out(search, value)
    assert [(one.key, one.fidelity) for one in proposals] == halved(proposals, eta)
    counts = [sum(one.fidelity == share for one in proposals) for share in (*RUNGS, 1.0)]
    assert counts[0] > counts[1] > counts[2] > 0


@pytest.mark.parametrize(
    "more",
    [
        {"strategy": "random"},
        {"strategy": "aging", "learn": 20, "screen": 4, "surrogate": "ridge"},
        {"strategy": "aging", "grow": True, "gamma": 0.5},
        {"strategy": "nsga2", "objectives": ("+fitness", "-length"), "eta": 2},
    ],
    ids=lambda more: more["strategy"],
)
def test_the_same_search_in_any_order_and_restored(words: Space, more: dict[str, Any]) -> None:
    plain = run_out(Search(words, settings(**more), operators.find()), value)
    assert len({one.fidelity for one in plain}) > 1
    assert run_out(Search(words, settings(**more), operators.find()), value, order=1) == plain
    assert run_out(Search(words, settings(**more), operators.find()), value, order=2, restoring=True) == plain


def test_local_search_compares_figures_of_one_rung(words: Space) -> None:
    """A longer evaluation's figure, far smaller here, is no mutant's."""
    search = Search(words, settings(strategy="local", lookahead=0), operators.find())
    promoted = 0
    while (proposal := search.ask()) is not None:
        held = list(search.population)
        search.tell(proposal.number, value(proposal))
        if proposal.fidelity > RUNGS[0]:
            promoted += 1
            assert list(search.population) == held
    assert promoted > 10


def test_each_key_is_in_the_population_once_as_it_was_evaluated_furthest(words: Space) -> None:
    search = Search(words, settings(strategy="aging", population=8), operators.find())
    promoted = 0
    while not search.done:
        proposal = search.ask()
        assert proposal is not None
        search.tell(proposal.number, value(proposal))
        keys = [one.key for one in search.population]
        assert len(keys) == len(set(keys))
        promoted += any(one.fidelity > RUNGS[0] for one in search.population)
    assert promoted > 10
    front = search.front()
    assert len({one.key for one in front}) == len(front)
    assert [one.fidelity for one in front] == sorted((one.fidelity for one in front), reverse=True)
    assert front[0].full, "though every shorter evaluation gave a larger figure"
    assert search.best() is not None


def test_the_best_before_any_candidate_was_evaluated_in_full_is_the_one_that_got_furthest(words: Space) -> None:
    search = Search(words, settings(budget=8, lookahead=0), operators.find())
    run_out(search, value)
    best = search.best()
    assert best is not None
    assert best.fidelity == RUNGS[1]


def test_rewards_compare_evaluations_of_one_rung(words: Space) -> None:
    """A child at the lowest rung is compared with what its parent had there."""
    search = Search(words, settings(strategy="aging", crossover=0.0, lookahead=0), operators.find())
    at: dict[tuple[int, float], float | None] = {}
    keys: dict[int, str] = {}
    compared = 0
    while not search.done:
        proposal = search.ask()
        assert proposal is not None
        entry = search._inflight[proposal.number]
        keys[proposal.number] = proposal.key
        if proposal.operator == "promote":
            assert entry.parent is None
        elif proposal.parents:
            parent = keys[proposal.parents[0]]
            assert entry.parent == (at[parent, proposal.fidelity],)  # type: ignore[index]
            compared += 1
        at[proposal.key, proposal.fidelity] = value(proposal)  # type: ignore[index]
        search.tell(proposal.number, value(proposal))
    assert compared > 20


def test_a_fitness_of_a_higher_rung_is_better_whatever_its_values() -> None:
    made = fitness_class(2, rungs=True)

    def one(fidelity: float, *values: float) -> Any:
        return Individual(None, "", "", made(values), (), "", 0, fidelity=fidelity).fitness  # type: ignore[arg-type]

    low, high = one(0.1, 9, 9), one(1.0, 0, 0)
    assert high > low
    assert low < high
    assert not high <= low
    assert high != low
    assert high.dominates(low)
    assert not low.dominates(high)
    assert one(0.1, 1, 2) == one(0.1, 1, 2)
    assert one(0.1, 1, 2) != one(0.3, 1, 2)
    assert len({one(0.1, 1, 2), one(0.1, 1, 2), one(0.3, 1, 2)}) == 2
    assert one(0.3, 2, 1).dominates(one(0.3, 1, 1))


def test_the_cap_grows_only_where_two_rungs_disagree(words: Space) -> None:
    def ordered(proposal: Proposal) -> float:
        return proposal.text.count("a") + int(proposal.key[:6], 16) / 2**24

    def shuffled(proposal: Proposal) -> float:
        return ordered(proposal) if proposal.fidelity < 0.2 else -ordered(proposal)

    for fitness, full in ((ordered, False), (shuffled, True)):
        search = Search(words, settings(grow=True, budget=200), operators.find())
        assert any(one.fidelity == 1.0 for one in run_out(search, fitness)) is full


def test_the_best_are_evaluated_in_full_whatever_stops_the_others(tmp_path: Path) -> None:
    """At the end of a run whose rungs left nobody a whole evaluation; a rule that compares has nothing to compare."""
    config = configuration.load(None, {
        "task": "digits", "grammar": "tiny_cnn", "search.budget": 2, "search.population": 2, "search.rungs": [0.5],
        "recipe.epochs": 2, "recipe.stop": "median", "final.epochs": 1, "limits.max_flops": 300_000,
        "workers.pool": "inline", "workers.device": "cpu",
    })  # fmt: skip
    summary = engine.start(config, tmp_path / "run", Silent())
    assert not list((tmp_path / "run").glob("candidates/*/error.txt"))
    setup = engine.prepare(config)
    whole = evaluator(EvaluationContext(setup.space, setup.task, replace(setup.config.recipe, stop="off"), Resources()))
    seed = evaluation_seed(config.seed, summary.best_key)
    score = whole(Job(0, summary.best_text, summary.best_key, seed)).score
    assert summary.fitness == score.objectives["accuracy"]
    assert len(score.curve) == 2


def test_rungs_are_rising_shares() -> None:
    for wrong in ((0.3, 0.1), (0.5, 0.5), (0.0,), (1.0,)):
        with pytest.raises(ConfigError, match=r"search\.rungs"):
            settings(rungs=wrong)
    with pytest.raises(ConfigError, match=r"search\.grow"):
        settings(rungs=(), grow=True)


def test_a_share_of_the_rows_has_every_class_and_holds_the_smaller_shares() -> None:
    task = tasks.load("digits")
    assert isinstance(task, tasks.Task)
    before: set[int] = set()
    for share in (0.05, 0.1, 0.33, 0.9):
        rows = share_rows(task, share)
        assert len(rows) == round(share * len(task.train))
        assert before < set(rows.tolist())
        before = set(rows.tolist())
        counts = np.bincount(task.train.y[rows], minlength=10) / len(rows)
        assert np.abs(counts - np.bincount(task.train.y, minlength=10) / len(task.train)).max() < 0.02
        smaller = share_of(task, share)
        assert len(smaller.train) == len(rows)
        assert smaller.digest != task.digest
        assert smaller.validation is task.validation
    assert share_of(task, 1.0) is task


def test_a_table_has_rungs_where_it_has_columns(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("key,fitness,fitness@0.1,fitness@0.3,cost,cost@0.3,other\nab,5,1,3,100,50,7\n")
    task = tasks.load(f"table:{file}")
    assert isinstance(task, tasks.DirectTask)
    assert list(task.fidelities) == [0.1, 0.3]
    found = {share: task.at(share).evaluate("ab", None, "0" * 32, 0).objectives for share in (0.1, 0.3, 1.0)}
    assert found[0.1] == {"fitness": 1, "cost": 10, "other": 7}
    assert found[0.3] == {"fitness": 3, "cost": 50, "other": 7}
    assert found[1.0] == {"fitness": 5, "cost": 100, "other": 7}
    with pytest.raises(TaskError, match=r"0\.1, 0\.3"):
        task.at(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("shorten", ["epochs", "rows"])
def test_rungs_of_real_trainings_are_the_same_after_kills_and_with_more_workers(shorten: str, tmp_path: Path) -> None:
    """Digits, three rungs that grow: each evaluation is as long as its rung says, and the best is trained in whole."""

    def training(workers: int = 1) -> configuration.Config:
        return configuration.load(None, {
            "task": "digits", "grammar": "tiny_cnn", "seeds": [], "search.budget": 24, "search.rungs": [0.25, 0.5],
            "search.eta": 2, "search.grow": True, "search.population": 5, "search.lookahead": 3,
            "recipe.epochs": 4, "recipe.shorten": shorten, "recipe.batch": 32, "recipe.optimizer": "adamw",
            "recipe.lr": 0.005, "final.epochs": 6, "limits.max_params": 20_000, "limits.max_flops": 1_500_000,
            "workers.workers": workers,
        })  # fmt: skip

    def work(_: int, folder: Path, acknowledged: Path | None) -> None:
        session(training(), folder, acknowledged)

    plain, workers, broken, acknowledged = (tmp_path / name for name in ("plain", "workers", "broken", "acknowledged"))
    session(training(), plain)
    session(training(2), workers)
    rng, hits = np.random.default_rng(3), 0
    while hits < 3:
        more = int(rng.integers(7))
        hits += killed(child(work, 0, broken, acknowledged), acknowledged, more, float(rng.uniform(0, 0.5)))
    session(training(), broken)
    for other in (workers, broken):
        assert journal_digest(Run.open(other)) == journal_digest(Run.open(plain))
        assert logged(other) == logged(plain)
    found = read_run(plain)
    lengths = {one.fidelity: len(one.score["curve"]) for one in found.scored() if one.score and one.status == "ok"}
    assert lengths == ({0.25: 1, 0.5: 2, 1.0: 4} if shorten == "epochs" else dict.fromkeys(lengths, 4))
    assert len(lengths) > 1
    assert found.metrics["test"]["accuracy"] > 0.5


@pytest.mark.slow
def test_screening_rungs_and_learning_are_the_same_with_four_workers(tmp_path: Path) -> None:
    """Workers in processes of their own, whose scores come in whatever order: the journal of one worker."""
    table = table_of_words(tmp_path / "table", letters=4)
    used = {"rungs": [0.1, 0.3], "grow": True, "learn": 15, "screen": 6, "surrogate": "ridge", "lookahead": 8}
    digests = []
    for workers in (1, 4):
        usual = config(table, 120, 0, **used)
        pool = replace(usual.workers, pool="processes", workers=workers)
        session(usual.model_copy(update={"workers": pool}), tmp_path / str(workers))
        digests.append(journal_digest(Run.open(tmp_path / str(workers))))
    records = list(Run.open(tmp_path / "4").records())
    assert sum("expected" in record for record in records) > 20
    scored = [record["number"] for record in records if record["kind"] == "score"]
    assert scored != sorted(scored)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("what", ["table", "network"])
def test_the_best_that_is_shown_says_what_it_is_of_and_falls_only_where_that_grows(what: str, tmp_path: Path) -> None:
    """A higher rung's figure takes the place of a lower one's, which may have been better."""
    if what == "table":
        asked = config(table_of_words(tmp_path / "table", letters=4), 90, 0, rungs=list(RUNGS))
        parts = [f"{share:g} of an evaluation" for share in (*RUNGS, 1)]
    else:
        asked = trained(search__rungs=[0.34], search__eta=2, search__budget=8, recipe__epochs=3)
        parts = ["1 of 3 epochs", "3 of 3 epochs"]
    watch = Watching()
    engine.start(asked, tmp_path / "run", watch)
    told = [(parts.index(one.best_by), one.best_fitness or 0.0) for one in watch.told if one.best_key]
    assert told == sorted(told)
    assert told[-1][0] == len(parts) - 1
