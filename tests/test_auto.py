"""Plans: every choice is one that the task can be run with, and what they take is within the time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evosearch import config as configuration
from evosearch import grammar, paths
from evosearch.auto import Facts, facts_of, fitting, mirror, plan, scales
from evosearch.auto.rules import RULES
from evosearch.errors import ConfigError
from evosearch.evaluation import recipe
from evosearch.layers.columns import QUANTILES, Columns, columns_of
from evosearch.space import open_space
from evosearch.tasks import Split, Task, TaskSettings, load, make_task

SHAPES: st.SearchStrategy[tuple[int, ...]] = st.one_of(
    st.tuples(st.integers(1, 3), st.integers(6, 128), st.integers(6, 128)),
    st.tuples(st.integers(8, 2000), st.integers(1, 8)),
    st.tuples(st.integers(1, 300)),
)
FACTS = st.builds(
    Facts,
    shape=SHAPES,
    rows=st.integers(20, 200_000),
    outputs=st.integers(1, 50),
    classes=st.booleans(),
    images=st.booleans(),
    device=st.sampled_from(["cpu", "cuda"]),
    cores=st.integers(1, 64),
    seconds=st.floats(60, 20_000),
    fast_bfloat16=st.booleans(),
)


@settings(max_examples=30, deadline=None)
@given(FACTS)
def test_a_plan_is_a_configuration(facts: Facts) -> None:
    """Its keys are known and their values taken; the seeds are in the grammar, fit the examples and the limits."""
    found = plan(facts)
    config = configuration.load(None, found.settings())
    space = open_space(
        grammar.load(paths.find("grammars", config.grammar, ".lark")),
        input=facts.shape,
        limits=config.limits,
        columns=facts.columns,
    )
    assert config.seeds
    for name in config.seeds:
        architecture = space.read(space.parse(paths.read_arch(paths.find("grammars/seeds", name, ".arch"))))
        assert space.within(architecture) is None, name


@settings(max_examples=100, deadline=None)
@given(FACTS)
def test_a_plan_is_done_in_its_time(facts: Facts) -> None:
    """By its own estimate; where not even the smallest training fits, it is the smallest that there is."""
    found = plan(facts)
    chosen = found.settings()
    if found.estimate.search > facts.seconds * 0.75:
        assert chosen["recipe.epochs"] == 1
        assert chosen["search.budget"] <= 12
    if found.estimate.final > facts.seconds * 0.5:
        assert chosen["final.epochs"] == 1


@settings(max_examples=50, deadline=None)
@given(FACTS, st.floats(1.5, 10))
@example(  # with so many cores a candidate was given several times what the whole search has
    Facts((1990, 4), rows=41, outputs=10, classes=True, images=True, device="cpu", cores=41, seconds=60.0), 2.43
)
def test_more_time_is_used(facts: Facts, times: float) -> None:
    """For the same networks and trainings more candidates; left to itself, at least as much of everything at once."""
    more_facts = replace(facts, seconds=facts.seconds * times)
    fixed = {"grammar": {"image": "tiny_cnn", "column": "einspace_1d", "vector": "mlp"}[facts.mode]}
    less, more = (plan(each, fixed).settings() for each in (facts, more_facts))
    assert more["recipe.epochs"] >= less["recipe.epochs"]
    assert more["search.budget"] >= less["search.budget"]
    assert len(plan(more_facts).settings()["seeds"]) >= len(plan(facts).settings()["seeds"])


@settings(max_examples=30, deadline=None)
@given(FACTS)
def test_every_choice_has_its_reason_in_one_line(facts: Facts) -> None:
    found = plan(facts)
    assert list(plan(facts).lines()) == list(found.lines())
    assert len(list(found.lines())) == len(found.choices)
    for line, key in zip(found.lines(), found.choices, strict=True):
        assert line.startswith(key)
        assert "\n" not in line
        assert len(found.choices[key].reason) > 10


def _task(kind: str, *shape: int, images: bool = False) -> Task:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, *shape)).astype(np.float32)
    y = np.arange(200) % 2 if kind == "classification" else rng.normal(size=(200, 1)).astype(np.float32)
    parts = [Split(x[rows], y[rows]) for rows in np.split(np.arange(200), [120, 160])]
    return make_task("made", *parts, kind=kind, images=images)


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize(
    ("shape", "images"),
    [((5,), False), ((30, 2), False), ((1, 12, 12), True), ((1, 12, 12), False), ((3, 32, 32), True)],
)
def test_recipes_are_for_the_task(kind: str, shape: tuple[int, ...], images: bool) -> None:
    task = _task(kind, *shape, images=images)
    config = configuration.load(None, plan(facts_of(task, cores=2)).settings())
    recipe.check(task, config.recipe)
    recipe.check(task, config.final)


def test_a_task_says_its_facts() -> None:
    task = load("digits")
    assert isinstance(task, Task)
    facts = facts_of(task, cores=3, seconds=60)
    assert (facts.mode, facts.shape, facts.outputs, facts.classes) == ("image", (1, 8, 8), 10, True)
    assert facts.rows == len(task.train) + len(task.validation)
    assert facts.columns is None
    table = facts_of(_task("regression", 5))
    assert table.columns is not None
    assert table.columns.numbers == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.45])
def test_reasons_count_the_rows_that_there_are_to_judge_on(share: float) -> None:
    cut, brought = load("digits", TaskSettings(validation=share)), _task("classification", 5)
    assert isinstance(cut, Task)
    for task, drawn in ((cut, "at random"), (brought, "as the data set has them")):
        given = {"data.validation": share, "recipe.folds": 1}
        made = plan(facts_of(task, share=share, cores=2), given)
        assert made.validation.reason.startswith(
            f"{len(task.validation):,} of {len(task.train) + len(task.validation):,} rows"
        )
        assert drawn in made.validation.reason
        assert f"of {len(task.train):,} rows" in made.choices["recipe.batch"].reason
    assert "data.validation" not in plan(facts_of(brought, cores=2)).choices
    assert "data.validation" in plan(facts_of(cut, cores=2)).choices


@pytest.mark.parametrize(("classes", "side"), [(True, 12), (True, 96), (False, 12), (False, 40)])
def test_a_mirror_image_means_the_same_only_where_the_examples_say_so(classes: bool, side: int) -> None:
    """Strokes at the left or at the right against strokes above or below, as bright as the class or number says."""
    rng = np.random.default_rng(0)
    number = rng.integers(0, 2, 300) if classes else rng.random(300)
    images = rng.normal(0, 0.05, (300, 1, side, side))
    edge = side // 4
    across, along = images.copy(), images.copy()
    for one, other, n in zip(across, along, number, strict=True):
        one[:, :, :edge] += 1 - n
        one[:, :, -edge:] += n
        other[:, :edge] += 1 - n
        other[:, -edge:] += n
    y = number if classes else number[:, None].astype(np.float32)

    def task(x: np.ndarray[Any, Any]) -> Task:
        parts = [Split(x[rows].astype(np.float32), y[rows]) for rows in np.split(np.arange(300), [200, 250])]
        return make_task("made", *parts, kind="classification" if classes else "regression", images=True)

    assert mirror.kept(task(along)) > 0.95
    assert mirror.kept(task(across)) < 0.05
    augment = {name: plan(facts_of(task(x))).settings()["recipe.augment"] for name, x in (("l", along), ("r", across))}
    assert augment == {"l": ("shift", "flip"), "r": ("shift",)}


def test_where_the_nearest_neighbour_knows_nothing_classes_are_mirrored_and_numbers_are_not() -> None:
    assert mirror.kept(_task("classification", 1, 12, 12, images=True)) == pytest.approx(1.0)
    assert mirror.kept(_task("regression", 1, 12, 12, images=True)) == 0.0


def test_few_rows_begin_with_every_good_network_that_there_is_time_for() -> None:
    """And these are trained for as long as is good, though there are not six candidates then."""
    long_series: dict[str, Any] = {"shape": (427, 1), "rows": 200, "outputs": 6, "classes": True, "cores": 2}
    found = plan(Facts(seconds=180, **long_series)).settings()
    assert found["seeds"] == ("series_inception", "series_resnet")
    assert found["recipe.epochs"] == plan(Facts(seconds=3600, **long_series)).settings()["recipe.epochs"]
    assert len(plan(Facts(seconds=20, **long_series)).settings()["seeds"]) == 1


def test_series_of_scales_far_apart_are_each_read_by_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waves as loud as 1, 2, ... 100, some of them whispered: one in ten is 10 or less, one in ten 90 or more."""
    wave = np.tile([1.0, -1.0], 20)[:, None]  # its deviation is 1

    def task(x: np.ndarray[Any, Any]) -> Task:
        parts = [Split(part, np.arange(len(part)) % 2) for part in (x, x[:20], x[:20])]
        return make_task("made", *parts, kind="classification", images=False)

    loud = np.arange(1, 102)[:, None, None] * wave + 1000
    whispered = np.where(np.arange(101)[:, None, None] < 50, loud / 1e6, loud)
    still = np.where(np.arange(101)[:, None, None] < 50, 0, loud)
    assert scales.apart(task(loud)) == pytest.approx(91 / 11)
    assert scales.apart(task(whispered)) == pytest.approx(91 / 11 * 1e6)
    assert scales.apart(task(np.concatenate([whispered, loud], axis=2))) == pytest.approx(91 / 11 * 1e6)
    assert scales.apart(task(still)) == np.inf
    assert scales.apart(task(still * 0)) == 1
    for x, own in ((loud, False), (whispered, True), (still, True)):
        begun = plan(facts_of(task(x), cores=2)).settings()["seeds"]
        assert begun
        assert all(name.startswith("series_z_") == own for name in begun)
    assert facts_of(_task("classification", 5)).scales == 1

    fixed = np.repeat(np.random.default_rng(0).normal(size=(101, 1, 1)), 50, axis=1)  # as an age beside each series
    assert fixed.std(axis=1).max() > 0  # by rounding
    assert scales.apart(task(fixed)) == 1
    x = (loud * 1000).astype(np.int32)
    whole = scales.apart(task(x))
    monkeypatch.setattr(scales, "SCALARS", 7 * x[0].size)
    assert scales.apart(task(x)) == whole == pytest.approx(91 / 11)


def test_thousands_of_columns_begin_with_what_has_few_weights() -> None:
    """19 million weights behind the bins of 2,308 columns take a step a fifth of a second; and where there are more
    columns than rows, plain numbers are better whatever the time.
    """
    wide: dict[str, Any] = {"shape": (2308,), "outputs": 4, "classes": True, "cores": 2}
    wide["columns"] = columns_of(np.random.default_rng(0).normal(size=(63, 2308)))
    assert plan(Facts(rows=63, seconds=3600, **wide)).settings()["seeds"] == ("tables_plain",)
    assert plan(Facts(rows=63, seconds=60, **wide)).settings()["recipe.folds"] == 5
    found = plan(Facts(rows=3000, seconds=60, **wide)).settings()["seeds"]
    assert "tables_plain" in found
    assert "tables_bins" not in found


def test_a_table_is_wide_by_its_columns_and_not_by_their_words() -> None:
    """Two columns of 60 words each are two; and of a wide one no column is made many numbers by tokens either."""
    table: dict[str, Any] = {"rows": 80, "outputs": 2, "classes": True, "cores": 2, "seconds": 3600}
    words = Columns((120,), (tuple(range(QUANTILES + 1)),), tuple(range(120)), (60, 60))
    assert len(plan(Facts(shape=(121,), columns=words, **table)).settings()["seeds"]) > 1
    wide = columns_of(np.random.default_rng(0).normal(size=(80, 100)))
    assert plan(Facts(shape=(100,), columns=wide, **table)).settings()["seeds"] == ("tables_plain",)


def test_what_is_given_is_kept_and_not_chosen() -> None:
    facts = Facts(shape=(14,), rows=3000, outputs=2, classes=True)
    found = plan(facts, {"recipe.epochs": 7, "grammar": "mlp", "search.budget": 9})
    assert not {"recipe.epochs", "grammar", "search.budget"} & set(found.settings())
    assert found.settings()["seeds"] == ()
    assert found.settings()["search.population"] <= 9


def test_a_grammar_for_other_inputs_is_refused_with_what_fits() -> None:
    for shape, wrong in (((14,), "einspace"), ((3, 32, 32), "mlp"), ((100, 2), "images")):
        facts = Facts(shape=shape, rows=3000, outputs=2, classes=True)
        with pytest.raises(ConfigError, match=f"say grammar = {fitting(facts.mode)}"):
            plan(facts, {"grammar": wrong})


def test_rules_are_there_for_every_mode_and_name_what_exists() -> None:
    for mode, rules in RULES.items():
        read = grammar.load(paths.find("grammars", rules.grammar, ".lark"))
        assert read.input == mode
        for name in (*rules.seeds, *rules.scaled, *rules.others):
            grammar.parse(read, paths.read_arch(paths.find("grammars/seeds", name, ".arch")))


def test_a_small_table_is_judged_by_folds_and_begins_with_plain_numbers() -> None:
    x = np.random.default_rng(0).normal(size=(400, 10))
    small: dict[str, Any] = {"shape": (10,), "outputs": 1, "classes": False, "columns": columns_of(x), "seconds": 600}
    few, many = plan(Facts(rows=400, **small)), plan(Facts(rows=20_000, **small))
    assert few.validation.value > 1
    assert many.validation.value == 1
    assert few.settings()["seeds"][0] == "tables_plain"
    assert many.settings()["seeds"][0] != "tables_plain"
    assert few.settings()["recipe.batch"] < many.settings()["recipe.batch"]
