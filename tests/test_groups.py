"""Rows of one group are never on both sides of a split or a fold; nothing changes where no groups are named."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as for_all
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from evosearch import EvoSearchClassifier, EvoSearchRegressor, given
from evosearch.auto.facts import facts_of
from evosearch.auto.mirror import kept
from evosearch.auto.plan import plan
from evosearch.cli import DONE, main
from evosearch.engine.finishing import Finishing, drawn_parts
from evosearch.errors import ConfigError, TaskError
from evosearch.evaluation.crossing import judged_rows
from evosearch.evaluation.evaluators import Spec
from evosearch.evaluation.recipe import Recipe, check
from evosearch.study import Study
from evosearch.tasks import Task, TaskSettings, load
from evosearch.tasks.base import cut
from evosearch.tasks.folds import fold, fold_rows, most_folds
from evosearch.tasks.groups import settle
from evosearch.tasks.kinds import BUNDLED
from evosearch.tasks.noise import standard_error
from evosearch.tasks.share import share_of, share_rows
from evosearch.tasks.shared import Sharing
from evosearch.workers import Job, WorkerSettings, open_pool
from tests.conftest import ROOT

Array = np.ndarray[Any, np.dtype[Any]]

QUICK: dict[str, Any] = {
    "recipe.epochs": 1,
    "recipe.batch": 16,
    "final.epochs": 2,
    "search.population": 2,
    "search.tournament": 2,
    "workers.device": "cpu",
    "workers.pool": "inline",
}
LARGEST = 19  # rows of a patient
TABLE: dict[str, Any] = {"groups": "patient", "target": "goal"}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOSEARCH_CACHE", str(tmp_path / "ledger"))


def patients(people: int = 30, seed: int = 0) -> pd.DataFrame:
    """Rows of one patient are alike, and have one goal; the features say whose they are, and nothing of the goal."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, LARGEST + 1, people)
    of, goals = np.repeat(np.arange(people), sizes), rng.permutation(np.arange(people) % 2)
    marks = rng.normal(size=(people, 4))[of] + 0.01 * rng.normal(size=(len(of), 4))
    frame = pd.DataFrame(marks, columns=list("abcd")).round(4)
    frame.insert(2, "patient", [f"p{one}" for one in of])
    frame["goal"] = np.where(goals[of] == 1, "yes", "no")
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    patients().to_csv(tmp_path / "patients.csv", index=False)
    return tmp_path / "patients.csv"


def task_of(spec: Path | str, **settings: Any) -> Task:
    task = load(str(spec), TaskSettings(**settings))
    assert isinstance(task, Task)
    return task


def groups_of(task: Task) -> list[set[int]]:
    """Of train, validation and test."""
    splits = task.train, task.validation, task.test_split()
    assert all(split.groups is not None and len(split.groups) == len(split) for split in splits)
    return [set(np.asarray(split.groups).tolist()) for split in splits]


def are_apart(parts: Sequence[set[int]]) -> bool:
    return sum(map(len, parts)) == len(set[int]().union(*parts))


# -- the cut ------------------------------------------------------------------------------------------------------


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Array, Array, tuple[float, ...]]:
    """Groups and classes of rows, and the shares of up to six parts of which there are no more than groups."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=2, max_size=25))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    groups = rng.permutation(np.repeat(rng.permutation(1000)[: len(sizes)], sizes))
    parts = draw(st.integers(2, min(6, len(sizes))))
    weights = np.array(draw(st.lists(st.integers(1, 10), min_size=parts, max_size=parts)), float)
    return groups, rng.integers(0, draw(st.integers(1, 5)), len(groups)), tuple(weights[:-1] / weights.sum())


@hypothesis(max_examples=300, deadline=None)
@for_all(made=grouped(), seed=st.integers(0, 5), by_class=st.booleans())
def test_whole_groups_are_cut_into_the_shares_asked_for(
    made: tuple[Array, Array, tuple[float, ...]], seed: int, by_class: bool
) -> None:
    """Every row is in one part, every group too; none is empty; sizes as asked for within the largest group's."""
    groups, classes, shares = made
    strata = classes if by_class else None
    parts = cut(len(groups), strata, shares, seed, groups)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(groups)))
    assert all(len(part) and (np.diff(part) > 0).all() for part in parts)
    assert are_apart([set(groups[part].tolist()) for part in parts])
    asked, largest = np.array([*shares, 1 - sum(shares)]) * len(groups), np.bincount(groups).max()
    if asked.min() >= largest:
        assert np.abs(asked - list(map(len, parts))).max() <= largest + 1e-6
    assert np.all([len(part) <= few + largest + 1e-6 for part, few in zip(parts, asked, strict=True)])
    again = cut(len(groups), strata, shares, seed, groups)
    assert all(np.array_equal(one, two) for one, two in zip(parts, again, strict=True))


def mixed(seed: int) -> tuple[Array, Array]:
    """Groups of very different sizes, most rows of each of one class or two."""
    rng = np.random.default_rng(seed)
    sizes = np.maximum(rng.lognormal(2, 0.8, 60), 1).astype(int)
    usual = rng.dirichlet(np.full(3, 2.0))
    y = np.concatenate([rng.choice(3, size, p=rng.dirichlet(3 * usual + 1e-3)) for size in sizes])
    return np.repeat(np.arange(60), sizes), np.unique(y, return_inverse=True)[1]


def farthest(parts: Sequence[Array], y: Array) -> tuple[float, float]:
    """Of five parts: how far any has another share than a fifth of any class, and of the rows."""
    shares = np.array([np.bincount(y[part], minlength=y.max() + 1) for part in parts]) / np.bincount(y)
    return float(np.abs(shares - 0.2).max()), float(max(abs(len(part) / len(y) - 0.2) for part in parts))


def test_classes_are_spread_over_groups_as_scikit_learn_spreads_them() -> None:
    """Over 30 data sets: classes as StratifiedGroupKFold has them, sizes more equal than its; another seed, others."""
    mine, theirs = [], []
    for seed in range(30):
        groups, y = mixed(seed)
        mine.append(farthest(cut(len(y), y, (0.2,) * 4, seed, groups), y))
        reference = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(y, y, groups)
        theirs.append(farthest([rows for _, rows in reference], y))
    classes, sizes = np.mean(mine, axis=0)
    assert classes < np.mean(theirs, axis=0)[0] + 0.01
    assert sizes < np.mean(theirs, axis=0)[1]
    groups, y = mixed(0)
    tests = {tuple(cut(len(y), y, (0.2, 0.2), seed, groups)[1].tolist()) for seed in range(10)}
    assert len(tests) > 5


def test_any_group_may_be_in_any_part() -> None:
    """Of groups of one size each is in a part as often as the part's share says: none is always trained on."""
    groups, times = np.repeat(np.arange(20), 5), np.zeros(20)
    for seed in range(400):
        times[np.unique(groups[cut(100, None, (0.2, 0.2), seed, groups)[1]])] += 1
    assert np.abs(times / 400 - 0.2).max() < 4 * np.sqrt(0.2 * 0.8 / 400)


# -- what is cut of a task ------------------------------------------------------------------------------------------


def test_no_patient_is_on_two_sides(table: Path) -> None:
    """Of any split or fold, whatever the seed; the column is named or numbered, and the network sees none of it."""
    digests = {task_of(table, target="goal").digest}
    for seed in range(8):
        task = task_of(table, split_seed=seed, **TABLE)
        digests.add(task.digest)
        assert are_apart(groups_of(task))
        assert task.input_shape == (4,)
        assert [column["name"] for column in task.columns] == list("abcd")
        rows = len(task.whole()) + len(task.test_split())
        assert len(task.test_split()) == pytest.approx(0.2 * rows, abs=LARGEST)
        for count, repeat, number in itertools.product((2, 5), (0, 7), range(5)):
            if number < count:
                one = fold(task, number, count, repeat)
                assert are_apart(groups_of(one))
                assert len(one.validation) == pytest.approx(len(task.whole()) / count, abs=LARGEST)
                assert set(one.validation.y) == {0, 1}
    assert len(digests) == 9
    numbered = task_of(table, **{**TABLE, "groups": "2"})
    assert numbered.digest == task_of(table, **TABLE).digest
    said = r"30 groups in column 'patient': whole groups are in train, validation or test \(\d+, \d+, \d+\)"
    assert any(re.fullmatch(said, note) for note in numbered.notes)


def test_a_sample_of_the_rows_is_one_of_the_groups(table: Path) -> None:
    """As many rows as asked for but for those of one group, those of smaller samples among them, of both classes."""
    for seed in range(8):
        task, before = task_of(table, split_seed=seed, **TABLE), set[int]()
        for share in (0.02, 0.1, 0.3, 0.7, 0.95):
            rows, part = share_rows(task, share), share_of(task, share)
            left = np.setdiff1d(np.arange(len(task.train)), rows)
            of = np.asarray(task.train.groups)
            assert not set(of[rows]) & set(of[left])
            assert before <= set(rows.tolist())
            assert -0.5 <= share * len(of) - len(rows) < LARGEST + 1 or len(set(of[rows])) == 1
            assert share < 0.3 or set(part.train.y) == {0, 1}
            assert are_apart(groups_of(part))
            before = set(rows.tolist())


@pytest.mark.parametrize("target", ["goal", "a"])
def test_a_sample_of_the_rows_can_be_cut_into_folds(tmp_path: Path, target: str) -> None:
    """As the task itself can; no smaller sample has rows that a larger one has not."""
    frame = patients(8)
    frame.to_csv(tmp_path / "few.csv", index=False)
    task, before = task_of(tmp_path / "few.csv", groups="patient", target=target), set[int]()
    assert most_folds(task) == 5
    assert most_folds(share_of(task, 0.02)) < 5
    for share in (0.02, 0.3, 0.7):
        part = share_of(task, share, 5)
        check(part, Recipe(folds=5))
        assert all(map(len, fold_rows(part, 5)))
        rows = set(share_rows(task, share, 5).tolist())
        assert before <= rows
        before = rows
    np.testing.assert_array_equal(share_rows(task, 0.7, 50), share_rows(task, 0.7))  # none has so many


def test_a_cheap_evaluation_by_folds_has_groups_enough(tmp_path: Path) -> None:
    frame = patients(8)
    frame.to_csv(tmp_path / "few.csv", index=False)
    recipe = Recipe(epochs=1, batch=16, folds=5, shorten="rows")
    spec = Spec(str(ROOT / "grammars/mlp.lark"), str(tmp_path / "few.csv"), recipe=recipe, data=TaskSettings(**TABLE))
    with closing(open_pool(spec, WorkerSettings(pool="inline"), tmp_path / "candidates")) as pool:
        pool.submit(Job(0, "linear(16)", "0" * 32, fidelity=0.1))
        ((_, score),) = pool.wait()
    assert score.status == "ok", score.error


def test_without_groups_all_is_as_it_was(tmp_path: Path) -> None:
    """Digests of before there were groups; those of folds and shares hang on the same rows."""
    lines = [f"{n % 17 / 8},w{n % 12},{'ab'[n % 2 ^ (n // 12) % 2]}" for n in range(240)]
    (tmp_path / "t.csv").write_text("\n".join(["size,patient,goal", *lines]) + "\n")
    task = task_of(tmp_path / "t.csv")
    assert task.digest == "69537dea88b543ac8f4285a42060a822"
    assert task.train.groups is None
    assert [int(rows.sum()) for rows in fold_rows(task, 3, 1)] == [6230, 5704, 6402]
    assert int(share_rows(task, 0.3).sum()) == 3283
    assert task_of("digits").digest == "02674f4842df3b133d306f4491e42f70"


def test_a_figure_on_new_patients_is_not_that_on_known_ones(tmp_path: Path) -> None:
    """The nearest neighbour of a row is of the same patient: right wherever there is one, and by chance elsewhere."""

    def accuracy(seed: int, **settings: Any) -> float:
        patients(seed=seed).to_csv(tmp_path / "patients.csv", index=False)
        task = task_of(tmp_path / "patients.csv", **settings)
        model = KNeighborsClassifier(1).fit(task.train.x, task.train.y)
        return float(model.score(task.test_split().x, task.test_split().y))

    assert np.mean([accuracy(seed, target="goal") for seed in range(20)]) > 0.97
    assert 0.35 < np.mean([accuracy(seed, **TABLE) for seed in range(20)]) < 0.65


def test_files_that_share_groups_are_said_and_not_changed(tmp_path: Path) -> None:
    frame = patients()
    inside = frame["patient"].isin([f"p{n}" for n in range(20)])
    for name, test in (("apart", frame[~inside]), ("mixed", pd.concat([frame[~inside], frame[inside].iloc[:3]]))):
        frame[inside].to_csv(tmp_path / f"{name}-train.csv", index=False)
        test.to_csv(tmp_path / f"{name}-test.csv", index=False)
    task = task_of(tmp_path / "apart-train.csv", **TABLE)
    assert are_apart(groups_of(task))
    assert "30 groups in column 'patient': whole groups" in "\n".join(task.notes)
    task = task_of(tmp_path / "mixed-train.csv", **TABLE)
    assert len(task.test_split()) == (~inside).sum() + 3
    assert are_apart(groups_of(task)[:2])
    train, validation, test = groups_of(task)
    shared = test & (train | validation)
    assert f"{len(shared)} of 30 groups in column 'patient' are in more than one of the splits" in "\n".join(task.notes)


@pytest.mark.parametrize("names", ["words", "numbers"])
def test_arrays_have_groups_beside_x_and_y(tmp_path: Path, names: str) -> None:
    """By the name that data.groups says, split by split or alone, in whatever letters, of shape (N,) or (N, 1)."""
    rng = np.random.default_rng(0)
    x, y, of = rng.normal(size=(90, 3)), np.arange(90) % 2, rng.integers(0, 15, 90)
    groups = np.array([f"machine {one}" for one in of]) if names == "words" else of
    np.savez(tmp_path / "whole.npz", x=x, y=y, Machine=groups)
    (tmp_path / "whole").mkdir()
    for name, array in (("x", x), ("y", y), ("machine", groups[:, None])):
        np.save(tmp_path / "whole" / f"{name}.npy", array)
    whole = task_of(tmp_path / "whole.npz", groups="machine")
    assert are_apart(groups_of(whole))
    assert whole.digest == task_of(tmp_path / "whole", groups="Machine").digest
    assert not [note for note in whole.notes if "not used" in note]
    assert [note for note in task_of(tmp_path / "whole.npz").notes if "not used: machine" in note]
    first = np.isin(of, range(10))
    np.savez(
        tmp_path / "split.npz", x_train=x[first], y_train=y[first], machine_train=groups[first],
        x_test=x[~first], y_test=y[~first], test_machine=groups[~first],
    )  # fmt: skip
    task = task_of(tmp_path / "split.npz", groups="machine")
    assert len(task.test_split()) == (~first).sum()
    assert are_apart(groups_of(task))


# -- what asks for folds --------------------------------------------------------------------------------------------


def test_no_more_folds_than_groups(tmp_path: Path) -> None:
    """Asked for it is an error; a plan, and the looks of the final phase, take as many as there are."""
    patients(6).to_csv(tmp_path / "few.csv", index=False)
    task = task_of(tmp_path / "few.csv", **TABLE)
    most = most_folds(task)
    assert most == len(groups_of(task)[0] | groups_of(task)[1]) < 5
    with pytest.raises(
        ConfigError, match=rf"recipe.folds is 5, and few has groups of rows for {most} to train on; say"
    ):
        check(task, Recipe(folds=5))
    check(task, Recipe(folds=most))
    assert all(map(len, fold_rows(task, most)))
    assert 2 <= drawn_parts(task, 1) <= most
    facts = facts_of(task, seconds=600)
    assert facts.groups == most
    assert plan(facts).settings()["recipe.folds"] == 3
    assert plan(dataclasses.replace(facts, groups=0)).settings()["recipe.folds"] == 5
    assert plan(dataclasses.replace(facts, groups=2)).settings()["recipe.folds"] == 1
    assert "whole groups" in "\n".join(plan(dataclasses.replace(facts, groups=2)).lines())
    frame = patients()
    frame["goal"] = np.where(
        frame["patient"] == "p7", "yes", "no"
    )  # whoever is not trained on it knows one class alone
    frame.to_csv(tmp_path / "rare.csv", index=False)
    assert most_folds(task_of(tmp_path / "rare.csv", **TABLE)) == 1
    assert most_folds(task_of(tmp_path / "rare.csv", **{**TABLE, "target": "a"})) > 20


def test_an_image_is_not_known_by_another_of_its_group(tmp_path: Path) -> None:
    """Whether mirror images mean the same is asked of images of other groups."""
    rng = np.random.default_rng(0)
    of = np.arange(400) // 4
    x = (rng.integers(0, 256, (100, 1, 8, 8))[of] + rng.integers(0, 3, (400, 1, 8, 8))).clip(0, 255).astype(np.uint8)
    np.savez(tmp_path / "eyes.npz", x=x, y=(of * 7) % 2, eye=of)
    assert kept(task_of(tmp_path / "eyes.npz")) < 0.2  # by the other images of the eye, and not by mirrored ones
    assert kept(task_of(tmp_path / "eyes.npz", groups="eye")) == 1.0  # nothing is known


def test_the_error_of_a_figure_is_that_of_so_many_groups() -> None:
    """Where examples of a group err together, whole groups say the spread over data sets, and single rows do not."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    values, errors, of_rows = [], [], []
    for _ in range(200):
        right = rng.random(40)[groups] < 0.7

        def mean(_: Array, out: Array) -> float:
            return float(out.mean())

        values.append(right.mean())
        errors.append(standard_error(mean, right, right, groups))
        of_rows.append(standard_error(mean, right, right))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.15)
    assert np.mean(of_rows) < 0.5 * np.std(values)
    assert np.isnan(standard_error(mean, right, right, np.zeros(400, int)))


def test_the_final_phase_knows_the_groups_of_the_rows_that_it_judges_on(table: Path) -> None:
    task = task_of(table, **TABLE)
    for folds, first in ((1, 0), (3, 1), (3, 0)):
        phase: Any = SimpleNamespace(task=task, folds=folds, first=first)
        judge = Finishing._judge(phase)
        split = task.validation if folds == 1 else task.whole().take(judged_rows(task, folds, first))
        np.testing.assert_array_equal(judge.y, split.y)
        np.testing.assert_array_equal(np.asarray(judge.groups), np.asarray(split.groups))
        out = np.random.default_rng(0).normal(size=(len(split), 2))
        assert judge.error(out) == standard_error(task.judge, split.y, out, split.groups)
        assert judge.error(out) != standard_error(task.judge, split.y, out)


# -- from a program, and to workers ----------------------------------------------------------------------------------


def test_another_process_has_the_groups(table: Path, tmp_path: Path) -> None:
    """The shared file holds them; a worker that is given it trains by folds of whole groups."""
    task = task_of(table, **TABLE)
    sharing = Sharing(task)
    assert sharing.shared is not None
    there = sharing.shared.task(BUNDLED[task.kind.name])
    assert there is not None
    assert groups_of(there) == groups_of(task)
    for one, other in zip(fold_rows(task, 3), fold_rows(there, 3), strict=True):
        np.testing.assert_array_equal(one, other)
    table.unlink()
    recipe = Recipe(epochs=1, batch=16, folds=3)
    spec = Spec(
        str(ROOT / "grammars/mlp.lark"), str(table), recipe=recipe, data=TaskSettings(**TABLE), shared=sharing.shared
    )
    with closing(open_pool(spec, WorkerSettings(workers=1), tmp_path / "candidates")) as pool:
        pool.submit(Job(0, "linear(16)", "0" * 32))
        ((_, score),) = pool.wait()
    assert score.status == "ok", score.error


def test_a_run_keeps_its_groups_and_asks_for_none(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command: resumed it is on the same rows; rows to predict need no such column, and may have it."""
    monkeypatch.chdir(tmp_path)
    settings = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
    asked = ["run", "--task", str(table), "--target", "goal", "--set", "data.groups=patient", "--grammar", "mlp"]
    assert main([*asked, "--budget", "2", "--name", "run", "--quiet", *settings]) == DONE
    assert 'groups = "patient"' in (tmp_path / "runs/run/config.toml").read_text()
    assert main(["resume", "run", "--budget", "3", "--quiet"]) == DONE
    frame = patients(seed=1)
    said = []
    for columns in (list("abcd"), ["patient", *"dcba"], list(frame.columns)):
        frame[columns].to_csv(tmp_path / "new.csv", index=False)
        assert main(["predict", "run", "new.csv", "-o", "out.csv"]) == DONE
        with (tmp_path / "out.csv").open() as opened:
            said.append([row["prediction"] for row in csv.DictReader(opened)])
    assert len(said[0]) == len(frame)
    assert said[0] == said[1] == said[2]
    capsys.readouterr()


def test_a_program_gives_groups_with_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of a frame, a third beside X and y, or an array of a mapping: the same splits of the same rows."""
    monkeypatch.chdir(tmp_path)
    frame = patients()
    x, y, groups = frame[list("abcd")], frame["goal"], frame["patient"]
    settings = {"search.budget": 1, "grammar": "mlp", **QUICK}
    study = Study(task=frame, data={"groups": "patient"}, folder="runs/frame", **settings)
    assert study.optimize(progress=False).evaluated == 1
    assert Study.resume("runs/frame").optimize(budget=1, progress=False).evaluated == 2
    digest = task_of(study.config.task, **dataclasses.asdict(study.config.data)).digest
    for name, task, said in (
        ("beside", (x, y, groups), {}),
        ("arrays", (x.to_numpy(), y.to_numpy(), groups.to_numpy()), {}),
        ("mapping", {"x": x.to_numpy(), "y": y.to_numpy(), "who": groups.to_numpy()}, {"groups": "who"}),
    ):
        other = Study(task=task, data=said, folder=f"runs/{name}", **settings)
        found = task_of(other.config.task, **dataclasses.asdict(other.config.data))
        assert found.digest == digest
    with pytest.raises(TaskError, match="groups have the index of X in another order: give groups"):
        given.spec((x, y, groups[::-1]), tmp_path / "wrong")
    with pytest.raises(TaskError, match="3 groups and 5 targets for 5 rows; they must be as many"):
        given.spec((x[:5], y[:5], groups[:3].to_numpy()), tmp_path / "wrong")


@pytest.mark.parametrize("words", [False, True])
def test_an_estimator_judges_candidates_on_other_groups(words: bool, tmp_path: Path) -> None:
    """Of arrays and of frames; several targets too. What is predicted from has no such column."""
    frame = patients()
    x: Any = frame[list("abcd")] if not words else frame[list("abcd")].assign(kind=np.where(frame["a"] > 0, "u", "v"))
    model = EvoSearchClassifier(
        budget=1, random_state=0, settings=QUICK | {"recipe.folds": 1}, grammar="mlp", folder=tmp_path / "run"
    ).fit(x, frame["goal"], groups=frame["patient"])
    assert model.predict(x).shape == (len(frame),)
    study = Study.resume(tmp_path / "run")
    task = task_of(study.config.task, **dataclasses.asdict(study.config.data))
    assert are_apart(groups_of(task)[:2])
    assert len(groups_of(task)[0] | groups_of(task)[1]) == 30
    numbers = frame[["a", "b"]].to_numpy()
    regressor = EvoSearchRegressor(budget=1, random_state=0, settings=QUICK | {"recipe.folds": 2}, grammar="mlp")
    assert regressor.fit(x, numbers, groups=frame["patient"].to_numpy()).predict(x).shape == numbers.shape
    if not words:
        scores = cross_val_score(
            model.set_params(folder=None), x, frame["goal"], groups=frame["patient"], cv=GroupKFold(2),
            params={"groups": frame["patient"]},
        )  # fmt: skip
        assert scores.shape == (2,)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(x, frame["goal"], groups=[1, 2, 3])


def visits(patients: int, each: int, settled: bool) -> str:
    """Rows of patients' visits; settled: whether a patient's target is the same at all of them."""
    draw = np.random.default_rng(0)
    rows = [
        (f"p{p}", f"{draw.normal():.3f}", p % 2 if settled else draw.integers(2))
        for p in range(patients)
        for _ in range(each)
    ]
    return "who,x,sick\n" + "".join(f"{who},{x},{'yes' if sick else 'no'}\n" for who, x, sick in rows)


@pytest.mark.parametrize(
    ("patients", "each", "settled", "said"),
    [(24, 4, True, True), (10, 5, True, True), (9, 12, True, False), (24, 4, False, False), (40, 1, True, False)],
)
def test_a_column_that_looks_like_a_patients_name_is_said(
    patients: int, each: int, settled: bool, said: bool, tmp_path: Path
) -> None:
    """Ten names and more, two rows each and more, and one target alone for each; then nothing more is said."""
    (tmp_path / "visits.csv").write_text(visits(patients, each, settled))
    task = load(str(tmp_path / "visits.csv"))
    assert isinstance(task, Task)
    notes = " ".join(task.notes)
    assert ("all rows of one 'who' have the same 'sick'" in notes) == said
    if said:
        grouped = load(str(tmp_path / "visits.csv"), TaskSettings(groups="who"))
        assert isinstance(grouped, Task)
        assert not any("all rows of one" in note for note in grouped.notes)


def test_a_rare_class_is_no_sign_that_rows_belong_together() -> None:
    """Of 200 names of two rows each 1 in 100 rows is of the rare class: that no name has both is likely by chance."""
    names = [f"n{row // 2}" for row in range(400)]
    assert not settle(names, ["yes" if row in (0, 1) else "no" for row in range(400)])
    assert settle(names, [str(row // 2 % 2) for row in range(400)])
