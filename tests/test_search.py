"""The search: what is proposed depends on numbers and scores alone, and a restored search goes on as it would have."""

from __future__ import annotations

import random  # noqa: TID251 - read to see that the search leaves it alone
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evosearch import grammar, layers, operators
from evosearch.architecture import Limits, Space
from evosearch.errors import ConfigError, SpaceExhausted, TaskError
from evosearch.evaluation.measures import Objective, objective
from evosearch.score import Score, evaluation_seed
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.search.credit import Window
from tests.spaces import EXPRESSIONS

CELLS = """
// input: none
start: op op op op -> cell
op: "a" -> a | "b" -> b | "c" -> c
"""


def space(text: str, max_nodes: int = 80) -> Space:
    return Space(grammar.loads(text), None, None, Limits(max_nodes=max_nodes))


@pytest.fixture(scope="module")
def expressions() -> Space:
    return space(EXPRESSIONS)


@pytest.fixture(scope="module")
def cells() -> Space:
    return space(CELLS)


@pytest.fixture(scope="module")
def bundled() -> operators.Operators:
    return operators.find()


def products(proposal: Proposal) -> float:
    """A made-up fitness: products are good, length is not. One sentence in seven is a failure."""
    text = proposal.text
    return float("nan") if len(text) % 7 == 0 else text.count("mul") - 0.01 * len(text)


def drive(
    search: Search,
    fitness: Callable[[Proposal], Any] = products,
    *,
    shuffle: int | None = None,
    reload: Callable[[Search], Search] | None = None,
) -> tuple[Search, list[dict[str, Any]]]:
    """Run a search to its end; the proposals in order. shuffle: results come back late and out of order."""
    rng = np.random.default_rng(shuffle)
    waiting: list[Proposal] = []
    made = []
    while not search.done:
        try:
            proposal = search.ask()
        except SpaceExhausted:
            proposal = None
        if proposal is not None:
            made.append(proposal.pack())
            waiting.append(proposal)
        if waiting and (proposal is None or shuffle is None or rng.random() < 0.3):
            told = waiting.pop(0 if shuffle is None else int(rng.integers(len(waiting))))
            search.tell(told.number, fitness(told))
        if reload is not None and rng.random() < 0.2:
            search = reload(search)
            assert [p.number for p in search.pending] == [p.number for p in waiting][: len(search.pending)] or shuffle
    return search, made


VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"policy": "uniform", "lookahead": 0},
    {"policy": "dmab", "features": ("symbol", "depth", "stagnation")},
    {"policy": "pursuit", "gamma": 0.5, "initialise": "mixed"},
    {"policy": "ratio", "crossover": 0.5, "initial": 5},
    {"strategy": "random"},
    {"strategy": "nsga2", "objectives": ("fitness", "-length")},
)


def both(proposal: Proposal) -> dict[str, float]:
    return {"fitness": products(proposal), "length": len(proposal.text)}


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_neither_timing_nor_workers_change_a_search(
    expressions: Space, bundled: operators.Operators, variant: dict[str, Any]
) -> None:
    """Results told at once, or late in two random orders: the same proposals with the same parents and operators."""
    settings = SearchSettings(budget=120, population=12, seed=3, **variant)
    runs = [drive(Search(expressions, settings, bundled), both, shuffle=shuffle)[1] for shuffle in (None, 1, 2)]
    assert len(runs[0]) == 120
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("variant", [*VARIANTS, {"order": "arrival"}], ids=str)
def test_a_restored_search_goes_on_as_it_would_have(
    expressions: Space, bundled: operators.Operators, variant: dict[str, Any]
) -> None:
    """Packed, sent through msgpack and restored at random moments, with results in flight: the same proposals."""
    settings = SearchSettings(budget=120, population=12, seed=4, **variant)

    def reload(search: Search) -> Search:
        state = msgpack.unpackb(msgpack.packb(search.state()))
        restored = Search.restore(expressions, settings, bundled, state)
        assert restored.state() == search.state()
        return restored

    plain, proposals = drive(Search(expressions, settings, bundled), both)
    again, restored = drive(Search(expressions, settings, bundled), both, reload=reload)
    assert restored == proposals
    assert again.state() == plain.state()
    assert [i.key for i in again.front()] == [i.key for i in plain.front()]


@pytest.mark.parametrize("lookahead", [0, 3, 8])
def test_a_proposal_depends_on_the_scores_below_n_minus_lookahead_only(
    expressions: Space, bundled: operators.Operators, lookahead: int
) -> None:
    settings = SearchSettings(budget=60, population=10, seed=1, lookahead=lookahead)
    changed = 30

    def other(proposal: Proposal) -> float:
        return 1000.0 if proposal.number == changed else products(proposal)

    before = drive(Search(expressions, settings, bundled))[1]
    after = drive(Search(expressions, settings, bundled), other)[1]
    reach = changed + lookahead + 1
    assert before[:reach] == after[:reach]
    assert before[reach:] != after[reach:]


def test_the_window_holds_as_many_as_the_lookahead_says(expressions: Space, bundled: operators.Operators) -> None:
    """Proposal n waits for number n - lookahead - 1, and for no later one."""
    search = Search(expressions, SearchSettings(budget=50, population=5, lookahead=4), bundled)
    asked = [search.ask() for _ in range(5)]
    assert all(asked)
    assert search.ask() is None
    search.tell(3, 1.0)
    assert search.ask() is None
    search.tell(0, 1.0)
    assert search.ask() is not None


@pytest.mark.parametrize("strategy", ["aging", "random"])
def test_no_key_is_proposed_twice(cells: Space, bundled: operators.Operators, strategy: Any) -> None:
    """Also where the space is nearly used up: 81 sentences, 81 proposals."""
    settings = SearchSettings(budget=81, population=10, strategy=strategy)
    _, made = drive(Search(cells, settings, bundled), lambda p: p.text.count("a"))
    assert len({proposal["key"] for proposal in made}) == 81


def test_a_used_up_space_ends_the_search_and_says_so(cells: Space, bundled: operators.Operators) -> None:
    search = Search(cells, SearchSettings(budget=100, population=10, draws=2000), bundled)
    search, made = drive(search, lambda p: p.text.count("a"))
    assert len(made) == 81
    assert search.done
    assert search.exhausted.startswith("space exhausted: 2,000 draws gave no candidate that this run had not seen")
    with pytest.raises(SpaceExhausted, match="space exhausted"):
        search.ask()


def test_with_replacement_repeats_count(cells: Space, bundled: operators.Operators) -> None:
    """300 uniform draws of 81 hit 81 (1 - (1 - 1/81)^300) = 79 of them; all 300 are handed out."""
    settings = SearchSettings(budget=300, strategy="random", replacement=True)
    search, made = drive(Search(cells, settings, bundled), lambda p: p.text.count("a"))
    assert len(made) == 300
    assert 72 <= len({proposal["key"] for proposal in made}) == search.known <= 81


def test_budget_counts_failures_and_only_ok_joins(expressions: Space, bundled: operators.Operators) -> None:
    settings = SearchSettings(budget=100, population=10, seed=2)
    search, made = drive(Search(expressions, settings, bundled))
    failed = {p["number"] for p in made if len(p["text"]) % 7 == 0}
    assert len(made) == search.evaluated == 100
    assert failed
    assert not failed & {individual.born for individual in search.population}
    assert sum(tally.failed for tally in search.tallies.values()) == len([n for n in failed if n < 100 - 9])


def test_failures_at_the_start_do_not_leave_the_population_short(
    expressions: Space, bundled: operators.Operators
) -> None:
    """Every second one of the first candidates fails: sampling goes on until the population is full."""
    settings = SearchSettings(budget=60, population=20, lookahead=0, seed=0)
    search, made = drive(Search(expressions, settings, bundled), lambda p: 1.0 if p.number % 2 else None)
    assert [p["operator"] for p in made[:40]] == ["early_exit"] * 40
    assert made[40]["operator"] != "early_exit"
    assert len(search.population) == 20


def test_aging_keeps_the_youngest(expressions: Space, bundled: operators.Operators) -> None:
    settings = SearchSettings(budget=80, population=10, lookahead=0)
    search, _ = drive(Search(expressions, settings, bundled), lambda p: p.text.count("mul"))
    assert sorted(individual.born for individual in search.population) == list(range(70, 80))


def test_aging_climbs_where_random_search_does_not(expressions: Space, bundled: operators.Operators) -> None:
    """Mean best of ten seeds on a fitness with a slope."""

    def best(strategy: Any, seed: int) -> float:
        search = Search(expressions, SearchSettings(budget=150, strategy=strategy, seed=seed), bundled)
        found = drive(search, lambda p: p.text.count("mul") - 0.01 * len(p.text))[0].best()
        assert found is not None
        return found.values[0]

    assert np.mean([best("aging", s) for s in range(10)]) > np.mean([best("random", s) for s in range(10)]) + 1


def test_the_best_counts_every_score_told(expressions: Space, bundled: operators.Operators) -> None:
    """Also those that wait in the look-ahead window, and only once."""
    search = Search(expressions, SearchSettings(budget=9, population=5), bundled)
    for _ in range(9):
        proposal = search.ask()
        assert proposal is not None
        search.tell(proposal.number, float(proposal.number))
    assert search.done
    assert [individual.born for individual in search.front()] == list(range(8, -1, -1))
    assert [individual.born for individual in search.front()] == list(range(8, -1, -1))


def test_nsga2_keeps_what_is_not_dominated(expressions: Space, bundled: operators.Operators) -> None:
    """The front is what a plain comparison of all scores with all gives, and survivors are its least dominated."""
    scores: dict[int, tuple[float, float]] = {}

    def fitness(proposal: Proposal) -> dict[str, float]:
        scores[proposal.number] = (float(proposal.text.count("mul")), -float(len(proposal.text)))
        return {"products": scores[proposal.number][0], "length": -scores[proposal.number][1]}

    settings = SearchSettings(
        budget=150, population=20, strategy="nsga2", objectives=("+products", "-length"), lookahead=0
    )
    search, _ = drive(Search(expressions, settings, bundled), fitness)

    def dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a != b and all(x >= y for x, y in zip(a, b, strict=True))

    expected = {a for a in scores.values() if not any(dominates(b, a) for b in scores.values())}
    front = {individual.values for individual in search.front()}
    assert front == expected
    assert len(search.population) == 20
    kept = {individual.values for individual in search.population}
    assert len(kept & expected) >= 0.8 * min(len(expected), 20)


def test_seeds_come_first_and_once(expressions: Space, bundled: operators.Operators) -> None:
    seeds = [expressions.parse(text) for text in ("mul(x,x)", "add(x,sin(x))", "mul(x,x)")]
    search = Search(expressions, SearchSettings(budget=30, population=10), bundled, seeds=seeds)
    search, made = drive(search)
    assert [p["text"] for p in made[:2]] == ["mul(x,x)", "add(x,sin(x))"]
    assert len({p["key"] for p in made}) == 30


def test_a_seed_over_a_limit_is_named(bundled: operators.Operators) -> None:
    small = space(EXPRESSIONS, max_nodes=4)
    seed = small.parse("mul(mul(x,x),mul(x,x))")
    with pytest.raises(ConfigError, match=r"seed 'big' is over the limit max_nodes=4; raise it or leave the seed out"):
        Search(small, SearchSettings(), bundled, seeds={"big": seed})


def test_a_limit_that_nothing_meets_is_named(expressions: Space, bundled: operators.Operators) -> None:
    """Nothing over the limit is handed out; after so many draws the limit's name is in the error."""
    search = Search(
        expressions, SearchSettings(draws=50), bundled, identify=lambda _space, _derivation: ("", "max_params")
    )
    with pytest.raises(SpaceExhausted, match=r"50 draws gave no candidate within max_params"):
        search.ask()
    assert search.done
    assert search.tallies["early_exit"].over_limit == 50


def test_early_exit_fills_the_population_within_a_limit_that_most_break(
    expressions: Space, bundled: operators.Operators
) -> None:
    """Nine samples in ten are over; every candidate handed out is within, and the population is full."""

    def identify(at: Space, derivation: Any) -> tuple[str, str | None]:
        key = at.text_key(derivation)
        return ("", "max_params") if int(key, 16) % 10 else (key, None)

    search = Search(expressions, SearchSettings(budget=60, population=30), bundled, identify=identify)
    search, made = drive(search, lambda p: p.text.count("mul"))
    assert all(int(p["key"], 16) % 10 == 0 for p in made)
    assert [p["operator"] for p in made[:30]] == ["early_exit"] * 30
    assert len(search.population) == 30
    assert search.tallies["early_exit"].over_limit > 150


def test_early_exit_reads_real_costs_and_builds_nothing(
    bundled: operators.Operators, monkeypatch: pytest.MonkeyPatch
) -> None:
    """einspace with a parameter limit that nine samples in ten break: all proposed are within it, none was built."""
    read = grammar.load("einspace")
    free = Space(read, layers.vocabulary(read), (3, 32, 32), Limits(max_nodes=100))
    rng = np.random.default_rng(0)
    params = sorted(free.read(free.draw(rng)).cost.params for _ in range(100))
    limit = params[10]
    space = Space(read, layers.vocabulary(read), (3, 32, 32), Limits(max_nodes=100, max_params=limit))
    built = []
    monkeypatch.setattr("evosearch.network.build", lambda *_, **__: built.append(1))
    search = Search(space, SearchSettings(budget=25, population=20, lookahead=0, seed=1), bundled)
    search, made = drive(search, lambda p: float(p.seed % 100))
    assert all(space.read(space.parse(p["text"])).cost.params <= limit for p in made)
    assert len(search.population) == 20
    assert search.tallies["early_exit"].over_limit > 60
    assert not built


def test_a_larger_budget_extends_a_finished_search(expressions: Space, bundled: operators.Operators) -> None:
    """As the search would have gone had the budget been larger from the start."""
    short, long = (SearchSettings(budget=budget, population=10, seed=5) for budget in (60, 110))
    finished, first = drive(Search(expressions, short, bundled))
    extended = Search.restore(expressions, long, bundled, finished.state())
    _, rest = drive(extended)
    assert first + rest == drive(Search(expressions, long, bundled))[1]


def test_arrival_order_never_waits(expressions: Space, bundled: operators.Operators) -> None:
    search = Search(expressions, SearchSettings(budget=30, population=5, order="arrival"), bundled)
    assert all(search.ask() is not None for _ in range(30))
    assert search.ask() is None
    assert not search.done


def test_python_s_random_is_left_alone(expressions: Space, bundled: operators.Operators) -> None:
    """DEAP's selection draws from the global generator; it is seeded for that and put back."""
    random.seed(12345)
    before = random.getstate()
    first = drive(Search(expressions, SearchSettings(budget=60), bundled))[1]
    assert random.getstate() == before
    random.seed(999)
    assert drive(Search(expressions, SearchSettings(budget=60), bundled))[1] == first


def test_rewards_are_rank_improvements(expressions: Space, bundled: operators.Operators) -> None:
    """By hand: the child's rank quantile in the window of latest scores minus its parent's, ties half."""
    settings = SearchSettings(population=3, initial=3, window=4, lookahead=0, crossover=0.0)
    search = Search(expressions, settings, bundled)
    values = iter([1.0, 2.0, 3.0, 10.0, 0.0])
    earned: list[tuple[Proposal, float]] = []
    for _ in range(5):
        proposal = search.ask()
        assert proposal is not None
        before = {name: tally.reward for name, tally in search.tallies.items()}
        search.tell(proposal.number, next(values))
        earned.append((proposal, before.get(proposal.operator, 0.0)))
    search.ask()
    child, _ = earned[3]
    parent = [1.0, 2.0, 3.0][child.parents[0]]
    window = [1.0, 2.0, 3.0, 10.0]

    def rank(value: float) -> float:
        return sum(1.0 if w < value else 0.5 if w == value else 0.0 for w in window) / len(window)

    total = sum(tally.reward for tally in search.tallies.values())
    assert total == pytest.approx(rank(10.0) - rank(parent))


@given(st.integers(2, 9), st.lists(st.tuples(*[st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0])] * 2), min_size=1))
def test_a_rank_is_what_a_look_through_the_latest_scores_gives(size: int, scores: list[tuple[float, float]]) -> None:
    """To the bit, ties half, the mean over the objectives, whatever has left the window."""
    window = Window(size)
    for at, values in enumerate(scores):
        window.add(values)
        latest = scores[max(at + 1 - size, 0) : at + 1]
        assert list(window.scores) == latest
        for asked in scores:
            below = [
                1.0 if b < a else 0.5 if b == a else 0.0 for other in latest for a, b in zip(asked, other, strict=True)
            ]
            assert window.rank(asked) == sum(below) / (2 * len(latest))


def test_the_log_book_has_a_line_for_each_population_s_worth(expressions: Space, bundled: operators.Operators) -> None:
    search, _ = drive(Search(expressions, SearchSettings(budget=100, population=10, lookahead=0), bundled))
    assert [record["folded"] for record in search.logbook if record["folded"] % 10] == []
    assert len(search.logbook) >= 7
    assert all(record["min"] <= record["mean"] <= record["max"] for record in search.logbook)


@pytest.mark.parametrize(
    ("text", "name", "sign"),
    [("accuracy", "accuracy", 1), ("params", "params", -1), ("val_loss", "val_loss", -1), ("-margin", "margin", -1),
     ("+seconds", "seconds", 1)],
)  # fmt: skip
def test_objectives_are_read_by_name_and_sign(text: str, name: str, sign: int) -> None:
    assert objective(text) == Objective(name, sign)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 0}, "search.population is 0; it must be at least 1"),
        ({"crossover": 1.5}, "search.crossover is 1.5; it must be at least 0 and at most 1"),
        ({"replacement": True}, "search.replacement: only random search draws with replacement"),
        ({"objectives": ("--a",)}, "'--a': write a name, or -name to minimise it"),
        ({"objectives": ("a", "-a")}, "one objective is named twice"),
        ({"strategy": "nsga2", "objectives": ("accuracy",)}, "nsga2 is for several"),
    ],
)
def test_wrong_settings_are_refused_by_name(
    expressions: Space, bundled: operators.Operators, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Search(expressions, SearchSettings(**settings), bundled)
    assert message in str(caught.value)


def test_a_score_without_the_objective_is_an_error(expressions: Space, bundled: operators.Operators) -> None:
    search = Search(expressions, SearchSettings(objectives=("accuracy",)), bundled)
    proposal = search.ask()
    assert proposal is not None
    with pytest.raises(TaskError, match="no objective 'accuracy'; it has loss"):
        search.tell(proposal.number, Score(proposal.key, "ok", {"loss": 1.0}))


def test_telling_twice_or_out_of_the_blue_is_an_error(expressions: Space, bundled: operators.Operators) -> None:
    search = Search(expressions, SearchSettings(), bundled)
    proposal = search.ask()
    assert proposal is not None
    search.tell(proposal.number, 1.0)
    for number in (proposal.number, 77):
        with pytest.raises(ValueError, match=f"proposal {number} is not pending"):
            search.tell(number, 1.0)


@pytest.mark.parametrize("seed", [0, 7, 2**32, 2**63 + 5, 2**130])
def test_each_proposal_s_stream_is_numpy_s_spawned_one(
    expressions: Space, bundled: operators.Operators, seed: int
) -> None:
    """Journals are replayed with these streams: they are SeedSequence(seed, spawn_key=(stream, number))'s."""
    search = Search(expressions, SearchSettings(seed=seed), bundled)
    for stream, number in ((0, 0), (1, 77), (0, 2**31)):
        spawned = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, number)))
        assert search._stream(stream, number).random(4).tolist() == spawned.random(4).tolist()


def test_the_evaluation_seed_depends_on_seed_and_key_alone() -> None:
    assert evaluation_seed(1, "ab") == evaluation_seed(1, "ab")
    assert len({evaluation_seed(s, k) for s in (1, 2) for k in ("ab", "cd")}) == 4
    assert 0 <= evaluation_seed(1, "ab") < 2**63


def test_a_policy_learns_which_operators_apply(cells: Space, bundled: operators.Operators) -> None:
    """Cells have no node to insert or remove: those operators are called less than those that make offspring."""
    search, _ = drive(Search(cells, SearchSettings(budget=70, population=10), bundled), lambda p: p.text.count("a"))
    calls = {name: tally.calls for name, tally in search.tallies.items()}
    assert search.tallies["insert_around"].inapplicable == calls["insert_around"]
    assert calls["insert_around"] < calls["change_choice"]


def test_gamma_credits_each_choice_once(expressions: Space, bundled: operators.Operators) -> None:
    """With gamma > 0 credit waits until the child is a parent or leaves; none is lost, none is given twice."""
    settings = SearchSettings(budget=120, population=10, gamma=0.5, lookahead=0)
    search, _ = drive(Search(expressions, settings, bundled), lambda p: p.text.count("mul"))
    waiting = sum(individual.pending_credit is not None for individual in search.population)
    unfolded = sum(entry["state"] is not None for entry in search.state()["inflight"])
    pending = sum(arm.pending for arms in search.policy.table.values() for arm in arms.values())
    assert pending == waiting + unfolded


def test_a_strategy_that_is_not_there_is_refused_with_those_that_are(
    expressions: Space, bundled: operators.Operators
) -> None:
    with pytest.raises(ConfigError, match="no strategy named 'nosuch'; there are: aging, local, netadapt, nsga2"):
        Search(expressions, SearchSettings(strategy="nosuch"), bundled)
